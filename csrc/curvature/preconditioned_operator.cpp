#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/preconditioned_operator.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/core/half.h"
#include "csrc/curvature/mapped_operator.h"

namespace stepsize {
namespace {

constexpr char kPreconditioned[] = "preconditioned_operator";

void check_positive(const at::Tensor& part, std::size_t i) {
  const at::Tensor wrong =
      part.gt(0).logical_and(part.isfinite()).logical_not();
  // One answer of the device where all is well.
  if (!wrong.any().item<bool>()) return;
  TORCH_CHECK(
      false,
      kPreconditioned,
      ": the diagonal must be finite and > 0, got ",
      detail::number_text(
          part.masked_select(wrong)[0].to(at::kDouble).item<double>()),
      " in tensor ",
      i);
}

}  // namespace

LinearOperator preconditioned_operator(
    const LinearOperator& op,
    const TensorVector& diagonal,
    const std::vector<double>& shift) {
  const c10::AutoGradMode no_grad(false);
  const TensorVector& like = op.like();
  TORCH_CHECK(
      diagonal.size() == like.size(),
      kPreconditioned,
      ": the diagonal must have ",
      like.size(),
      " tensors, got ",
      diagonal.size());
  TORCH_CHECK(
      shift.empty() || shift.size() == like.size(),
      kPreconditioned,
      ": shift must be empty or have ",
      like.size(),
      " numbers, got ",
      shift.size());
  for (const double value : shift) {
    detail::check_option(
        std::isfinite(value), kPreconditioned, "shift", "finite", value);
  }
  TensorVector wide;
  TensorVector roots;
  for (std::size_t i = 0; i < like.size(); ++i) {
    wide.push_back(at::empty_like(
        like[i],
        like[i].options().dtype(detail::widened(like[i].scalar_type()))));
    at::Tensor& root = roots.emplace_back();
    const at::Tensor& part = diagonal[i];
    if (!part.defined()) continue;
    TORCH_CHECK(
        part.layout() == at::kStrided &&
            at::isFloatingType(part.scalar_type()) &&
            part.sizes() == like[i].sizes(),
        kPreconditioned,
        ": tensor ",
        i,
        " of the diagonal must be dense, of floating point and of shape ",
        like[i].sizes(),
        ", got ",
        part.scalar_type(),
        " of ",
        part.sizes());
    check_positive(part, i);
    // The root first: a double may be too small for a float, its root is not.
    root = part.detach()
               .to(detail::widened(part.scalar_type()))
               .rsqrt()
               .to(wide[i].device(), wide[i].scalar_type());
  }
  return detail::mapped(
      op,
      wide,
      [roots](const TensorVector& v) {
        TensorVector inner(v.size());
        for (std::size_t i = 0; i < v.size(); ++i) {
          if (roots[i].defined()) inner[i] = v[i].mul(roots[i]);
        }
        return inner;
      },
      [roots, shift](TensorVector product, const TensorVector& inner) {
        for (std::size_t i = 0; i < product.size(); ++i) {
          if (!roots[i].defined()) {
            product[i].reset();
            continue;
          }
          product[i] = product[i].to(inner[i].scalar_type());
          if (!shift.empty() && shift[i] != 0) {
            product[i] = product[i].add(inner[i], shift[i]);
          }
          product[i] = product[i].mul(roots[i]);
        }
        return product;
      });
}

}  // namespace stepsize
