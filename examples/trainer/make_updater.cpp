#include "make_updater.h"

#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>

namespace stepsize::trainer {
namespace {

namespace optim = torch::optim;

constexpr double kBeta2 = 0.999;

std::unique_ptr<Updater> clipped_sgd(
    ImageModel& model, const OptimizerSettings& settings) {
  return make_clipped_updater(
      model,
      std::make_unique<ClippedSGD>(
          model.parameters(),
          ClippedSGDOptions(settings.lr)
              .momentum(settings.momentum)
              .weight_decay(settings.weight_decay)
              .max_norm(*settings.max_norm)),
      settings.micro_batch,
      settings.ranks);
}

std::unique_ptr<Updater> clipped_adamw(
    ImageModel& model, const OptimizerSettings& settings) {
  return make_clipped_updater(
      model,
      std::make_unique<ClippedAdamW>(
          model.parameters(),
          ClippedAdamWOptions(settings.lr)
              .betas({settings.momentum, kBeta2})
              .weight_decay(settings.weight_decay)
              .max_norm(*settings.max_norm)),
      settings.micro_batch,
      settings.ranks);
}

std::unique_ptr<Updater> rollback_sgd(
    ImageModel& model, const OptimizerSettings& settings) {
  return make_rollback_updater(
      model,
      std::make_unique<RollbackSGD>(
          model.parameters(),
          RollbackSGDOptions(settings.lr)
              .momentum(settings.momentum)
              .weight_decay(settings.weight_decay)
              .rollback(RollbackOptions().buffers(model.buffers()))),
      settings.micro_batch,
      settings.ranks);
}

std::unique_ptr<Updater> power_sgd(
    ImageModel& model, const OptimizerSettings& settings) {
  return make_power_updater(
      model,
      std::make_unique<PowerMethodSGD>(
          model.parameters(),
          PowerMethodSGDOptions(settings.lr)
              .momentum(settings.momentum)
              .weight_decay(settings.weight_decay)
              .tracker(SharpnessTrackerOptions().safety(*settings.safety))
              .buffers(model.buffers())),
      settings.ranks);
}

std::unique_ptr<optim::Optimizer> libtorch_optimizer(
    const std::vector<torch::Tensor>& parameters,
    const OptimizerSettings& settings) {
  const auto& name = settings.name;
  const double lr = settings.lr;
  const double momentum = settings.momentum;
  const double weight_decay = settings.weight_decay;
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
      "make_updater: the optimizer must be sgd, adam, adamw, rmsprop, "
      "clipped-sgd, clipped-adamw, rollback-sgd or power-sgd, got ",
      name);
}

void check_presence(
    const OptimizerSettings& settings,
    const char* option,
    bool given,
    bool wanted) {
  TORCH_CHECK(
      given == wanted,
      "make_updater: ",
      settings.name,
      wanted ? " wants a " : " has no use for a ",
      option);
}

}  // namespace

std::unique_ptr<Updater> make_updater(
    ImageModel& model, const OptimizerSettings& settings) {
  const auto& name = settings.name;
  check_presence(
      settings,
      "max_norm",
      settings.max_norm.has_value(),
      name == "clipped-sgd" || name == "clipped-adamw");
  check_presence(
      settings, "safety", settings.safety.has_value(), name == "power-sgd");
  if (name == "clipped-sgd") {
    return clipped_sgd(model, settings);
  }
  if (name == "clipped-adamw") {
    return clipped_adamw(model, settings);
  }
  if (name == "rollback-sgd") {
    return rollback_sgd(model, settings);
  }
  if (name == "power-sgd") {
    return power_sgd(model, settings);
  }
  return make_gradient_updater(
      model,
      libtorch_optimizer(model.parameters(), settings),
      settings.micro_batch,
      settings.ranks);
}

}  // namespace stepsize::trainer
