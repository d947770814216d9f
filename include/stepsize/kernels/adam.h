#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>

namespace stepsize {

/// The numbers of one Adam step, named and preset as torch::optim::AdamOptions.
struct AdamHyperparameters {
  /// Step size; finite and >= 0.
  double lr = 1e-3;
  /// Decay of the mean of gradients; in [0, 1).
  double beta1 = 0.9;
  /// Decay of the mean of squared gradients; in [0, 1).
  double beta2 = 0.999;
  /// Added to the denominator; finite and >= 0.
  double eps = 1e-8;
  /// Weight decay; finite and >= 0.
  double weight_decay = 0.0;
  /// Divide by the largest mean of squares so far (Reddi, Kale, Kumar, On the
  /// Convergence of Adam and Beyond, 2018).
  bool amsgrad = false;
  /// Ascend instead.
  bool maximize = false;
  /// AdamW: shrink the parameter by 1 - lr * weight_decay instead of adding
  /// weight_decay * parameter to the gradient (Loshchilov and Hutter, 2019).
  bool decoupled_weight_decay = false;
  /// Leave out the coordinates whose update goes against their gradient, and
  /// make the others longer by as much (Liang et al., Cautious Optimizers,
  /// 2024, algorithm 1).
  bool cautious = false;
  /// Round state of bfloat16 up or down by chance, which the number of the step
  /// decides, so that a mean is kept of which a step changes less than the last
  /// digit; see compact_state().
  bool stochastic_rounding = false;
  /// With the number of the step and a parameter's place in the list it decides
  /// how compact state is rounded: give lists that are stepped together others.
  int64_t rounding_seed = 0;
};

/// One step of Adam (Kingma and Ba, 2015) or AdamW for a list of parameters p
/// with gradients g, in place and in one pass; t is the number of the step:
///
///   d = s g                        (s = grad_scale, or 1; -s to maximize)
///   d = d + weight_decay p         or, decoupled, p = p - lr weight_decay p
///   m = beta1 m + (1 - beta1) d
///   v = beta2 v + (1 - beta2) d^2            (amsgrad: x = max(x, v))
///   p = p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
///                                            (amsgrad: x in the place of v)
///
/// With `cautious` the last update of an element counts n / max(k, n / 1000)
/// times where m d > 0, and 0 times elsewhere, k being how many of the
/// parameter's n elements have m d > 0.
///
/// Without grad_scale it follows torch::optim::Adam and AdamW. Gradients are
/// not written.
///
/// - `exp_avgs` (m) and `exp_avg_sqs` (v): one a parameter.
/// - `max_exp_avg_sqs` (x): one a parameter with amsgrad, none without.
/// - `steps`: for each parameter the number of this step, from 1 on.
/// - `grad_scale`: undefined, or a 0-dim factor of every gradient, or two such
///   factors (1-dim), as clip_coefficient gives. Where the product is NaN, Inf
///   or beyond float32's range nothing is changed. One too small for a normal
///   float32 loses no digits for that; on another device than the CPU it does,
///   unless it comes in two. It stays on its device; a CPU parameter has to
///   wait for a factor that lies elsewhere.
///
/// The state of a parameter that is not float64 may be compact: bfloat16 with
/// stochastic_rounding, or eight bits, see compact_state(). Then it is moved
/// with 4 or 2 bytes a mean instead of 8.
///
/// Types, strides and undefined gradients are as with sgd_step; nor may a
/// tensor come twice. Give parameters of half types float32 state: at beta2
/// 0.999 a bfloat16 v never shrinks, as it loses less than half of its last
/// digit a step, and a float16 v is 0 for gradients below 5e-3, which makes
/// steps up to 1 / sqrt(1 - beta2) times too long.
///
/// Cost on a CPU: 28 bytes a float32 parameter, 36 with amsgrad, 8 more with
/// cautious, whose elements are counted first; one parallel region, or two.
/// Elsewhere: LibTorch's fused operators where it has them and they are right
/// for the types, multi-tensor operators otherwise, for the half types always;
/// the host never waits, unless state is compact.
///
/// Throws c10::Error before anything is changed.
void adam_step(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList exp_avgs,
    at::TensorList exp_avg_sqs,
    at::TensorList max_exp_avg_sqs,
    at::IntArrayRef steps,
    const AdamHyperparameters& hyperparameters,
    const at::Tensor& grad_scale = {});

}  // namespace stepsize
