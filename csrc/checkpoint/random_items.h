#pragma once

#include <torch/serialize/archive.h>

#include <functional>
#include <string>
#include <vector>

#include "csrc/checkpoint/item.h"

namespace at {
struct Generator;
}  // namespace at

namespace stepsize::detail {

/// The states of the default generators: of the CPU, and of the CUDA devices.
struct RandomStates {
  at::Tensor cpu;
  std::vector<at::Tensor> cuda;
};

RandomStates present_random_states();
/// Those of devices that are not there are passed over.
void set_random_states(const RandomStates& states);

void write_random_states(torch::serialize::OutputArchive& archive);
Change prepare_random_states(
    torch::serialize::InputArchive& archive, Mismatches& mismatches);

}  // namespace stepsize::detail
