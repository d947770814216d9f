#include "csrc/kernels/operands.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <limits>

#include "csrc/core/half.h"
#include "csrc/core/overlap.h"

namespace stepsize::detail {
namespace {

void check_types(
    const Signature& signature, int64_t index, const Operands& operands) {
  const at::ScalarType type = operands.param().scalar_type();
  TORCH_CHECK(
      element_type(type) != kFormatCount,
      signature.function,
      ": ",
      signature.names[0],
      " ",
      index,
      " must be float32, float64, bfloat16 or float16, got ",
      type);
  for (int i = 1; i < operands.count; ++i) {
    const at::ScalarType other = operands.tensors[i]->scalar_type();
    const bool wide = i > 1 && other == at::kFloat && is_half(type);
    TORCH_CHECK(
        other == type || wide,
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must be of its parameter's type ",
        type,
        i > 1 && is_half(type) ? " or of float32" : "",
        ", got ",
        other);
    TORCH_CHECK(
        i < 3 || other == operands.tensors[2]->scalar_type(),
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must be of the type of its ",
        signature.names[2],
        " ",
        operands.tensors[2]->scalar_type(),
        ", got ",
        other);
  }
}

/// Whether all is as it is nearly always: all of one kind and contiguous. Much
/// cheaper than to find what is wrong.
bool fits_plainly(const Operands& operands) {
  const at::Tensor& param = operands.param();
  if (!param.defined() || element_type(param.scalar_type()) == kFormatCount) {
    return false;
  }
  for (int i = 0; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    if (!tensor.defined() || tensor.layout() != at::kStrided ||
        !tensor.is_contiguous() || tensor.dtype() != param.dtype() ||
        tensor.sizes() != param.sizes() || tensor.device() != param.device()) {
      return false;
    }
    if (i != 1 && (tensor.is_inference() || tensor._is_zerotensor())) {
      return false;
    }
  }
  return true;
}

}  // namespace

void check_writable(
    const Signature& signature,
    int64_t index,
    int i,
    const at::Tensor& tensor) {
  TORCH_CHECK(
      !may_overlap(tensor),
      signature.function,
      ": ",
      signature.names[i],
      " ",
      index,
      " must not overlap itself, got shape ",
      tensor.sizes(),
      " with strides ",
      tensor.strides());
  TORCH_CHECK(
      !tensor._is_zerotensor(),
      signature.function,
      ": ",
      signature.names[i],
      " ",
      index,
      " must have memory, got a constant zero");
  TORCH_CHECK(
      !tensor.is_inference() || c10::InferenceMode::is_enabled(),
      signature.function,
      ": ",
      signature.names[i],
      " ",
      index,
      " must not be an inference tensor, which is written under InferenceMode "
      "only");
}

void check_operands(
    const Signature& signature, int64_t index, const Operands& operands) {
  if (fits_plainly(operands)) return;
  for (int i = 0; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    TORCH_CHECK(
        tensor.defined(),
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " is undefined");
    TORCH_CHECK(
        tensor.layout() == at::kStrided,
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must be dense, got layout ",
        tensor.layout(),
        i == 1 ? " (to_dense() makes it so)" : "");
  }
  check_types(signature, index, operands);
  const at::Tensor& param = operands.param();
  for (int i = 1; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    TORCH_CHECK(
        tensor.sizes() == param.sizes(),
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must have its parameter's shape ",
        param.sizes(),
        ", got ",
        tensor.sizes());
    TORCH_CHECK(
        tensor.device() == param.device(),
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must be on its parameter's device ",
        param.device(),
        ", got ",
        tensor.device());
  }
  for (int i = 0; i < operands.count; ++i) {
    if (i != 1) check_writable(signature, index, i, *operands.tensors[i]);
  }
}

void check_not_negative(const char* function, const char* name, double value) {
  TORCH_CHECK(
      std::isfinite(value) && value >= 0.0,
      function,
      ": ",
      name,
      " must be finite and >= 0, got ",
      value);
}

void check_length(
    const char* function, const char* list, size_t length, size_t expected) {
  TORCH_CHECK(
      length == expected,
      function,
      ": ",
      list,
      " must have length ",
      expected,
      ", got ",
      length);
}

void check_scale(const char* function, const at::Tensor& grad_scale) {
  if (!grad_scale.defined()) return;
  TORCH_CHECK(
      grad_scale.dim() == 0 ||
          (grad_scale.dim() == 1 && grad_scale.numel() == 2),
      function,
      ": grad_scale must be 0-dim, got shape ",
      grad_scale.sizes(),
      " (or two factors, of shape [2])");
  TORCH_CHECK(
      at::isFloatingType(grad_scale.scalar_type()),
      function,
      ": grad_scale must be of a floating type, got ",
      grad_scale.scalar_type());
}

bool Scale::is_usable() const {
  return std::abs(fine * coarse) <= std::numeric_limits<float>::max();
}

Scale Scale::for_type(bool is_double) const {
  const double smallest = is_double ? std::numeric_limits<double>::min()
                                    : std::numeric_limits<float>::min();
  const double product = fine * coarse;
  if (std::abs(product) >= smallest || fine == 0 || coarse == 0) {
    return {product};
  }
  // The digits of the one and the exponents of both: the product itself may
  // have lost digits.
  const int fine_exponent = std::ilogb(fine);
  const int coarse_exponent = std::ilogb(coarse);
  const double digits =
      std::scalbn(fine, -fine_exponent) * std::scalbn(coarse, -coarse_exponent);
  const int exponent = fine_exponent + coarse_exponent;
  const int halvings = std::min(-exponent, is_double ? 1000 : 120);
  return {std::scalbn(digits, exponent + halvings), std::ldexp(1.0, -halvings)};
}

Scale read_scale(const at::Tensor& grad_scale) {
  if (!grad_scale.defined()) return {};
  if (grad_scale.dim() == 0) return {grad_scale.item().toDouble()};
  const at::Tensor factors = grad_scale.cpu();
  return {factors[0].item().toDouble(), factors[1].item().toDouble()};
}

int element_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return kFloat32;
    case at::kDouble:
      return kFloat64;
    case at::kBFloat16:
      return kBFloat16;
    case at::kHalf:
      return kFloat16;
    default:
      return kFormatCount;
  }
}

