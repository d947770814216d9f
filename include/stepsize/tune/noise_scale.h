#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace stepsize {

/// What one update tells of the gradient noise, without bias. G is the gradient
/// of the whole loss, S the covariance of the gradient of one example.
struct NoiseSample {
  double gradient_square;  ///< of |G|^2; negative where noise drowns G
  double noise_trace;      ///< of tr S
  /// What was taken off tr S for the rounding of the gradients, by estimate.
  double rounding_trace = 0;
};

/// From the gradients g_1 ... g_k of k >= 2 micro-batches, or of as many ranks,
/// of `examples` examples each: `squares` holds |g_i|^2, and `mean_square` is
/// |(g_1 + ... + g_k) / k|^2. With b examples in each and B = k b in all
/// (McCandlish et al., An Empirical Model of Large-Batch Training, 2018,
/// appendix A.1, over all micro-batches):
///
///   |G|^2 = (B mean_square - b mean(squares)) / (B - b)
///   tr S  = (mean(squares) - mean_square) / (1 / b - 1 / B)
///
/// Throws c10::Error unless there are two squares or more, examples >= 1, no
/// square is below 0, and mean_square <= mean(squares) (1 + 1e-5), as it is for
/// all gradients but for the rounding of float. (The square of the sum, k^2
/// times as large, would pass for no noise.) NaN and Inf go through to the
/// result.
NoiseSample noise_sample(
    const std::vector<double>& squares, double mean_square, int64_t examples);

/// The simple gradient noise scale N = tr S / |G|^2: the batch, in examples, at
/// which noise and gradient weigh the same.
struct NoiseScale {
  double gradient_square = std::numeric_limits<double>::quiet_NaN();
  double noise_trace = std::numeric_limits<double>::quiet_NaN();
  /// N; NaN where it is not known.
  double value = std::numeric_limits<double>::quiet_NaN();
  /// Of value, with half of what was taken off for rounding; NaN where it is
  /// not known or less than three updates were seen.
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  /// Updates seen.
  int64_t updates = 0;

  /// False before the first update, and while the mean of |G|^2 is not above 0:
  /// the noise drowns the gradient, and only more updates can tell.
  bool known() const { return value >= 0; }

  /// What the noise scale advises at a batch >= 1 (else c10::Error), on one
  /// line: "noise scale 317 +- 20 at batch 100: twice the batch saves 38% of
  /// the steps and costs 24% more examples; half the batch saves 12% of the
  /// examples and costs 76% more steps".
  std::string advice(int64_t batch) const;
};

/// What a run to the same loss takes at a batch of `to` examples, as a share of
/// what it takes at `from`, each at its best rate (McCandlish et al. 2018,
/// section 2):
///
///   steps = S_min (1 + N / B),  examples = E_min (1 + B / N)
struct BatchTradeoff {
  double steps;
  double examples;
};

/// Throws c10::Error unless N is finite and > 0 and both batches are >= 1.
BatchTradeoff batch_tradeoff(double noise_scale, int64_t from, int64_t to);

/// Averages samples over time, |G|^2 and tr S each for itself, and divides
/// last: the mean of the quotients is biased, upwards while no |G|^2 comes near
/// 0, and without bound or sign where one does.
///
/// The weight of a sample falls by `decay` with each one after it; the weights
/// sum to 1 from the first one on, so that nothing starts from 0.
///
/// The standard error is the delta method's: with a = tr S, c = |G|^2 and means
/// a', c', it is that of the weighted mean of a - N c, over c', with samples
/// taken as independent. It means little where c' is less than a few of its own
/// standard errors.
class NoiseScaleAverage {
 public:
  /// All that changes.
  struct State {
    int64_t count = 0;
    double weight = 0;         ///< sum of weights, the newest one's being 1
    double square_weight = 0;  ///< sum of their squares
    NoiseSample mean{0, 0};
    double gradient_variance = 0;
    double noise_variance = 0;
    double covariance = 0;
  };

  /// Throws c10::Error unless decay is in (0, 1]; with 1 it is the plain mean.
  explicit NoiseScaleAverage(double decay);

  /// Throws c10::Error unless both numbers are finite.
  void add(const NoiseSample& sample);
  NoiseScale value() const;

  const State& state() const { return state_; }
  void set_state(const State& state) { state_ = state; }

 private:
  double decay_;
  State state_;
};

}  // namespace stepsize
