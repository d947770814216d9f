#pragma once

#include <stepsize/state/listed.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// What a ClipRule sees of an update: the parameters that have a gradient.
struct ClipInput {
  std::vector<at::Tensor> parameters;
  /// Means over ranks, all of them finite.
  std::vector<at::Tensor> gradients;
  /// Which parameter of the optimizer each is, counted over all groups.
  std::vector<std::size_t> positions;
  /// Of the parameter group.
  std::vector<std::size_t> groups;
  /// The 2-norm of all gradients together.
  double norm;
  /// Makes numbers alike on all ranks: their means.
  std::function<std::vector<double>(const std::vector<double>&)> over_ranks;
};

/// What is left of the gradients.
struct ClippedGradients {
  /// One for each: the same tensor where it stays as it is, and never a changed
  /// one in its memory.
  std::vector<at::Tensor> gradients;
  /// A factor of all of them, which the update takes in the type that it is
  /// computed in; finite and >= 0.
  double scale = 1;
};

/// How gradients are clipped, in the place of max_norm: see
/// ClippedOptimizer::set_clip_rule(). A value with a state.
class ClipRule {
 public:
  virtual ~ClipRule() = default;
  virtual std::unique_ptr<ClipRule> clone() const = 0;

  /// "AGC".
  virtual std::string name() const = 0;
  /// Its options by name, and the way back; as those of StepSizePolicy.
  virtual std::vector<std::pair<std::string, double>> numbers() const = 0;
  virtual void set_numbers(
      const std::vector<std::pair<std::string, double>>& numbers) = 0;
  virtual std::string describe() const = 0;

  virtual ClippedGradients clip(const ClipInput& input) = 0;

  /// The state, options aside. restore() throws c10::Error where it is none of
  /// this rule's, and changes nothing then.
  virtual std::vector<double> state() const { return {}; }
  virtual void restore(const std::vector<double>& state);
};

/// The base of a rule with an Options class that has an OptionList. See Listed.
template <typename Derived, typename Options>
class ListedClipRule : public Listed<Derived, ClipRule, Options> {
 public:
  using Listed<Derived, ClipRule, Options>::Listed;
};

}  // namespace stepsize
