#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <ostream>

#include "batch_source.h"
#include "course.h"
#include "image_model.h"
#include "make_updater.h"
#include "options.h"

namespace stepsize::trainer {

/// The optimizer that a run asks for, at the rate `lr`; with `ranks`, where it
/// is of several processes.
OptimizerSettings optimizer_settings(
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
    const Course& course,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    const std::shared_ptr<Reduction>& ranks,
    const std::function<bool()>& should_stop,
    std::ostream& out,
    std::ostream& err,
    bool bar);

}  // namespace stepsize::trainer
