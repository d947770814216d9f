#include <stepsize/checkpoint/checkpoint.h>

#include <c10/util/Exception.h>

#include <utility>

#include "csrc/checkpoint/items.h"
#include "csrc/checkpoint/parts.h"

namespace stepsize {
namespace {

using detail::CheckpointItem;
using detail::CheckpointParts;

void add(CheckpointParts& parts, std::unique_ptr<CheckpointItem> item) {
  TORCH_CHECK(
      !item->name().empty(),
      "Checkpoint: a ",
      checkpoint_entry_kind_name(item->kind()),
      " needs a name");
  for (const auto& other : parts.items) {
    TORCH_CHECK(
        other->name() != item->name(),
        "Checkpoint: the name '",
        item->name(),
        "' is there already, of a ",
        checkpoint_entry_kind_name(other->kind()));
  }
  parts.items.push_back(std::move(item));
}

}  // namespace

Checkpoint::Checkpoint() : parts_(std::make_unique<CheckpointParts>()) {}

Checkpoint::~Checkpoint() = default;

Checkpoint::Checkpoint(Checkpoint&& other) noexcept = default;

Checkpoint& Checkpoint::operator=(Checkpoint&& other) noexcept = default;

Checkpoint& Checkpoint::module(
    const std::string& name, torch::nn::Module& module) {
  add(*parts_, detail::module_item(name, module));
  return *this;
}

Checkpoint& Checkpoint::optimizer(
    const std::string& name, torch::optim::Optimizer& optimizer) {
  add(*parts_, detail::optimizer_item(name, optimizer));
  return *this;
}

Checkpoint& Checkpoint::add_state(
    const std::string& name, std::unique_ptr<detail::CheckpointState> state) {
  add(*parts_, detail::state_item(name, std::move(state)));
  return *this;
}

Checkpoint& Checkpoint::generator(
    const std::string& name, at::Generator& generator) {
  add(*parts_, detail::generator_item(name, generator));
  return *this;
}

Checkpoint& Checkpoint::tensor(const std::string& name, at::Tensor& value) {
  add(*parts_, detail::tensor_item(name, value));
  return *this;
}

Checkpoint& Checkpoint::add_counter(
    const std::string& name,
    std::unique_ptr<detail::CheckpointCounter> counter) {
  add(*parts_, detail::counter_item(name, std::move(counter)));
  return *this;
}

Checkpoint& Checkpoint::number(const std::string& name, double& value) {
  add(*parts_, detail::number_item(name, value));
  return *this;
}

Checkpoint& Checkpoint::number(const std::string& name, float& value) {
  add(*parts_, detail::number_item(name, value));
  return *this;
}

Checkpoint& Checkpoint::text(const std::string& name, std::string& value) {
  add(*parts_, detail::text_item(name, value));
  return *this;
}

Checkpoint& Checkpoint::random_state(bool value) {
  parts_->random_state = value;
  return *this;
}

bool Checkpoint::random_state() const { return parts_->random_state; }

std::map<std::string, std::string>& Checkpoint::values() {
  return parts_->values;
}

const std::map<std::string, std::string>& Checkpoint::values() const {
  return parts_->values;
}

}  // namespace stepsize
