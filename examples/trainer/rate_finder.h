#pragma once

#include <stepsize/tune/lr_range_result.h>

#include <cstdint>
#include <functional>

#include "batch_source.h"
#include "image_model.h"
#include "make_updater.h"

namespace stepsize::trainer {

/// Hears of each update of a range test: how many there have been of at most
/// how many, the rate and the loss. The test ends where it returns false.
using RangeProgress =
    std::function<bool(std::int64_t, std::int64_t, double, double)>;

/// A range test of the model on images of `source`, which it takes in order,
/// epoch after epoch: updates of `accumulate` micro-batches each by a new
/// optimizer with these settings, at rates from 1e-5 to 10, or to settings.lr
/// where that is higher. The model is as
/// before afterwards; the source is not. With rollback-sgd the test is made
/// with plain SGD: it is to find where steps go wrong. Throws c10::Error for
/// power-sgd, which has no rate to find.
LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate,
    const RangeProgress& progress);

/// Updates that does_harm() needs.
constexpr std::int64_t kLeastUpdates = 6;

/// Whether updates at settings.lr are likely to do harm: whether in `updates`
/// of them, on a line up to that rate, the loss rises by half and does not come
/// down again, or ends as in a range test that diverges. The model is as before
/// afterwards. The trial ends, for what it is worth, where `should_stop` says
/// so.
bool does_harm(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate,
    std::int64_t updates,
    const std::function<bool()>& should_stop = nullptr);

/// Whether the test ended because the loss did not stay finite or bounded.
bool went_wrong(const LRRangeTestResult& result);

}  // namespace stepsize::trainer
