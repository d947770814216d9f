#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "csrc/kernels/flat_ranges.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/parallel.h"
#include "csrc/kernels/prefetch.h"

namespace stepsize::detail {

/// The parameters of a call that are on the CPU. A slot says how one of them is
/// stepped: by which loop, with which numbers.
template <typename Slot>
class CpuWork {
 public:
  /// Pieces begin at multiples of `alignment` elements of a parameter.
  explicit CpuWork(size_t capacity, int64_t alignment = FlatRanges::kAlignment)
      : ranges_(capacity, alignment) {
    entries_.reserve(capacity);
  }

  /// Takes in checked operands; `index` is the parameter's in its list.
  void add(const Operands& operands, size_t index, const Slot& slot) {
    const int64_t elements = operands.param().numel();
    if (elements == 0) return;
    entries_.push_back({{}, index, slot});
    view_.add(operands, entries_.back().arrays);
    ranges_.add(elements);
  }

  /// The same of operands whose state is compact, and so in the order of
  /// indices.
  void add_compact(const Operands& operands, size_t index, const Slot& slot) {
    const int64_t elements = operands.param().numel();
    if (elements == 0) return;
    entries_.push_back({{}, index, slot});
    view_.add_in_order(operands, entries_.back().arrays);
    ranges_.add(elements);
  }

  bool empty() const { return entries_.empty(); }

  /// Calls `look(slot, index, arrays, begin, end)` likewise, in any order, for
  /// what only reads.
  template <typename Look>
  void read(const Look& look) const {
    parallel_run(ranges_.block_count(), [&](int64_t block) {
      ranges_.for_each_in_block(
          block, [&](ptrdiff_t position, int64_t begin, int64_t end) {
            const Entry& entry = entries_[static_cast<size_t>(position)];
            look(entry.slot, entry.index, entry.arrays, begin, end);
          });
    });
  }

  /// Steps all elements of all parameters, in parallel, by calls of
  /// `step(slot, index, arrays, begin, end)`; `operands_at(index)` gives the
  /// operands again.
  template <typename Step, typename OperandsAt>
  void run(const Step& step, const OperandsAt& operands_at) {
    run_pieces(
        [&step](const Entry& entry, ptrdiff_t, int64_t, int64_t b, int64_t e) {
          step(entry.slot, entry.index, entry.arrays, b, e);
        },
        operands_at);
  }

  /// The same by calls of `step(slot, arrays, begin, end, sums)`, which add to
  /// `count` numbers. Those of each parameter are added to `totals`, where it
  /// has `count` from `count * index` on. Every block has sums of its own, and
  /// these are taken in order: the totals do not depend on the threads.
  /// Without `operands_at`, a null pointer, the step writes nothing.
  template <typename Step, typename OperandsAt>
  void run_sums(
      size_t count,
      const Step& step,
      const OperandsAt& operands_at,
      std::vector<double>& totals) {
    std::vector<size_t> first(entries_.size() + 1, 0);
    for (size_t k = 0; k < entries_.size(); ++k) {
      const int64_t next = k + 1 < entries_.size() ? ranges_.first_block(k + 1)
                                                   : ranges_.block_count() - 1;
      first[k + 1] =
          first[k] + static_cast<size_t>(next - ranges_.first_block(k)) + 1;
    }
    std::vector<double> sums(first.back() * count, 0.0);
    run_pieces(
        [&](const Entry& entry,
            ptrdiff_t position,
            int64_t block,
            int64_t begin,
            int64_t end) {
          const auto k = static_cast<size_t>(position);
          const size_t piece =
              first[k] + static_cast<size_t>(block - ranges_.first_block(k));
          step(
              entry.slot,
              entry.arrays,
              begin,
              end,
              sums.data() + piece * count);
        },
        operands_at);
    for (size_t k = 0; k < entries_.size(); ++k) {
      for (size_t i = first[k] * count; i < first[k + 1] * count; ++i) {
        totals[entries_[k].index * count + i % count] += sums[i];
      }
    }
  }

 private:
  struct Entry {
    void* arrays[kMaxOperands];
    size_t index;
    Slot slot;
  };

  template <typename Piece, typename OperandsAt>
  void run_pieces(const Piece& piece, const OperandsAt& operands_at) {
    // Backwards: of the gradients that a norm has just read, the last ones may
    // still be in the cache.
    const int64_t last = ranges_.block_count() - 1;
    parallel_run(last + 1, [&](int64_t item) {
      ranges_.for_each_in_block(
          last - item, [&](ptrdiff_t position, int64_t begin, int64_t end) {
            const Entry* entry = entries_.data() + position;
            if (entry != &entries_.back()) prefetch_heads(entry[1]);
            if constexpr (!std::is_null_pointer_v<OperandsAt>) {
              if (begin == 0) mark_written(operands_at(entry->index));
            }
            piece(*entry, position, last - item, begin, end);
          });
    });
    if constexpr (!std::is_null_pointer_v<OperandsAt>) view_.copy_back();
  }

  /// Hardware foresees how an array goes on, but not where the next one begins.
  static void prefetch_heads(const Entry& entry) {
    constexpr int kHeadBytes = 256;
    for (const void* array : entry.arrays) {
      if (array != nullptr) prefetch(array, kHeadBytes);
    }
  }

  std::vector<Entry> entries_;
  FlatRanges ranges_;
  ArrayView view_;
};

}  // namespace stepsize::detail
