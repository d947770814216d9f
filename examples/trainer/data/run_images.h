#pragma once

#include <torch/torch.h>

#include <ostream>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/data/gather.h"
#include "examples/trainer/data/image_set.h"

namespace stepsize::trainer {

/// The images that a run with these options has; what is odd about them is said
/// to `out`. Throws as load_sets() does.
TrainTestSets load_images(const TrainOptions& options, std::ostream& out);

/// What such a run trains on, the same without augmentation, and what it tests
/// on.
BatchSource train_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device);
BatchSource statistics_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device);
BatchSource test_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device);

}  // namespace stepsize::trainer
