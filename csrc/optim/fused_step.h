#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/kernels/compact_operands.h"
#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/loops.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/prefetch.h"

namespace stepsize::detail {

/// Asks for what is known of these tensors.
inline void prefetch_operands(const Operands& operands) {
  for (int i = 0; i < operands.count; ++i)
    prefetch_tensor(*operands.tensors[i]);
}

/// Parameter, gradient and state of each update, which must stay as it is.
/// Throws c10::Error where they do not fit together. State may be compact only
/// for a step that says so.
std::vector<Operands> checked_operands(
    const Signature& signature,
    const std::vector<ParameterUpdate>& updates,
    bool may_be_compact = false);

/// Adds numbers that tensors hold, of float64 and on any device, to rows of
/// `count`, each at its position. An accelerator is waited for once.
void add_rows(
    const std::vector<std::pair<std::size_t, at::Tensor>>& rows,
    std::size_t count,
    std::vector<double>& totals);

/// A step by loops over all elements of all parameters: those on the CPU in one
/// parallel run, the others by what the optimizer does with tensors. With
/// `kSums` it is of loops that make so many sums of each parameter on their
/// way.
template <typename Numbers, std::size_t kSums = 0>
class FusedStep {
 public:
  using Loop =
      std::conditional_t<kSums == 0, StepLoop<Numbers>, SumLoop<Numbers>>;
  using Sums = std::array<double, kSums>;

  /// Throws c10::Error where parameter, gradient and state of an update do not
  /// fit together. The updates must stay as they are until run() is over.
  FusedStep(
      const Signature& signature, const std::vector<ParameterUpdate>& updates)
      : FusedStep(checked_operands(signature, updates)) {}
  /// Of checked operands, for a second pass over them.
  explicit FusedStep(std::vector<Operands> operands)
      : operands_(std::move(operands)),
        cpu_(
            operands_.size(),
            kSums == 0 ? int64_t{kCodeBlock} : FlatRanges::kAlignment) {}

  const std::vector<Operands>& operands() const { return operands_; }

  /// Gives the update of this position a loop, out of those of all formats;
  /// false where it is on a device for which there is none.
  bool add(
      std::size_t position,
      const Loop (&loops)[kFormatCount],
      const Numbers& numbers) {
    if (position + kTensorsAhead < operands_.size()) {
      prefetch_operands(operands_[position + kTensorsAhead]);
    }
    const Operands& own = operands_[position];
    if (!own.param().is_cpu()) return false;
    cpu_.add(own, position, {loops[format_of(own)], nullptr, 0, numbers});
    return true;
  }

  /// The same of an update whose state is compact, by a loop for its form;
  /// `seed` is what it is rounded by.
  bool add_compact(
      std::size_t position,
      CompactLoop<Numbers> loop,
      uint32_t seed,
      const Numbers& numbers) {
    static_assert(kSums == 0, "these loops make sums");
    const Operands& own = operands_[position];
    if (!own.param().is_cpu()) return false;
    cpu_.add_compact(own, position, {nullptr, loop, seed, numbers});
    return true;
  }

  /// Takes the sums of an update that tensor operations have made.
  void add_sums(std::size_t position, at::Tensor sums) {
    static_assert(kSums > 0, "these loops make no sums");
    rows_.emplace_back(position, std::move(sums));
  }

  /// Makes the step; returns the sums of each update, where there are any.
  auto run() {
    const auto operands_at = [this](std::size_t position) {
      return operands_[position];
    };
    if constexpr (kSums == 0) {
      if (cpu_.empty()) return;
      cpu_.run(
          [this](
              const Slot& slot,
              size_t index,
              void* const* arrays,
              int64_t begin,
              int64_t end) {
            if (slot.compact == nullptr) {
              slot.loop(arrays, begin, end, slot.numbers);
              return;
            }
            slot.compact(
                compact_arrays(arrays, operands_[index].param(), slot.seed),
                begin,
                end,
                slot.numbers);
          },
          operands_at);
    } else {
      return sums(operands_at);
    }
  }

  /// The same of loops that write nothing.
  std::vector<Sums> read() {
    static_assert(kSums > 0, "these loops make no sums");
    return sums(nullptr);
  }

 private:
  /// One of the loops is there.
  struct Slot {
    Loop loop;
    CompactLoop<Numbers> compact;
    uint32_t seed;
    Numbers numbers;
  };

  template <typename OperandsAt>
  std::vector<Sums> sums(const OperandsAt& operands_at) {
    std::vector<double> totals(operands_.size() * kSums, 0.0);
    if (!cpu_.empty()) {
      cpu_.run_sums(
          kSums,
          [](const Slot& slot,
             void* const* arrays,
             int64_t begin,
             int64_t end,
             double* sums) {
            slot.loop(arrays, begin, end, slot.numbers, sums);
          },
          operands_at,
          totals);
    }
    add_rows(rows_, kSums, totals);
    std::vector<Sums> sums(operands_.size());
    for (std::size_t i = 0; i < totals.size(); ++i) {
      sums[i / kSums][i % kSums] = totals[i];
    }
    return sums;
  }

  std::vector<Operands> operands_;
  std::vector<std::pair<std::size_t, at::Tensor>> rows_;
  CpuWork<Slot> cpu_;
};

}  // namespace stepsize::detail
