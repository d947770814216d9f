#pragma once

#include <filesystem>

#include "examples/trainer/data/gather.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// The shape that make_model() wants for these images.
ImageShape image_shape(const TrainTestSets& sets);

/// Throws std::runtime_error naming the path where no file can be written
/// there, so that a run need not end to find out. Does nothing for an empty
/// path.
void check_export(const std::filesystem::path& path);

/// Writes a model's parameters and buffers as torch::save(model, path) does,
/// on the CPU, for torch::load() into a module that names them alike; beside
/// them "input_scale" and "input_shift", float [C]: a network is given
/// byte * scale + shift. The file that is there stays until the new one is
/// whole. Throws std::runtime_error naming the path where that cannot be.
void export_weights(
    const ImageModel& model,
    const Normalization& normalization,
    const std::filesystem::path& path);

}  // namespace stepsize::trainer
