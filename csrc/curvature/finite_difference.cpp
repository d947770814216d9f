#include "csrc/curvature/finite_difference.h"

#include <ATen/ops/addcmul.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/core/half.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize::detail {
namespace {

// Lends the parameters other values, in memory of their own: the true values
// are never written, and return by pointer. The count of changes stays as it
// is, so that graphs which have saved a parameter stay valid.
class LentValues {
 public:
  explicit LentValues(const TensorVector& parameters)
      : parameters_(parameters) {
    for (const at::Tensor& parameter : parameters) {
      originals_.push_back(parameter.variable_data());
    }
  }
  ~LentValues() {
    for (std::size_t i = 0; i < lent_; ++i) {
      parameters_[i].set_data(originals_[i]);
    }
  }
  LentValues(const LentValues&) = delete;
  LentValues& operator=(const LentValues&) = delete;

  const TensorVector& originals() const { return originals_; }

  void lend(const TensorVector& values) {
    for (lent_ = 0; lent_ < parameters_.size(); ++lent_) {
      parameters_[lent_].set_data(values[lent_]);
    }
  }

 private:
  const TensorVector& parameters_;
  TensorVector originals_;
  std::size_t lent_ = 0;
};

}  // namespace

FiniteDifference::FiniteDifference(
    const TensorVector& parameters, bool central, double epsilon)
    : parameters_(parameters), central_(central) {
  TensorVector values;
  for (const at::Tensor& parameter : parameters) {
    values.push_back(parameter.detach());
    moved_.push_back(at::empty_like(values.back()));
  }
  if (epsilon == 0) {
    const double coarsest = machine_epsilon(parameters);
    epsilon = central ? std::cbrt(coarsest) / 4 : std::sqrt(coarsest);
  }
  step_ = epsilon * (1 + norm(values));
}

TensorVector FiniteDifference::gradient_at(
    const Replay& replay, const TensorVector& v, const at::Tensor& alpha) {
  LentValues values(parameters_);
  at::Tensor converted = alpha;
  for (std::size_t i = 0; i < v.size(); ++i) {
    const at::ScalarType type = v[i].scalar_type();
    if (is_half(type)) {
      // alpha in the type of v would be another length than the quotient is
      // divided by.
      const at::Tensor wide = v[i].to(at::kFloat);
      moved_[i].copy_(at::addcmul(
          values.originals()[i].to(at::kFloat),
          wide,
          alpha.to(wide.device(), at::kFloat)));
      continue;
    }
    if (converted.device() != v[i].device() ||
        converted.scalar_type() != type) {
      converted = alpha.to(v[i].device(), type);
    }
    at::addcmul_out(moved_[i], values.originals()[i], v[i], converted);
  }
  values.lend(moved_);
  TensorVector gradients = replay.evaluate(Replay::Graph::kNone).gradients;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    gradients[i] = gradients[i].defined() ? plain(gradients[i])
                                          : at::zeros_like(moved_[i]);
  }
  return gradients;
}

TensorVector FiniteDifference::product(
    const Replay& replay, const TensorVector& gradient, const TensorVector& v) {
  const at::Tensor length = dot(v, v).sqrt();
  // The product with a zero vector is zero, whatever it is divided by.
  const at::Tensor alpha = length.add(length.eq(0)).reciprocal().mul(step_);
  TensorVector ahead = gradient_at(replay, v, alpha);
  if (!central_) {
    return difference_quotient(std::move(ahead), gradient, alpha);
  }
  const TensorVector behind = gradient_at(replay, v, alpha.neg());
  return difference_quotient(std::move(ahead), behind, alpha.mul(2));
}

}  // namespace stepsize::detail
