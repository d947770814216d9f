#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// A LibTorch optimizer by its name: "sgd", "adam", "adamw" or "rmsprop".
/// `momentum` is beta1 for adam and adamw. Throws c10::Error for another name.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const std::string& name,
    const std::vector<torch::Tensor>& parameters,
    double lr,
    double momentum,
    double weight_decay);

}  // namespace stepsize::trainer
