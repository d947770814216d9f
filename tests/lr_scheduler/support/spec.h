#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace stepsize::test {

/// "StepLR(step_size=30, gamma=0.1)" taken apart: a word, a list or a call.
struct Spec {
  std::string word;
  std::vector<Spec> items;
  std::vector<std::pair<std::string, Spec>> options;
  bool is_list = false;

  const Spec* find(const std::string& name) const;
  double number(const std::string& name, double fallback) const;
  int64_t integer(const std::string& name, int64_t fallback) const;
  bool flag(const std::string& name, bool fallback) const;
  std::string text(const std::string& name, const char* fallback) const;
};
Spec parse_spec(const std::string& text);

/// A scheduler's rule (not for a plateau), and a maker of the scheduler.
struct Recipe {
  std::shared_ptr<const LRRule> rule;
  std::function<std::unique_ptr<StatefulLR>(torch::optim::Optimizer&)> make;
};
Recipe recipe_of(const Spec& spec);
inline Recipe recipe_of(const std::string& text) {
  return recipe_of(parse_spec(text));
}

/// SGD, RMSprop, Adam or AdamW over one scalar a group, one group a rate; a
/// momentum of 0.5 where there is one.
std::unique_ptr<torch::optim::Optimizer> make_optimizer(
    const std::string& name, const std::vector<double>& lrs);

/// Two groups' rates.
inline const std::vector<double> kLrs = {0.1, 0.03};

/// Adds a group with a rate of its own.
void add_group(
    torch::optim::Optimizer& optimizer, const std::string& name, double lr);

std::vector<double> lrs_of(const torch::optim::Optimizer& optimizer);
std::vector<double> momenta_of(const torch::optim::Optimizer& optimizer);

}  // namespace stepsize::test
