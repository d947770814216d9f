#pragma once

#include <stepsize/tune/lr_range_result.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/optimizer_table.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// Hears of each update of a range test: how many there have been of at most
/// how many, the rate and the loss. The test ends where it returns false.
using RangeProgress =
    std::function<bool(std::int64_t, std::int64_t, double, double)>;

/// A range test of the model on images of `source`, which it takes in order,
/// epoch after epoch: updates of `accumulate` micro-batches each by a new
/// optimizer of this choice, at rates from 1e-5 to 10, or to choice.lr or ten
/// times the optimizer's usual rate where those are higher. The model is as
/// before afterwards; the source is not. With rollback-sgd and sam-sgd the test
/// is made with plain SGD: it is to find where steps go wrong. Throws
/// c10::Error for an optimizer that finds its rate itself.
LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerChoice& choice,
    BatchSource& source,
    std::int64_t accumulate,
    const RangeProgress& progress);

/// Updates that does_harm() needs.
constexpr std::int64_t kLeastUpdates = 6;

/// Whether updates at choice.lr are likely to do harm: whether in `updates`
/// of them, on a line up to that rate, the loss rises by half and does not come
/// down again, or ends as in a range test that diverges. The model is as before
/// afterwards. The trial ends, for what it is worth, where `should_stop` says
/// so.
bool does_harm(
    ImageModel& model,
    const OptimizerChoice& choice,
    BatchSource& source,
    std::int64_t accumulate,
    std::int64_t updates,
    const std::function<bool()>& should_stop = nullptr);

/// Whether the test ended because the loss did not stay finite or bounded.
bool went_wrong(const LRRangeTestResult& result);

/// The optimizer that a run asks for, at the rate `lr`; with `ranks`, where it
/// is of several processes.
OptimizerChoice optimizer_choice(
    const TrainOptions& options,
    double lr,
    const std::shared_ptr<Reduction>& ranks = nullptr);

/// What the schedule of a run is to multiply: the rate that was asked for,
/// scaled to the batch, or the one that a range test on images of `source`
/// suggests for the run's schedule. Nothing where the range test is all that is
/// wanted, or where `should_stop` ended it. The test leaves
/// lr_range.csv and lr_range.svg in the run's folder, of process 0, and says to
/// `out` what it found; an asked-for rate that is likely to diverge is warned
/// of on `err`. Throws c10::Error where the test suggests nothing.
std::optional<double> choose_lr(
    const TrainOptions& options,
    const RunSchedule& run_schedule,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    const std::shared_ptr<Reduction>& ranks,
    const std::function<bool()>& should_stop,
    std::ostream& out,
    std::ostream& err,
    bool bar);

}  // namespace stepsize::trainer
