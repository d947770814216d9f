#include <stepsize/optim/freeze.h>

#include <c10/util/Exception.h>
#include <torch/nn/module.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cstdint>

#include "csrc/core/archive.h"
#include "csrc/optim/name_patterns.h"

namespace stepsize {
namespace {

constexpr char kFrozenState[] = "FrozenState";

void set_frozen(at::Tensor parameter, bool frozen) {
  // With a gradient, zeros even, an optimizer would still decay it and go on by
  // its momentum.
  if (frozen) parameter.mutable_grad() = at::Tensor();
  parameter.set_requires_grad(!frozen);
}

std::vector<std::string> change_frozen(
    torch::nn::Module& module,
    const std::vector<std::string>& patterns,
    bool frozen) {
  const std::string kind = frozen ? "freeze" : "unfreeze";
  TORCH_CHECK(!patterns.empty(), kind, ": there must be a pattern");
  const auto parameters = module.named_parameters();
  std::vector<bool> found(parameters.size(), false);
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!detail::name_matches(pattern, parameters[i].key())) continue;
      found[i] = true;
      any = true;
    }
    TORCH_CHECK(
        any,
        kind,
        ": the pattern '",
        pattern,
        "' matches no parameter",
        detail::near_names(pattern, parameters.keys()));
  }
  std::vector<std::string> changed;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!found[i]) continue;
    const at::Tensor& parameter = parameters[i].value();
    // Whole numbers can have no gradient.
    if (!parameter.is_floating_point() && !parameter.is_complex()) continue;
    if (parameter.requires_grad() == frozen) {
      changed.push_back(parameters[i].key());
    }
    set_frozen(parameter, frozen);
  }
  return changed;
}

}  // namespace

std::vector<std::string> freeze(
    torch::nn::Module& module, const std::vector<std::string>& patterns) {
  return change_frozen(module, patterns, true);
}

std::vector<std::string> unfreeze(
    torch::nn::Module& module, const std::vector<std::string>& patterns) {
  return change_frozen(module, patterns, false);
}

std::vector<std::string> frozen_parameters(const torch::nn::Module& module) {
  std::vector<std::string> frozen;
  for (const auto& entry : module.named_parameters()) {
    if (!entry.value().requires_grad()) frozen.push_back(entry.key());
  }
  return frozen;
}

FrozenState::FrozenState(torch::nn::Module& module) : module_(&module) {}

void FrozenState::save(torch::serialize::OutputArchive& archive) const {
  const auto parameters = module_->named_parameters();
  detail::write_int(
      archive, "parameters", static_cast<int64_t>(parameters.size()));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string number = std::to_string(i);
    detail::write_string(archive, "name" + number, parameters[i].key());
    detail::write_int(
        archive,
        "frozen" + number,
        parameters[i].value().requires_grad() ? 0 : 1);
  }
}

void FrozenState::load(torch::serialize::InputArchive& archive) {
  const auto parameters = module_->named_parameters();
  const int64_t count = detail::read_int(archive, kFrozenState, "parameters");
  TORCH_CHECK(
      count == static_cast<int64_t>(parameters.size()),
      kFrozenState,
      ": the archive has ",
      count,
      " parameters, the module ",
      parameters.size());
  std::vector<bool> frozen;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string number = std::to_string(i);
    const std::string name =
        detail::read_string(archive, kFrozenState, "name" + number);
    TORCH_CHECK(
        name == parameters[i].key(),
        kFrozenState,
        ": parameter ",
        i,
        " is '",
        name,
        "' in the archive, '",
        parameters[i].key(),
        "' here");
    frozen.push_back(
        detail::read_int(archive, kFrozenState, "frozen" + number, 1) == 1);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].value().requires_grad() == frozen[i]) {
      set_frozen(parameters[i].value(), frozen[i]);
    }
  }
}

}  // namespace stepsize
