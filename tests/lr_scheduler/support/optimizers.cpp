#include <c10/core/ScalarType.h>
#include <stepsize/lr_scheduler/momentum_access.h>
#include <torch/torch.h>

#include <stdexcept>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerOptions;
using torch::optim::OptimizerParamGroup;

std::unique_ptr<OptimizerOptions> options_of(
    const std::string& name, double lr) {
  if (name == "SGD") {
    return std::make_unique<torch::optim::SGDOptions>(
        torch::optim::SGDOptions(lr).momentum(0.5));
  }
  if (name == "RMSprop") {
    return std::make_unique<torch::optim::RMSpropOptions>(
        torch::optim::RMSpropOptions(lr).momentum(0.5));
  }
  if (name == "Adam") return std::make_unique<torch::optim::AdamOptions>(lr);
  if (name == "AdamW") return std::make_unique<torch::optim::AdamWOptions>(lr);
  if (name == "Adagrad") {
    return std::make_unique<torch::optim::AdagradOptions>(lr);
  }
  throw std::runtime_error("no optimizer " + name);
}

OptimizerParamGroup group_of(const std::string& name, double lr) {
  return OptimizerParamGroup({torch::zeros({1})}, options_of(name, lr));
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const std::string& name, const std::vector<double>& lrs) {
  using namespace torch::optim;  // NOLINT: five optimizers
  std::vector<OptimizerParamGroup> groups;
  for (const double lr : lrs) groups.push_back(group_of(name, lr));
  std::unique_ptr<Optimizer> optimizer;
  if (name == "SGD") optimizer = std::make_unique<SGD>(groups, SGDOptions(1));
  if (name == "RMSprop") optimizer = std::make_unique<RMSprop>(groups);
  if (name == "Adam") optimizer = std::make_unique<Adam>(groups);
  if (name == "AdamW") optimizer = std::make_unique<AdamW>(groups);
  if (name == "Adagrad") optimizer = std::make_unique<Adagrad>(groups);
  // LibTorch 2.14 lets the optimizer's defaults win over a group's options.
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    optimizer->param_groups()[i].set_options(options_of(name, lrs[i]));
  }
  return optimizer;
}

void add_group(
    torch::optim::Optimizer& optimizer, const std::string& name, double lr) {
  optimizer.add_param_group(group_of(name, lr));
  optimizer.param_groups().back().set_options(options_of(name, lr));
}

std::vector<double> lrs_of(const torch::optim::Optimizer& optimizer) {
  std::vector<double> lrs;
  for (const auto& group : optimizer.param_groups()) {
    lrs.push_back(group.options().get_lr());
  }
  return lrs;
}

std::vector<double> momenta_of(const torch::optim::Optimizer& optimizer) {
  std::vector<double> momenta;
  for (const auto& group : optimizer.param_groups()) {
    momenta.push_back(MomentumAccess().get(group.options()).value_or(-1));
  }
  return momenta;
}

}  // namespace stepsize::test
