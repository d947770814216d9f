#include "option_defaults.h"

#include <cstddef>

#include "image_set.h"

namespace stepsize::trainer {

const std::map<std::string, DatasetDefaults>& dataset_defaults() {
  static const auto defaults = [] {
    std::map<std::string, DatasetDefaults> all;
    for (const auto& name : image_set_names()) {
      all[name] = {"", "none", 2};
    }
    all.at("fashion-mnist").data_dir = "/usr/share/datasets/fashion-mnist";
    for (const auto* cifar : {"cifar10", "cifar100"}) {
      all.at(cifar) = {"", "flip", 10};
    }
    return all;
  }();
  return defaults;
}

const std::map<std::string, OptimizerDefaults>& optimizer_defaults() {
  static const std::map<std::string, OptimizerDefaults> defaults{
      {"sgd", {0.1, 0.9, 5e-4, {}, {}, "linear"}},
      {"adam", {0.003, 0.9, 0, {}, {}, "sqrt"}},
      {"adamw", {0.003, 0.9, 0.05, {}, {}, "sqrt"}},
      {"rmsprop", {0.001, 0, 0, {}, {}, "sqrt"}},
      {"clipped-sgd", {0.1, 0.9, 5e-4, 5, {}, "linear"}},
      {"clipped-adamw", {0.003, 0.9, 0.05, 5, {}, "sqrt"}},
      {"rollback-sgd", {0.1, 0.9, 5e-4, {}, {}, "linear"}},
      {"power-sgd", {1, 0.9, 5e-4, {}, 0.5, "linear"}},
  };
  return defaults;
}

std::string owners_of(std::optional<double> OptimizerDefaults::*option) {
  std::string text;
  for (const auto& [name, defaults] : optimizer_defaults()) {
    if (defaults.*option) {
      text += (text.empty() ? "" : " and ") + name;
    }
  }
  return text;
}

std::string wrapped(const std::vector<std::string>& words) {
  // The help leaves 56 of 80; some versions of CLI11 end a line in a blank.
  constexpr std::size_t kDescriptionColumns = 55;
  std::string text;
  std::size_t columns = 0;
  for (const auto& word : words) {
    if (!text.empty()) {
      const bool fits = columns + 1 + word.size() <= kDescriptionColumns;
      text += fits ? ' ' : '\n';
      columns = fits ? columns + 1 : 0;
    }
    text += word;
    columns += word.size();
  }
  return text;
}

}  // namespace stepsize::trainer
