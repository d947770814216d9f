#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/optim/indexed_optimizer.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/flat_ranges.h"
#include "csrc/kernels/loops.h"
#include "csrc/kernels/operands.h"
#include "csrc/optim/fused_step.h"

namespace stepsize::detail {

/// The norms of one layer: of its weights, and of what they are compared with.
struct LayerNorms {
  double weights;
  double updates;
};

/// What the options of a layerwise optimizer mean for one parameter.
struct LayerRule {
  bool scaled;  ///< by a trust ratio
  double weight_decay;
};

template <typename Options>
LayerRule layer_rule(const Options& options, const at::Tensor& parameter) {
  // Biases, and the scales and shifts of norms.
  const bool is_exempt = parameter.dim() < 2 && !options.adapt_vectors();
  return {
      options.adapt() && !is_exempt, is_exempt ? 0 : options.weight_decay()};
}

/// |weights| / divisor: 1 where either is 0, NaN where either is not finite, so
/// that it shows in the layer.
double ratio_of_norms(double weights, double divisor);

/// Whether a sum of squares of this type has neither left the range of a double
/// nor lost digits below it.
bool is_safe_sum(double sum, at::ScalarType type);
/// The root of such a sum, or the norm of the tensor itself where it is unsafe.
double norm_by_sum(double sum, const at::Tensor& tensor);

/// A step in two passes over each parameter on the CPU. The first one measures
/// it, the second one goes by the norms. `Layer` says how:
///
///     bool scaled;  // by norms; else it is stepped in the first pass
///     LayerSums measure(void* const* arrays, int64_t, int64_t) const;
///     void take(const LayerNorms& norms);
///     void step(void* const* arrays, int64_t begin, int64_t end) const;
///     static const at::Tensor* compared(const ParameterUpdate& update);
///
/// `compared` is the tensor whose norm the second one is; null where that is of
/// nothing that lies in memory. Parameters of one piece are stepped at once,
/// while they are in the cache. No result depends on the threads.
template <typename Layer>
class LayerwiseStep {
 public:
  /// Throws c10::Error where parameter, gradient and state of an update do not
  /// fit together. The updates must stay as they are until step() is over.
  LayerwiseStep(
      const Signature& signature, const std::vector<ParameterUpdate>& updates)
      : updates_(updates),
        operands_(checked_operands(signature, updates)),
        cpu_(updates.size()) {
    entries_.reserve(updates.size());
  }

  /// How the update of this position is stored; nothing where it is on a device
  /// that there are no loops for.
  std::optional<Format> format(std::size_t position) const {
    const Operands& own = operands_[position];
    if (!own.param().is_cpu()) return std::nullopt;
    return format_of(own);
  }

  void add(std::size_t position, const Layer& layer) {
    const int64_t elements = operands_[position].param().numel();
    cpu_.add(operands_[position], position, entries_.size());
    entries_.push_back(
        {layer, position, elements, parts_.size(), !layer.scaled});
    if (layer.scaled) {
      const int64_t pieces = elements / FlatRanges::kBlock + 2;
      parts_.resize(
          parts_.size() + static_cast<std::size_t>(pieces), LayerSums{0, 0});
    }
  }

  /// The first pass. `at_once`: nobody else has a say in the norms.
  void measure(bool at_once) {
    if (cpu_.empty()) return;
    run([&](std::size_t k, void* const* arrays, int64_t begin, int64_t end) {
      Entry& own = entries_[k];
      const LayerSums sums = own.layer.measure(arrays, begin, end);
      if (!own.layer.scaled) {
        own.layer.step(arrays, begin, end);
        return;
      }
      // Pieces begin at 0 and at the ends of blocks.
      const auto piece = static_cast<std::size_t>(
          (begin + FlatRanges::kBlock - 1) / FlatRanges::kBlock);
      parts_[own.first_part + piece] = sums;
      if (!at_once || begin != 0 || end != own.elements) return;
      const auto type = updates_[own.position].parameter.scalar_type();
      if (is_safe_sum(sums.weights, type) && is_safe_sum(sums.updates, type)) {
        own.layer.take({std::sqrt(sums.weights), std::sqrt(sums.updates)});
        own.layer.step(arrays, begin, end);
        own.done = true;
      }
    });
  }

  /// Adds the norms of all that is not stepped yet, two a parameter.
  void add_norms(std::vector<double>& numbers) const {
    for (const Entry& own : entries_) {
      if (own.done) continue;
      LayerSums sums = {0, 0};
      const auto pieces =
          static_cast<std::size_t>(own.elements / FlatRanges::kBlock + 2);
      for (std::size_t i = 0; i < pieces; ++i) {
        sums.weights += parts_[own.first_part + i].weights;
        sums.updates += parts_[own.first_part + i].updates;
      }
      const ParameterUpdate& update = updates_[own.position];
      const at::Tensor* const compared = Layer::compared(update);
      numbers.push_back(norm_by_sum(sums.weights, update.parameter));
      numbers.push_back(
          compared != nullptr ? norm_by_sum(sums.updates, *compared)
                              : std::sqrt(sums.updates));
    }
  }

  /// The second pass, by norms in the order of add_norms(); returns how many
  /// numbers it took.
  std::size_t step(const std::vector<double>& numbers) {
    std::size_t taken = 0;
    for (Entry& own : entries_) {
      if (own.done) continue;
      own.layer.take({numbers[taken], numbers[taken + 1]});
      taken += 2;
    }
    if (taken == 0 || cpu_.empty()) return taken;
    run([&](std::size_t k, void* const* arrays, int64_t begin, int64_t end) {
      const Entry& own = entries_[k];
      if (!own.done) own.layer.step(arrays, begin, end);
    });
    return taken;
  }

 private:
  struct Entry {
    Layer layer;
    std::size_t position;
    int64_t elements;
    std::size_t first_part;
    bool done;
  };

  template <typename Work>
  void run(const Work& work) {
    cpu_.run(
        [&work](
            std::size_t slot,
            std::size_t /*position*/,
            void* const* arrays,
            int64_t begin,
            int64_t end) { work(slot, arrays, begin, end); },
        [this](std::size_t position) { return operands_[position]; });
  }

  const std::vector<ParameterUpdate>& updates_;
  std::vector<Operands> operands_;
  std::vector<Entry> entries_;
  std::vector<LayerSums> parts_;
  CpuWork<std::size_t> cpu_;
};

}  // namespace stepsize::detail
