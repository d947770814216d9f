#pragma once

#include <stepsize/tune/lr_range_result.h>

#include <cstdint>

#include "batch_source.h"
#include "image_model.h"
#include "make_updater.h"

namespace stepsize::trainer {

/// A range test of the model on images of `source`, which it takes in order,
/// epoch after epoch: updates of `accumulate` micro-batches each by a new
/// optimizer with these settings, at rates from 1e-6 to 10, or to settings.lr
/// where that is higher. The model is as
/// before afterwards; the source is not. With rollback-sgd the test is made
/// with plain SGD: it is to find where steps go wrong. Throws c10::Error for
/// power-sgd, which has no rate to find.
LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate);

/// The same up to settings.lr and with fewer updates: whether the loss diverges
/// on the way.
LRRangeTestResult try_rate(
    ImageModel& model,
    const OptimizerSettings& settings,
    BatchSource& source,
    std::int64_t accumulate);

/// Whether the test ended because the loss did not stay finite or bounded.
bool went_wrong(const LRRangeTestResult& result);

}  // namespace stepsize::trainer
