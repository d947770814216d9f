#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace stepsize::detail {

/// What a step on a device does with its gradients and factors where a scale is
/// given. The scale stays on the device. Where it is NaN or Inf (in float32)
/// all factors take their idle value, and gradients are 0: the same operators
/// change nothing.
class ScaleGate {
 public:
  /// `scale`: undefined for none, 0-dim, or two factors, each of which costs a
  /// pass; it is moved to `device`.
  ScaleGate(const at::Tensor& scale, at::Device device);

  /// Gradients times the scale, or minus that, in the type `type`. They may be
  /// the same tensors as `grads`.
  std::vector<at::Tensor> gradients(
      const std::vector<at::Tensor>& grads,
      bool negated,
      at::ScalarType type) const;

  /// Gradients times the scale, whatever that is: fused operators are told
  /// apart from that to leave all as it is.
  std::vector<at::Tensor> for_fused(const std::vector<at::Tensor>& grads) const;

  /// list * factor; the factor is `idle` where the step is to be skipped.
  std::vector<at::Tensor> times(
      const std::vector<at::Tensor>& list, double factor, double idle) const;
  /// The same in place.
  void multiply(
      const std::vector<at::Tensor>& list, double factor, double idle) const;
  /// list + term in place.
  void add(const std::vector<at::Tensor>& list, double term, double idle) const;
  /// to = from, unless the step is to be skipped.
  void copy(
      const std::vector<at::Tensor>& to,
      const std::vector<at::Tensor>& from) const;

  /// 1 where the step is to be skipped, else 0, as fused operators take it;
  /// undefined without a scale.
  at::Tensor found_inf() const;

 private:
  /// The scale's factors for gradients of a type, one or two.
  std::vector<at::Tensor> factors(at::ScalarType type) const;
  /// value or idle, 0-dim, of the type of `like`.
  at::Tensor choose(const at::Tensor& like, double value, double idle) const;

  at::Tensor scale_;
  at::Tensor finite_;
};

}  // namespace stepsize::detail
