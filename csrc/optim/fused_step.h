#pragma once

#include <stepsize/optim/indexed_optimizer.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/loops.h"
#include "csrc/kernels/operands.h"

namespace stepsize::detail {

/// A step by loops over all elements of all parameters: those on the CPU in one
/// parallel run, the others by what the optimizer does with tensors.
template <typename Numbers>
class FusedStep {
 public:
  /// Throws c10::Error where parameter, gradient and state of an update do not
  /// fit together. The updates must stay as they are until run() is over.
  FusedStep(
      const Signature& signature, const std::vector<ParameterUpdate>& updates)
      : cpu_(updates.size()) {
    operands_.reserve(updates.size());
    for (const ParameterUpdate& update : updates) {
      Operands& own = operands_.emplace_back(
          Operands{{&update.parameter, &update.gradient}, 2});
      for (const at::Tensor& state : update.state) {
        own.tensors[own.count++] = &state;
      }
      check_operands(
          signature, static_cast<int64_t>(operands_.size()) - 1, own);
    }
  }

  /// Gives the update of this position a loop, out of those of all formats;
  /// false where it is on a device for which there is none.
  bool add(
      std::size_t position,
      const StepLoop<Numbers> (&loops)[kFormatCount],
      const Numbers& numbers) {
    const Operands& own = operands_[position];
    if (!own.param().is_cpu()) return false;
    cpu_.add(own, position, {loops[format_of(own)], numbers});
    return true;
  }

  void run() {
    if (cpu_.empty()) return;
    cpu_.run(
        [](const Slot& slot, void* const* arrays, int64_t begin, int64_t end) {
          slot.loop(arrays, begin, end, slot.numbers);
        },
        [this](std::size_t position) { return operands_[position]; });
  }

 private:
  struct Slot {
    StepLoop<Numbers> loop;
    Numbers numbers;
  };

  std::vector<Operands> operands_;
  CpuWork<Slot> cpu_;
};

}  // namespace stepsize::detail
