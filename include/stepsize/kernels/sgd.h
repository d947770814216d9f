#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

#include <cstdint>

namespace stepsize {

/// The numbers of one SGD step, named as torch::optim::SGDOptions names them.
struct SGDHyperparameters {
  /// Step size; finite and >= 0.
  double lr = 0.0;
  /// Share of the last step's buffer that stays; finite and >= 0.
  double momentum = 0.0;
  /// The gradient enters the buffer with 1 - dampening; finite.
  double dampening = 0.0;
  /// Weight decay; finite and >= 0.
  double weight_decay = 0.0;
  /// Nesterov's momentum; wants momentum > 0 and dampening 0.
  bool nesterov = false;
  /// Ascend instead.
  bool maximize = false;
  /// Shrink the parameter by 1 - lr * weight_decay (Loshchilov and Hutter,
  /// Decoupled Weight Decay Regularization, 2019: SGDW) instead of adding
  /// weight_decay * parameter to the gradient.
  bool decoupled_weight_decay = false;
  /// Round buffers of bfloat16 up or down by chance, which `rounding_seed`
  /// decides, so that a mean is kept of which a step changes less than the last
  /// digit: give each step another one. See compact_state().
  bool stochastic_rounding = false;
  int64_t rounding_seed = 0;
};

/// One step of stochastic gradient descent for a list of parameters p with
/// gradients g and momentum buffers b, in place and in one pass:
///
///   d = s g                        (s = grad_scale, or 1; -s to maximize)
///   d = d + weight_decay p         or, decoupled, p = p - lr weight_decay p
///   b = momentum b + (1 - dampening) d       (b = d in a first step)
///   p = p - lr b                   (Nesterov: p - lr (d + momentum b))
///
/// Without grad_scale it follows torch::optim::SGD. Gradients are not written.
///
/// - `momentum_buffers`: one a parameter, none where momentum is 0.
/// - `first_step`: one flag a parameter, true where the buffer has no content
///   yet; an empty list says that all have. A std::vector<bool> has no array of
///   bool: take an array of bool or a std::array. Give a new buffer filled
///   with zeros: a step that is skipped on another device than the CPU leaves
///   it so.
/// - `grad_scale`: undefined, or a 0-dim factor of every gradient, or two such
///   factors (1-dim), as clip_coefficient gives. Where the product is NaN, Inf
///   or beyond float32's range nothing is changed. One too small for a normal
///   float32 loses no digits for that; on another device than the CPU it does,
///   unless it comes in two. It stays on its device; a CPU parameter has to
///   wait for a factor that lies elsewhere.
///
/// The buffer of a parameter that is not float64 may be compact: bfloat16 with
/// stochastic_rounding, or eight bits, see compact_state().
///
/// Parameters are float32, float64, bfloat16 or float16, each gradient of the
/// type of its parameter. The half types are computed in float32, and their
/// buffers may be of either type; what is stored is rounded once. Give them
/// float32 buffers: a half one forgets updates below its last digit. Tensors
/// may have any strides, but a parameter or a buffer may not overlap itself,
/// which strides that do not nest count as, nor be an inference tensor outside
/// of InferenceMode. None may come twice in a call: that is not checked, and
/// threads would race for it. A parameter whose gradient is undefined is left
/// alone.
///
/// Cost on a CPU: 12 bytes a float32 parameter, 20 with momentum; one parallel
/// region. Non-dense tensors, or such with strides unlike their parameter's,
/// are copied. Elsewhere: LibTorch's fused operator where it has one that is
/// right for the types, multi-tensor operators otherwise, for the half types
/// always; the host never waits, unless a buffer is compact.
///
/// Throws c10::Error before anything is changed.
void sgd_step(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList momentum_buffers,
    c10::ArrayRef<bool> first_step,
    const SGDHyperparameters& hyperparameters,
    const at::Tensor& grad_scale = {});

}  // namespace stepsize
