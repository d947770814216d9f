#pragma once

#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <limits>
#include <memory>

namespace stepsize {

class Reduction;

/// Options of SAM, preset as in its paper.
class SAMOptions {
 public:
  /// `rho`: length of the ascent; finite and >= 0, 0 for none.
  SAMOptions(double rho = 0.05);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, rho);
  /// ASAM: lengths are measured in units of each parameter's size. It wants
  /// some ten times SAM's rho.
  TORCH_ARG(bool, adaptive) = false;
  /// Added to that size, which may be 0; finite and >= 0. That of ASAM's paper.
  TORCH_ARG(double, eta) = 0.01;
  /// model->buffers(): the running statistics of BatchNorm are those of the
  /// first evaluation.
  TORCH_ARG(TensorVector, buffers);
};

/// Sharpness-aware minimization (Foret et al., Sharpness-Aware Minimization for
/// Efficiently Improving Generalization, 2021, algorithm 1) around another
/// optimizer, which is stepped at w with the gradient g of a point uphill:
///
///   e = rho g(w) / |g(w)|              g = g(w + e)
///   e = rho T^2 g(w) / |T g(w)|        adaptive, T = |w| + eta
///
/// the second of ASAM (Kwon et al., ASAM: Adaptive Sharpness-Aware Minimization
/// for Scale-Invariant Learning of Deep Neural Networks, 2021).
///
///     SAM sam(sgd, SAMOptions(0.05).buffers(model->buffers()));
///     sam.step(closure);  // in the place of sgd.step(closure)
///
/// The closure computes the loss and calls backward(). It is called twice, with
/// the same random numbers, so that dropout leaves out the same. The second
/// call leaves no trace in the buffers, random state and parameters, which are
/// put back bit for bit before the optimizer's step, also where it throws.
/// Schedulers act on the optimizer, which is all that a checkpoint has to keep.
///
/// Cost: twice the closure, and copies of parameters and buffers. Not for a
/// bfloat16 parameter, in whose digits most of e is lost.
///
/// The optimizer must outlive this.
class SAM {
 public:
  /// Throws c10::Error where an option is out of range, and for an optimizer
  /// that needs the closure itself: LBFGS, PowerMethodSGD, AutoSGD.
  explicit SAM(
      torch::optim::Optimizer& optimizer, const SAMOptions& options = {});
  SAM(const SAM&) = delete;
  SAM& operator=(const SAM&) = delete;

  /// One step of the optimizer. Returns the loss at w. Throws c10::Error where
  /// there is no closure and where a gradient is sparse or does not fit.
  at::Tensor step(const torch::optim::Optimizer::LossClosure& closure);

  /// Makes this one of several ranks that train one model, as
  /// IndexedOptimizer::set_reduction() does: both gradients are means. Null, as
  /// at first: the reduction of the optimizer, if it is one of this library and
  /// has one.
  void set_reduction(std::shared_ptr<Reduction> reduction);

  double rho() const { return options_.rho(); }
  /// Throws c10::Error unless it is finite and >= 0.
  void set_rho(double rho);

  /// Steps without an ascent, as the gradient's norm was 0 or not finite: the
  /// optimizer was stepped with the gradient at w.
  int64_t skipped_ascents() const { return skipped_; }
  /// |g(w)|, or |T g(w)|, of the last step; NaN before it.
  double last_grad_norm() const { return last_norm_; }

 private:
  class Ascent;

  TensorVector scaled_gradients() const;
  Reduction* reduction() const;

  torch::optim::Optimizer* optimizer_;
  SAMOptions options_;
  std::shared_ptr<Reduction> reduction_;
  int64_t skipped_ = 0;
  double last_norm_ = std::numeric_limits<double>::quiet_NaN();
};

}  // namespace stepsize
