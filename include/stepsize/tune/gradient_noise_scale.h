#pragma once

#include <stepsize/tune/noise_scale.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace stepsize {

class Reduction;

/// Options of GradientNoiseScale.
class GradientNoiseScaleOptions {
 public:
  /// `micro_batch`: examples in one micro-batch, or on one rank; >= 1.
  GradientNoiseScaleOptions(int64_t micro_batch)  // NOLINT: implicit
      : micro_batch_(micro_batch) {}

  TORCH_ARG(int64_t, micro_batch);
  /// Of the weight of an update with each one after it; in (0, 1], 1 for the
  /// plain mean. 0.99 looks back over some 100 updates.
  TORCH_ARG(double, decay) = 0.99;
};

/// The squared norms of one parameter group's gradient in one update.
struct RankSquares {
  std::vector<double> squares;  ///< of each rank's gradient; two or more
  double mean_square;           ///< of the mean of these gradients
};

/// Measures the gradient noise scale during training, of each parameter group
/// and of all together, from gradients that are computed anyway: those of the
/// micro-batches of an update, or of the ranks.
///
///     GradientNoiseScale noise(optimizer, /*micro_batch=*/32);
///     for (...) {                       // one update
///       optimizer.zero_grad();
///       noise.begin_update();
///       for (const auto& part : parts) {
///         (loss(part) / parts.size()).backward();
///         noise.add_micro_batch();      // after each backward()
///       }
///       noise.finish_update();
///       optimizer.step();
///     }
///     std::cout << noise.total().advice(32 * parts.size());
///
/// `.grad` holds the growing sum of an update; what a micro-batch has added is
/// the difference to the sum before. The loss of a micro-batch is to be a mean
/// over its examples, times one factor that is the same within an update. The
/// factor drops out of the noise scale; where it changes from update to update
/// (a gradient scaler's), finish_update() is to be told. `.grad` is never
/// written.
///
/// An update with a NaN or an Inf in a gradient is counted and left out; so is
/// one of less than two micro-batches. A parameter without a gradient counts as
/// one of zeros. Where the gradients' type is of half precision, what its
/// rounding is expected to add is taken off the noise, and half of it enters
/// the standard error (docs/tuning.md).
///
/// Cost a micro-batch: a norm, a difference and a copy, each one pass over the
/// gradients; of half precision some ten passes. Memory: one copy of the
/// gradients, and of half precision, while add_micro_batch() runs, six copies
/// in float32. The host waits for an accelerator in finish_update() alone.
///
/// `torch::save` and `torch::load` carry all of it, in the midst of an update
/// too; a run goes on bit for bit. Loading what another class, other options or
/// other parameters have written throws c10::Error and changes nothing.
///
/// Where a layer mixes the examples of a micro-batch (BatchNorm), G and S are
/// those of gradients normalized over that many examples, and N is their noise.
/// What it says of a batch holds for more or fewer micro-batches of the same
/// size, not for larger ones, which have another G and another S.
///
/// Not for sparse gradients.
class GradientNoiseScale {
 public:
  /// Watches the parameters that the optimizer has now, by its groups. Throws
  /// c10::Error where an option is out of range or there is no group.
  GradientNoiseScale(
      const torch::optim::Optimizer& optimizer,
      const GradientNoiseScaleOptions& options);
  /// Watches these parameters, one list a group. They must be defined.
  GradientNoiseScale(
      std::vector<std::vector<at::Tensor>> groups,
      const GradientNoiseScaleOptions& options);
  /// Watches nothing, and is told norms by add_ranks().
  static GradientNoiseScale of_ranks(
      int64_t num_groups, const GradientNoiseScaleOptions& options);

  // A copy would write to the same tensors.
  GradientNoiseScale(const GradientNoiseScale&) = delete;
  GradientNoiseScale& operator=(const GradientNoiseScale&) = delete;
  GradientNoiseScale(GradientNoiseScale&&) = default;
  GradientNoiseScale& operator=(GradientNoiseScale&&) = default;
  ~GradientNoiseScale() = default;

