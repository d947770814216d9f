#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/loops.h"
#include "csrc/kernels/operands.h"

namespace stepsize {
class Reduction;
}

namespace stepsize::detail {

/// Adds numbers that tensors hold, of float64 and on any device, to rows of
/// `count`, each at its position. An accelerator is waited for once.
void add_rows(
    const std::vector<std::pair<std::size_t, at::Tensor>>& rows,
    std::size_t count,
    std::vector<double>& totals);

/// Puts the means over ranks in the place of the numbers, if there are ranks:
/// processors may differ in the last bit, and must not decide otherwise.
void agree(Reduction* reduction, double* numbers, std::size_t count);

/// A pass by loops over all elements of all parameters that sums on its way:
/// those on the CPU in one parallel run, the others by what the optimizer does
/// with tensors. It may be a step too.
template <typename Numbers, std::size_t kSums>
class SummingStep {
 public:
  using Sums = std::array<double, kSums>;

  /// Throws c10::Error where parameter, gradient and state of an update do not
  /// fit together. The updates must stay as they are until run() is over.
  SummingStep(
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
      const SumLoop<Numbers> (&loops)[kFormatCount],
      const Numbers& numbers) {
    const Operands& own = operands_[position];
    if (!own.param().is_cpu()) return false;
    cpu_.add(own, position, {loops[format_of(own)], numbers});
    return true;
  }

  /// Takes the sums of an update that tensor operations have made.
  void add_sums(std::size_t position, at::Tensor sums) {
    rows_.emplace_back(position, std::move(sums));
  }

  /// The sums of each update.
  std::vector<Sums> run() {
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
          [this](std::size_t position) { return operands_[position]; },
          totals);
    }
    add_rows(rows_, kSums, totals);
    std::vector<Sums> sums(operands_.size());
    for (std::size_t i = 0; i < totals.size(); ++i) {
      sums[i / kSums][i % kSums] = totals[i];
    }
    return sums;
  }

 private:
  struct Slot {
    SumLoop<Numbers> loop;
    Numbers numbers;
  };

  std::vector<Operands> operands_;
  std::vector<std::pair<std::size_t, at::Tensor>> rows_;
  CpuWork<Slot> cpu_;
};

}  // namespace stepsize::detail
