#pragma once

#include <stepsize/adaptive/snapshot_ensemble.h>
#include <stepsize/distributed/reduction.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// What a model, or several together, are worth on the test images.
struct EnsembleRow {
  std::string name;
  TestResult result;
};

/// Tests each snapshot, the mean of their predictions, and one model with the
/// mean of their weights, for which the statistics of BatchNorm are measured on
/// `statistics`, training images by themselves. The model is then as it was.
/// Nothing where `should_stop`, which is asked before each batch, ended it.
/// With `ranks`, over the shares of all.
std::optional<std::vector<EnsembleRow>> test_ensemble(
    SnapshotEnsemble& ensemble,
    ImageModel& model,
    BatchSource& test,
    BatchSource& statistics,
    const std::function<bool()>& should_stop = nullptr,
    Reduction* ranks = nullptr);

}  // namespace stepsize::trainer