  /// Begins an update, with gradients that have been cleared. Throws c10::Error
  /// where the update before was neither finished nor discarded: the meter
  /// cannot tell cleared gradients from a growing sum, and would take two
  /// updates for one.
  void begin_update();

  /// To be called after each micro-batch's backward(), with gradients cleared
  /// before the first of an update and not between. Throws c10::Error, and
  /// changes nothing, where no update has begun, a gradient is sparse, or has
  /// gone or changed its shape or type since the micro-batch before.
  void add_micro_batch();
  /// The same for a micro-batch of another size.
  void add_micro_batch(int64_t examples);

  /// Gives an update up, if one has begun, and counts it nowhere. To be called
  /// where a loop leaves an update before finish_update(), for a bad batch or
  /// an exception.
  void discard_update();

  /// Ends the update that has begun; throws c10::Error where none has. `factor`
  /// is what each micro-batch's mean gradient was multiplied by (1 / parts.
  /// size() above, times a gradient scaler's scale); without it gradient_square
  /// and noise_trace are in units of its square. False where the update was
  /// left out. Throws c10::Error unless factor is finite and > 0.
  bool finish_update(double factor = 1.0);

  /// The same where ranks train one model: averages the gradients over them,
  /// to step with, and ends the update from what add_micro_batch() has seen on
  /// all. One micro-batch a rank is enough where there are two ranks, and the
  /// meter is alike on all. Every rank calls it, also one that has seen none.
  /// Where gradients have been clipped or otherwise changed since, on any rank,
  /// the meter goes by what it has seen, at the cost of a second averaging.
  /// Throws as average_gradients() does; nothing has been added then.
  ///
  ///     noise.begin_update();
  ///     loss.backward();
  ///     noise.add_micro_batch();
  ///     noise.finish_update(*ranks);
  ///     optimizer.step();
  bool finish_update(Reduction& reduction, double factor = 1.0);

  /// One update of ranks that each saw micro_batch examples, one entry a group.
  /// False where it was left out, since a number is not finite. Throws
  /// c10::Error, and changes nothing, where the number of groups or of ranks
  /// does not fit, as noise_sample() does, and in the midst of an update of
  /// micro-batches.
  bool add_ranks(const std::vector<RankSquares>& groups);

  /// Of all parameters together.
  NoiseScale total() const { return total_.value(); }
  /// Throws c10::Error where there is no such group.
  NoiseScale group(int64_t index) const;
  int64_t num_groups() const { return static_cast<int64_t>(averages_.size()); }

  /// Updates left out since a gradient was not finite.
  int64_t non_finite_updates() const { return non_finite_updates_; }
  /// Updates left out since they had less than two micro-batches.
  int64_t short_updates() const { return short_updates_; }

  const GradientNoiseScaleOptions& options() const { return options_; }

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive,
      const GradientNoiseScale& noise);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, GradientNoiseScale& noise);

 private:
  GradientNoiseScale(
      std::vector<std::vector<at::Tensor>> parameters,
      std::size_t num_groups,
      const GradientNoiseScaleOptions& options);
  void check_gradients() const;
  void check_begun(const char* called) const;
  std::vector<std::pair<const void*, uint32_t>> marks() const;
  bool gradients_differ() const;
  struct Sums;
  Sums sums_so_far() const;
  bool add_update(const Sums& sums, double factor);
  bool add_samples(const std::vector<NoiseSample>& samples);

  GradientNoiseScaleOptions options_;
  std::vector<std::vector<at::Tensor>> parameters_;
  // The sum of the micro-batches so far; undefined where there is none.
  std::vector<std::vector<at::Tensor>> sums_;
  // Norms of the update's micro-batches, a list a group, and their sizes.
  std::vector<std::vector<at::Tensor>> norms_;
  // The squared norm of the rounding in them; undefined where there is none.
  std::vector<at::Tensor> roundings_;
  std::vector<int64_t> examples_;
  bool in_update_ = false;
  // Gradients and their versions at the last micro-batch.
  std::vector<std::pair<const void*, uint32_t>> marks_;
  std::vector<NoiseScaleAverage> averages_;
  NoiseScaleAverage total_;
  int64_t non_finite_updates_ = 0;
  int64_t short_updates_ = 0;
};

}  // namespace stepsize
