#include "make_optimizer.h"

namespace stepsize::trainer {

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const std::string& name,
    const std::vector<torch::Tensor>& parameters,
    double lr,
    double momentum,
    double weight_decay) {
  namespace optim = torch::optim;
  constexpr double kBeta2 = 0.999;
  if (name == "sgd") {
    return std::make_unique<optim::SGD>(
        parameters,
        optim::SGDOptions(lr).momentum(momentum).weight_decay(weight_decay));
  }
  if (name == "adam") {
    return std::make_unique<optim::Adam>(
        parameters,
        optim::AdamOptions(lr)
            .betas({momentum, kBeta2})
            .weight_decay(weight_decay));
  }
  if (name == "adamw") {
    return std::make_unique<optim::AdamW>(
        parameters,
        optim::AdamWOptions(lr)
            .betas({momentum, kBeta2})
            .weight_decay(weight_decay));
  }
  if (name == "rmsprop") {
    return std::make_unique<optim::RMSprop>(
        parameters,
        optim::RMSpropOptions(lr).momentum(momentum).weight_decay(
            weight_decay));
  }
  TORCH_CHECK(
      false,
      "make_optimizer: the optimizer must be sgd, adam, adamw or rmsprop, got ",
      name);
}

}  // namespace stepsize::trainer
