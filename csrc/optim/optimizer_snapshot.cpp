#include <stepsize/optim/optimizer_snapshot.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cstddef>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/overlap.h"
#include "csrc/state/optimizer_state.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerOptions;

constexpr char kOptimizerSnapshot[] = "OptimizerSnapshot";

}  // namespace

struct OptimizerSnapshot::Parts {
  struct Group {
    std::vector<at::Tensor> owners;
    // The memory of the owners. Writes through it do not count as changes:
    // the values are those that graphs have saved.
    std::vector<at::Tensor> places;
    std::vector<at::Tensor> copies;
    std::unique_ptr<OptimizerOptions> options;
  };

  explicit Parts(Optimizer& of)
      : optimizer(&of), state(kOptimizerSnapshot, of) {}

  void take() {
    const auto& present = optimizer->param_groups();
    state.take();
    groups.resize(present.size());
    for (std::size_t g = 0; g < present.size(); ++g) {
      Group& group = groups[g];
      group.owners = present[g].params();
      group.places.clear();
      group.copies.resize(group.owners.size());
      for (std::size_t i = 0; i < group.owners.size(); ++i) {
        group.places.push_back(group.owners[i].variable_data());
        detail::copy_into(group.copies[i], group.places[i]);
      }
      group.options = present[g].options().clone();
    }
  }

  void check_same_parameters() const {
    const auto& present = optimizer->param_groups();
    TORCH_CHECK(
        present.size() == groups.size(),
        kOptimizerSnapshot,
        ": the optimizer has ",
        std::to_string(present.size()),
        " parameter groups, the snapshot ",
        std::to_string(groups.size()));
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto& parameters = present[g].params();
      const auto& owners = groups[g].owners;
      bool same = parameters.size() == owners.size();
      for (std::size_t i = 0; same && i < owners.size(); ++i) {
        same = owners[i].is_same(parameters[i]);
      }
      TORCH_CHECK(
          same,
          kOptimizerSnapshot,
          ": the parameters of group ",
          std::to_string(g),
          " are others than when the snapshot was made");
    }
  }

  void put_back_parameters() {
    for (Group& group : groups) {
      for (std::size_t i = 0; i < group.owners.size(); ++i) {
        detail::put_back(group.places[i], group.copies[i]);
        // Somebody may have lent it other memory, by set_data().
        if (group.places[i].has_storage() &&
            !group.owners[i].is_alias_of(group.places[i])) {
          group.owners[i].set_data(group.places[i]);
        }
      }
    }
  }

  void put_back_options() {
    auto& present = optimizer->param_groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      detail::assign_options(present[g], *groups[g].options);
    }
  }

  Optimizer* optimizer;
  detail::StateCopy state;
  std::vector<Group> groups;
};

OptimizerSnapshot::OptimizerSnapshot(Optimizer& optimizer)
    : parts_(std::make_unique<Parts>(optimizer)) {
  update();
}

OptimizerSnapshot::~OptimizerSnapshot() = default;

void OptimizerSnapshot::update() {
  const c10::AutoGradMode no_grad(false);
  parts_->take();
}

void OptimizerSnapshot::restore() {
  const c10::AutoGradMode no_grad(false);
  parts_->check_same_parameters();
  parts_->put_back_parameters();
  // load() may want options that are in range, and may write some.
  parts_->put_back_options();
  std::exception_ptr failure;
  try {
    parts_->state.put_back();
  } catch (...) {
    failure = std::current_exception();
  }
  parts_->put_back_options();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace stepsize
