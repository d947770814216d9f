#include "csrc/curvature/checks.h"

#include <c10/util/Exception.h>

#include <cstddef>
#include <set>

namespace stepsize::detail {

void check_vector_space(const char* function, const TensorVector& like) {
  TORCH_CHECK(!like.empty(), function, ": there must be a tensor");
  for (std::size_t i = 0; i < like.size(); ++i) {
    TORCH_CHECK(
        like[i].defined(), function, ": tensor ", i, " must be defined");
    TORCH_CHECK(
        like[i].layout() == at::kStrided,
        function,
        ": tensor ",
        i,
        " must be dense, got layout ",
        like[i].layout());
    TORCH_CHECK(
        at::isFloatingType(like[i].scalar_type()),
        function,
        ": tensor ",
        i,
        " must be of floating point, got ",
        like[i].scalar_type());
  }
  bool empty = true;
  for (const at::Tensor& part : like) empty = empty && part.numel() == 0;
  TORCH_CHECK(!empty, function, ": the tensors must have an element");
}

void check_parameters(
    const char* function, const TensorVector& parameters, bool leaves) {
  check_vector_space(function, parameters);
  std::set<const void*> seen;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    TORCH_CHECK(
        parameters[i].requires_grad(),
        function,
        ": parameter ",
        i,
        " is frozen (requires_grad is false): leave it out");
    TORCH_CHECK(
        !leaves || parameters[i].is_leaf(),
        function,
        ": parameter ",
        i,
        " must be a leaf, not the result of an operation");
    TORCH_CHECK(
        seen.insert(parameters[i].unsafeGetTensorImpl()).second,
        function,
        ": parameter ",
        i,
        " is there twice: pass a shared tensor (tied weights) once");
  }
}

void check_loss(const char* function, const at::Tensor& loss) {
  TORCH_CHECK(loss.defined(), function, ": the loss is undefined");
  TORCH_CHECK(
      loss.numel() == 1,
      function,
      ": the loss must be a scalar, got shape ",
      loss.sizes());
  TORCH_CHECK(
      at::isFloatingType(loss.scalar_type()),
      function,
      ": the loss must be of floating point, got ",
      loss.scalar_type());
  TORCH_CHECK(
      loss.requires_grad(),
      function,
      ": the loss has no graph (it was detached, or computed without "
      "gradients)");
}

}  // namespace stepsize::detail
