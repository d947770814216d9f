#pragma once

#include <stepsize/checkpoint/checkpoint_counter.h>
#include <stepsize/checkpoint/checkpoint_state.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <string>

#include "csrc/checkpoint/item.h"

namespace at {
struct Generator;
}  // namespace at

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize::detail {

std::unique_ptr<CheckpointItem> module_item(
    const std::string& name, torch::nn::Module& module);
std::unique_ptr<CheckpointItem> optimizer_item(
    const std::string& name, torch::optim::Optimizer& optimizer);
std::unique_ptr<CheckpointItem> state_item(
    const std::string& name, std::unique_ptr<CheckpointState> state);
std::unique_ptr<CheckpointItem> generator_item(
    const std::string& name, at::Generator& generator);
std::unique_ptr<CheckpointItem> tensor_item(
    const std::string& name, at::Tensor& value);
std::unique_ptr<CheckpointItem> counter_item(
    const std::string& name, std::unique_ptr<CheckpointCounter> counter);
std::unique_ptr<CheckpointItem> number_item(
    const std::string& name, double& value);
std::unique_ptr<CheckpointItem> number_item(
    const std::string& name, float& value);
std::unique_ptr<CheckpointItem> text_item(
    const std::string& name, std::string& value);

}  // namespace stepsize::detail
