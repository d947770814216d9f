#pragma once

#include <torch/optim/optimizer.h>
#include <torch/optim/schedulers/lr_scheduler.h>
#include <torch/optim/sgd.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"

namespace stepsize::test {

/// One number a group.
using List = std::vector<double>;

/// A scheduler of an optimizer with two groups, a few steps.
template <typename Scheduler, typename Options>
void drive(const Options& options) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{leaf({1})});
  groups.emplace_back(std::vector<torch::Tensor>{leaf({2})});
  torch::optim::SGD optimizer(
      groups, torch::optim::SGDOptions(0.1).momentum(0.9));
  Scheduler scheduler(optimizer, options);
  torch::optim::LRScheduler& base = scheduler;
  for (int i = 0; i < 3; ++i) base.step();
}

/// A list must have an entry a group, two here, or one for all.
inline void add_list(
    OptionCases& cases,
    const std::string& knob,
    double legal,
    const std::function<void(const List&)>& use) {
  cases.refuses(knob, "{}", {knob, "empty list"}, [use] { use({}); });
  cases.refuses(
      knob, "3 entries", {knob, "has 3 values", "expected 2"}, [use, legal] {
        use(List(3, legal));
      });
  for (const std::size_t size : {1U, 2U}) {
    cases.takes(knob, std::to_string(size) + " entries", [use, size, legal] {
      use(List(size, legal));
    });
  }
}

}  // namespace stepsize::test