Format format_of(const Operands& operands) {
  const auto format =
      static_cast<Format>(element_type(operands.param().scalar_type()));
  const bool wide = operands.count > 2 && operands.tensors[2]->scalar_type() !=
                                              operands.param().scalar_type();
  if (!wide) return format;
  return format == kBFloat16 ? kBFloat16WithFloat32State
                             : kFloat16WithFloat32State;
}

bool is_plain(const at::Tensor& tensor) {
  return !tensor.is_neg() && !tensor._is_zerotensor();
}

at::Tensor written_out(const at::Tensor& tensor) {
  if (is_plain(tensor)) return tensor;
  if (tensor._is_zerotensor()) {
    return at::zeros(tensor.sizes(), tensor.options());
  }
  return tensor.resolve_neg();
}

bool is_flat(const at::Tensor& tensor) {
  return tensor.is_non_overlapping_and_dense() && is_plain(tensor);
}

void ArrayView::add(const Operands& operands, void** arrays) {
  for (int i = 0; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    if (!tensor.is_contiguous() || !is_plain(tensor)) {
      add_copies(operands, arrays);
      return;
    }
    arrays[i] = tensor.data_ptr();
  }
}

void ArrayView::add_copies(const Operands& operands, void** arrays) {
  at::Tensor model = operands.param();
  if (!is_flat(model)) {
    model = at::empty(model.sizes(), model.options()).copy_(model);
    written_.emplace_back(operands.param(), model);
  }
  arrays[0] = model.data_ptr();
  for (int i = 1; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    if (is_flat(tensor) && tensor.strides() == model.strides()) {
      arrays[i] = tensor.data_ptr();
      continue;
    }
    at::Tensor copy =
        at::empty_strided(model.sizes(), model.strides(), tensor.options());
    copy.copy_(tensor);
    arrays[i] = copy.data_ptr();
    if (i == 1) {
      read_.push_back(std::move(copy));
    } else {
      written_.emplace_back(tensor, std::move(copy));
    }
  }
}

void ArrayView::add_in_order(const Operands& operands, void** arrays) {
  for (int i = 0; i < operands.count; ++i) {
    const at::Tensor& tensor = *operands.tensors[i];
    if (tensor.is_contiguous() && is_plain(tensor)) {
      arrays[i] = tensor.data_ptr();
      continue;
    }
    at::Tensor copy = at::empty(tensor.sizes(), tensor.options());
    copy.copy_(tensor);
    arrays[i] = copy.data_ptr();
    if (i == 1) {
      read_.push_back(std::move(copy));
    } else {
      written_.emplace_back(tensor, std::move(copy));
    }
  }
}

void ArrayView::copy_back() {
  for (auto& tensor_and_copy : written_) {
    tensor_and_copy.first.copy_(tensor_and_copy.second);
  }
}

void mark_written(const Operands& operands) {
  // The counters lie apart, and a bump waits for each: so all are read first.
  uint32_t versions = 0;
  for (int i = 0; i < operands.count; ++i) {
    if (i == 1 || operands.tensors[i]->is_inference()) continue;
    versions += operands.tensors[i]
                    ->unsafeGetTensorImpl()
                    ->version_counter()
                    .current_version();
  }
  static_cast<void>(versions);
  for (int i = 0; i < operands.count; ++i) {
    if (i == 1 || operands.tensors[i]->is_inference()) continue;
    operands.tensors[i]->unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace stepsize::detail
