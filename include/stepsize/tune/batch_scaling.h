#pragma once

#include <cstdint>

namespace torch::optim {
class Optimizer;
}  // namespace torch::optim

namespace stepsize {

/// How a rate follows the batch from a size B0, where it is known, to a size B
/// = kappa B0. Each rule keeps another quantity as it was; s^2 is the variance
/// of the gradient of one example.
class BatchRule {
 public:
  enum class Kind : std::uint8_t {
    kLinear,
    kSquareRoot,
    kAdamSde,
    kNoiseScale,
  };

  /// lr kappa. Keeps lr / B: what an example moves the parameters by, and the
  /// noise that the iterate of SGD settles at, lr s^2 / (B lambda (2 - lr
  /// lambda)) on a quadratic, for lr lambda far below 2. For SGD with or
  /// without momentum, while B is far below the noise scale; with a warm-up
  /// (Goyal et al., Accurate, Large Minibatch SGD, 2017).
  static BatchRule linear() { return BatchRule(Kind::kLinear, 0); }

  /// lr sqrt(kappa). Keeps lr^2 s^2 / B: the variance of an update (Krizhevsky,
  /// One weird trick for parallelizing convolutional neural networks, 2014).
  /// With Adam its averages, whose betas stay, stretch over kappa times the
  /// examples, and eps weighs more against gradients with less noise:
  /// scale_adam() has the numbers that make up for both.
  static BatchRule square_root() { return BatchRule(Kind::kSquareRoot, 0); }

  /// For Adam and AdamW: scale_adam() has the formula and what it keeps. It
  /// changes more than the rate: for scale_lr(optimizer, ...) only.
  static BatchRule adam_sde() { return BatchRule(Kind::kAdamSde, 0); }

  /// lr (1 + N / B0) / (1 + N / B) with the gradient noise scale N, in
  /// examples: linear far below N, constant far above. Keeps lr E|g|^2, with g
  /// the gradient of a batch: the share of what a step gains that the curvature
  /// takes back (McCandlish et al., An Empirical Model of Large-Batch Training,
  /// 2018, section 2). Throws c10::Error unless N is finite and >= 0.
  static BatchRule noise_scale(double examples);

  Kind kind() const { return kind_; }
  /// N of noise_scale(); 0 with the other rules.
  double noise_scale() const { return noise_scale_; }

 private:
  BatchRule(Kind kind, double noise_scale)
      : kind_(kind), noise_scale_(noise_scale) {}

  Kind kind_;
  double noise_scale_;
};

/// The rate at `batch` examples an update, from a rate that is right at
/// `base_batch`. Throws c10::Error unless lr is finite and >= 0, both batches
/// are >= 1 and the rule changes the rate alone (not adam_sde()).
///
///     scale_lr(0.1, 256, 8192, BatchRule::linear());  // 3.2
double scale_lr(
    double lr, int64_t base_batch, int64_t batch, const BatchRule& rule);

/// Scales the rate of every group; with adam_sde() its betas and eps too, on
/// LibTorch's Adam and AdamW and on ClippedAdamW. It scales what it finds:
/// called twice it scales twice. Call it before a scheduler is built, which
/// takes the rates that it finds as its base. Throws c10::Error, and has
/// changed nothing, where a group's options have no rate, with adam_sde()
/// where they are of another class, and as scale_lr() and scale_adam() do.
void scale_lr(
    torch::optim::Optimizer& optimizer,
    int64_t base_batch,
    int64_t batch,
    const BatchRule& rule);

/// The numbers of Adam that depend on the batch.
struct AdamSettings {
  double lr;     ///< finite and >= 0
  double beta1;  ///< in [0, 1)
  double beta2;  ///< in [0, 1)
  double eps;    ///< finite and >= 0
};

/// The square-root rule of Adam (Malladi, Lyu, Panigrahi, Arora, On the SDEs
/// and Scaling Rules for Adaptive Gradient Algorithms, 2022):
///
///   lr sqrt(kappa),  1 - beta -> kappa (1 - beta) for both,  eps / sqrt(kappa)
///
/// Keeps lr^2 / B, (1 - beta) / B and lr eps: the path of the parameters over
/// the examples seen, where noise outweighs the gradient's mean, with averages
/// that reach back over as many examples as before. Steps fall by kappa: a
/// schedule in steps is to be shortened too.
///
/// With beta1 = 0, which is RMSprop and has no average to stretch, beta1 stays
/// (their rule for RMSprop).
///
/// Throws c10::Error where a setting is out of its range, or where kappa != 1
/// and kappa (1 - beta) >= 1: no average is that short.
AdamSettings scale_adam(
    const AdamSettings& settings, int64_t base_batch, int64_t batch);

/// lr = lr_max / (1 + N / batch): the rate that gains most in a step, where
/// `lr_max` is best for the whole gradient and N is the gradient noise scale
/// in examples (McCandlish et al. 2018, section 2). At batch = N it is half
/// of lr_max. Throws c10::Error unless lr_max and N are finite and >= 0 and
/// batch >= 1.
double noise_scale_lr(double lr_max, double noise_scale, int64_t batch);

/// lr / (1 - momentum): what a steady gradient moves the parameters by in a
/// step, in the long run; for heavy ball and Nesterov alike, without dampening.
/// Throws c10::Error unless lr is finite and >= 0 and momentum in [0, 1).
double effective_lr(double lr, double momentum);

/// effective_lr (1 - momentum): the lr whose effective rate it is.
double nominal_lr(double effective_lr, double momentum);

}  // namespace stepsize
