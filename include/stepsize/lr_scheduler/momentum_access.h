#pragma once

#include <torch/optim/optimizer.h>

#include <functional>
#include <optional>
#include <utility>

namespace stepsize {

/// Where a scheduler that cycles the momentum finds it in an optimizer's
/// options: it knows LibTorch's own (`momentum` of SGD and RMSprop, the first
/// of the `betas` of Adam and AdamW) and all whose OptimizerTraits have an
/// option of the role kMomentum. of() teaches it another options type:
///
///     auto access = MomentumAccess::of<OtherOptions>(
///         [](const OtherOptions& o) { return o.beta1(); },
///         [](OtherOptions& o, double value) { o.beta1(value); });
///     OneCycleLR scheduler(
///         other,
///         OneCycleLROptions(0.1).total_steps(n).momentum_access(access));
class MomentumAccess {
 public:
  /// Returns the momentum, or nothing for options of another type.
  using Get = std::function<std::optional<double>(
      const torch::optim::OptimizerOptions&)>;
  /// Sets the momentum; called only where Get has found one.
  using Set = std::function<void(torch::optim::OptimizerOptions&, double)>;

  /// Knows what has OptimizerTraits.
  MomentumAccess() = default;

  /// Asks `get` and `set` first.
  MomentumAccess(Get get, Set set)
      : get_(std::move(get)), set_(std::move(set)) {}

  /// An access for `Options` from two functions, and for what is known:
  /// double get(const Options&) and void set(Options&, double).
  template <typename Options, typename Getter, typename Setter>
  static MomentumAccess of(Getter get, Setter set) {
    using torch::optim::OptimizerOptions;
    return MomentumAccess(
        [get](const OptimizerOptions& options) -> std::optional<double> {
          const auto* typed = dynamic_cast<const Options*>(&options);
          if (typed == nullptr) return std::nullopt;
          return get(*typed);
        },
        [set](OptimizerOptions& options, double value) {
          set(dynamic_cast<Options&>(options), value);
        });
  }

  /// The momentum, or nothing where the options' type is not known.
  std::optional<double> get(
      const torch::optim::OptimizerOptions& options) const;

  /// Sets the momentum; options of an unknown type stay as they are.
  void set(torch::optim::OptimizerOptions& options, double value) const;

 private:
  Get get_;
  Set set_;
};

}  // namespace stepsize
