#include <stepsize/distributed/sum_over_ranks.h>

#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>

namespace stepsize {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SumOverRanks : torch::autograd::Function<SumOverRanks> {
  static at::Tensor forward(
      AutogradContext* context, const at::Tensor& tensor, int64_t reduction) {
    context->saved_data["reduction"] = reduction;
    at::Tensor sum = tensor.detach().contiguous().clone();
    reinterpret_cast<Reduction*>(reduction)->sum(sum);
    return sum;
  }

  static variable_list backward(
      AutogradContext* context, const variable_list& gradients) {
    const int64_t reduction = context->saved_data["reduction"].toInt();
    return {SumOverRanks::apply(gradients[0], reduction), at::Tensor()};
  }
};

}  // namespace

at::Tensor sum_over_ranks(const at::Tensor& tensor, Reduction& reduction) {
  TORCH_CHECK(
      tensor.defined() && tensor.layout() == at::kStrided &&
          (tensor.scalar_type() == at::kFloat ||
           tensor.scalar_type() == at::kDouble),
      "sum_over_ranks: the tensor must be dense, of float32 or float64");
  static_assert(sizeof(std::intptr_t) <= sizeof(int64_t), "a pointer fits");
  return SumOverRanks::apply(
      tensor,
      static_cast<int64_t>(reinterpret_cast<std::intptr_t>(&reduction)));
}

}  // namespace stepsize
