#pragma once

#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>
#include <torch/arg.h>

#include <cstdint>
#include <memory>
#include <string>

namespace stepsize {

/// What a larger batch is exchanged for.
enum class BatchExchange : std::uint8_t {
  /// lr / B follows the schedule: for SGD.
  kLinear,
  /// lr / sqrt(B) follows it: for Adam and its kin. Their betas stay, so that
  /// the averages stretch over more examples as the batch grows. So does eps,
  /// which weighs more against gradients with less noise. scale_adam() has the
  /// numbers that make up for both.
  kSquareRoot,
};

/// Options of BatchSizeSchedule.
class BatchSizeScheduleOptions {
 public:
  /// `base_batch`: examples an update at the schedule's highest factor; >= 1.
  /// `max_batch`: the most examples an update; in [base_batch, 1e9].
  BatchSizeScheduleOptions(int64_t base_batch, int64_t max_batch)
      : base_batch_(base_batch), max_batch_(max_batch) {}

  TORCH_ARG(int64_t, base_batch);
  TORCH_ARG(int64_t, max_batch);
  /// The most examples that one backward pass has memory for; >= 1, or 0 for
  /// max_batch. A larger batch is made of several.
  TORCH_ARG(int64_t, max_micro_batch) = 0;
  /// Every micro-batch, and so every batch, has a multiple of this many
  /// examples; in [1, max_micro_batch], and base_batch must be a multiple of
  /// it. With 1, a smooth schedule changes batch and micro-batch at nearly
  /// every update. With max_micro_batch, every micro-batch has just as many
  /// examples and no batch is below base_batch: for whatever a new shape costs
  /// time, and where layers or meters depend on the micro-batch.
  TORCH_ARG(int64_t, multiple_of) = 1;
  TORCH_ARG(BatchExchange, exchange) = BatchExchange::kLinear;
};

/// One update: `accumulation` micro-batches of `micro_batch` examples each.
struct BatchPlan {
  int64_t batch;         ///< micro_batch * accumulation <= max_batch
  int64_t micro_batch;   ///< <= max_micro_batch
  int64_t accumulation;  ///< >= 1
  double lr_factor;      ///< of the base rate
};

/// Grows the batch where a schedule would cut the rate, up to what memory
/// allows, and cuts the rate from there on (Smith, Kindermans, Ying, Le, Don't
/// Decay the Learning Rate, Increase the Batch Size, 2018): as much noise and
/// progress an example as the schedule has, in fewer updates.
///
/// For a schedule f with its peak p = max f, and M(t) the largest factor from
/// time t on, the batch is
///
///   B(t) = base_batch (p / M(t))^e      e = 1 for kLinear, 2 for kSquareRoot
///
/// no more than max_batch, and rounded down to equal micro-batches, by less
/// than (accumulation + 1) multiple_of examples. The rate makes up for cap and
/// rounding, so that this holds to the last bit or two:
///
///   lr_factor(t) = f(t) (B(t) / base_batch)^(1 / e)
///
/// The batch never shrinks and the rate never passes its peak. While the factor
/// is still to come back up, in a warm-up or before a restart, M stays and the
/// rate does all: the batch grows in the last descent and, where each peak is
/// lower than the one before, from peak to peak.
///
///     BatchSizeSchedule batches(
///         warmup(500).then(cosine(9500)),
///         BatchSizeScheduleOptions(128, 4096)
///             .max_micro_batch(512)
///             .multiple_of(128));
///     ScheduleLR scheduler(optimizer, batches.lr_schedule());
///     for (int64_t n = 0; n < batches.updates(); ++n) {
///       const BatchPlan plan = batches.at_update(n);
///       ...  // plan.accumulation backward passes, their mean, one update
///       scheduler.step();
///     }
///
/// A value: pure, copied cheaply. M is taken over whole times t = 0, 1, ..., up
/// to the schedule's end, and the batch changes at whole times only: with a
/// schedule in epochs, at(epoch) changes it between epochs. Cost: the
/// constructor evaluates the schedule once at each whole time; at() takes the
/// logarithm of the number of batch sizes.
class BatchSizeSchedule {
 public:
  /// Throws c10::Error where an option is out of range, where the schedule has
  /// no end (cut it with limit()) or one past 1e8, and where its factor is 0
  /// throughout; and what the schedule throws.
  BatchSizeSchedule(
      const Schedule& schedule, const BatchSizeScheduleOptions& options);

  /// The plan at time t of the schedule; past its end, that at the end. Throws
  /// c10::Error unless t >= 0.
  BatchPlan at(double t) const;

  /// The plan of the update number n >= 0, where the schedule's time counts
  /// updates of base_batch examples: an update of B examples moves it on by B /
  /// base_batch.
  BatchPlan at_update(int64_t n) const;

  /// The factor of the rate at time t for an update of `batch` examples,
  /// planned or not: f(t) (batch / base_batch)^(1 / e). For updates that get
  /// fewer than their plan, as at the end of an epoch: there take t from the
  /// examples seen, over base_batch, for at() too, since at_update() counts
  /// whole updates. Throws c10::Error unless t >= 0 and batch >= 1.
  double lr_factor(double t, int64_t batch) const;

  /// Updates until the end of the schedule, where its time counts as in
  /// at_update().
  int64_t updates() const;

  /// The factor of the rate over at_update(), for ScheduleLR. It ends after
  /// updates(), and prints as "callable".
  Schedule lr_schedule() const;

  /// Text: "batch 128 to 4096 by 512 multiple_of 128 linear of cosine 9500".
  std::string to_string() const;
  /// Turns such a text into a schedule; "by ..." and "multiple_of ..." may be
  /// left out, and the other exchange is called "sqrt". What follows "of" is
  /// for stepsize::parse(). Throws c10::Error, or ParseError for what follows
  /// "of".
  static BatchSizeSchedule parse(
      const std::string& text, const ParseContext& context = {});

  const Schedule& schedule() const;
  const BatchSizeScheduleOptions& options() const;

 private:
  struct Table;
  std::shared_ptr<const Table> table_;
};

}  // namespace stepsize
