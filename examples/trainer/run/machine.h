#pragma once

#include <torch/torch.h>

#include <optional>
#include <ostream>
#include <string>

namespace stepsize::trainer {

/// Lets LibTorch compute with so many threads of the CPU; 0: as many as it
/// takes by itself, or one a core where it cannot count them. More than there
/// are cores are warned of on `err`.
void set_threads(int threads, std::ostream& err);

/// The device of this name. Throws std::invalid_argument where there is none,
/// or where LibTorch cannot compute there.
torch::Device find_device(const std::string& name);

/// The type that --amp names; nothing for off. Throws std::invalid_argument
/// where LibTorch has no autocast for the device.
std::optional<at::ScalarType> find_amp(
    const std::string& name, const torch::Device& device);

}  // namespace stepsize::trainer
