#include "csrc/checkpoint/random_items.h"

#include <ATen/core/Generator.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <sstream>

#include "csrc/checkpoint/items.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/state/random_state.h"

namespace stepsize::detail {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

at::Device cuda_device(std::size_t index) {
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

// Whether set_state() would take it.
bool fits(const at::Tensor& state, const at::Tensor& present) {
  return state.scalar_type() == present.scalar_type() &&
         state.sizes() == present.sizes() && state.is_contiguous();
}

std::string device_text(const at::Generator& generator) {
  std::ostringstream text;
  text << generator.device().type();
  return text.str();
}

class GeneratorItem : public CheckpointItem {
 public:
  GeneratorItem(const std::string& name, at::Generator& generator)
      : CheckpointItem(name, CheckpointEntryKind::kGenerator),
        generator_(&generator) {}

  void save(OutputArchive& archive, CheckpointInfo& /*info*/) const override {
    write_string(archive, "device", device_text(*generator_));
    write_tensors(archive, "state", {state_of(*generator_)});
  }

  Change prepare(InputArchive& archive, ItemLoad& load) override {
    Change result = change(Change::Turn::kValue);
    const auto device = read_string(archive, owner(), "device");
    const at::Tensor state = read_tensor(archive, owner(), "state");
    const at::Tensor before = state_of(*generator_);
    if (device != device_text(*generator_)) {
      load.mismatches.add(
          owner(),
          "is of " + device + " in the file, of " + device_text(*generator_) +
              " here");
    } else if (!fits(state, before)) {
      load.mismatches.add(
          owner(),
          "its state is " + type_and_shape(state) + " in the file, " +
              type_and_shape(before) + " here");
    }
    result.apply = [this, state] { set_state(*generator_, state); };
    result.undo = [this, before] { set_state(*generator_, before); };
    return result;
  }

 private:
  at::Generator* generator_;
};

}  // namespace

std::unique_ptr<CheckpointItem> generator_item(
    const std::string& name, at::Generator& generator) {
  TORCH_CHECK(
      generator.defined(),
      "Checkpoint: the generator '",
      name,
      "' is undefined");
  return std::make_unique<GeneratorItem>(name, generator);
}

RandomStates present_random_states() {
  RandomStates states;
  states.cpu = state_of(default_generator(at::kCPU));
  for (std::size_t i = 0; i < cuda_devices(); ++i) {
    states.cuda.push_back(state_of(default_generator(cuda_device(i))));
  }
  return states;
}

void set_random_states(const RandomStates& states) {
  set_state(default_generator(at::kCPU), states.cpu);
  const std::size_t devices = std::min(states.cuda.size(), cuda_devices());
  for (std::size_t i = 0; i < devices; ++i) {
    set_state(default_generator(cuda_device(i)), states.cuda[i]);
  }
}

void write_random_states(OutputArchive& archive) {
  const RandomStates states = present_random_states();
  write_tensors(archive, "cpu", {states.cpu});
  write_tensors(archive, "cuda", states.cuda);
}

Change prepare_random_states(InputArchive& archive, Mismatches& mismatches) {
  Change change;
  change.owner = "the random state";
  change.turn = Change::Turn::kRandom;
  RandomStates states;
  states.cpu = read_tensor(archive, change.owner, "cpu");
  states.cuda = read_tensors(archive, change.owner, "cuda");
  const RandomStates before = present_random_states();
  if (!fits(states.cpu, before.cpu)) {
    mismatches.add(change.owner, "that of the CPU is of another length");
  }
  const std::size_t devices = std::min(states.cuda.size(), before.cuda.size());
  for (std::size_t i = 0; i < devices; ++i) {
    if (!states.cuda[i].defined() || !fits(states.cuda[i], before.cuda[i])) {
      mismatches.add(
          change.owner,
          "that of CUDA device " + std::to_string(i) + " is of another length");
    }
  }
  change.apply = [states] { set_random_states(states); };
  change.undo = [before] { set_random_states(before); };
  return change;
}

}  // namespace stepsize::detail
