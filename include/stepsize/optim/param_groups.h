#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize {

/// What a group of ParamGroups has of its own.
class ParamGroupOptions {
 public:
  /// Counts times the rate of the optimizer's options; finite and >= 0.
  TORCH_ARG(double, lr_factor) = 1;
  /// In the place of that of the optimizer's options; finite and >= 0.
  TORCH_ARG(std::optional<double>, weight_decay);
};

/// One parameter group, as ParamGroups makes it.
struct ParamGroupInfo {
  std::string name;                     ///< "head", "head (no decay)"
  std::vector<std::string> patterns;    ///< of group(); empty for the others
  std::vector<std::string> parameters;  ///< their names, in the module's order
  int64_t values = 0;                   ///< elements of all of them together
  int64_t frozen = 0;                   ///< parameters that want no gradient
  double lr = 0;
  std::optional<double> weight_decay;  ///< none where the options have none
};

namespace detail {

/// What ParamGroups does whatever the class of the options is.
class ParamGroupPlan {
 public:
  using Edit = std::function<void(torch::optim::OptimizerOptions&)>;
  using Access = double (*)(torch::optim::OptimizerOptions&, const double*);

  /// `weight_decay` reads, and writes first where it is given a number; null
  /// where the options have none.
  ParamGroupPlan(
      const torch::nn::Module& module,
      std::shared_ptr<const torch::optim::OptimizerOptions> options,
      Access weight_decay);

  void add_group(
      const std::string& name,
      const std::vector<std::string>& patterns,
      const ParamGroupOptions& own,
      Edit edit);
  void add_others(
      const std::string& name, const ParamGroupOptions& own, Edit edit);
  void no_decay_for_norms_and_biases();
  void no_decay_for(const std::vector<std::string>& patterns);
  void layer_decay(double factor);
  void layer_decay(double factor, const std::vector<std::string>& layers);

  std::vector<torch::optim::OptimizerParamGroup> build() const;
  std::vector<ParamGroupInfo> infos() const;
  void set_options(torch::optim::Optimizer& optimizer) const;

 private:
  struct Parameter {
    at::Tensor tensor;
    std::vector<std::string> names;  // several where it is shared
    bool norm_or_bias = false;
    bool decays = true;
    std::optional<std::size_t> rule;
    std::size_t layer = 0;
  };
  struct Rule {
    std::string name;
    std::vector<std::string> patterns;  // none: the others
    ParamGroupOptions own;
    Edit edit;
  };
  // Parameters that share rule, layer and decay.
  struct Group {
    const Rule* rule;
    std::size_t layer;
    bool decays;
    std::vector<const Parameter*> members;
  };

  void collect(const torch::nn::Module& module, const std::string& prefix);
  std::vector<bool> matched(
      const std::vector<std::string>& patterns, const std::string& what) const;
  void check_rule(const std::string& name, const ParamGroupOptions& own) const;
  void check_has_weight_decay(const std::string& what) const;
  void set_layers(
      double factor,
      const std::vector<std::string>& layers,
      const std::vector<std::size_t>& layer_of);
  std::vector<Group> groups() const;
  std::unique_ptr<torch::optim::OptimizerOptions> options_of(
      const Group& group) const;
  std::string name_of(const Group& group) const;

  std::shared_ptr<const torch::optim::OptimizerOptions> options_;
  Access weight_decay_;
  std::vector<Parameter> parameters_;
  std::vector<Rule> rules_;
  std::optional<Rule> others_;
  std::vector<std::string> layers_;  // from body to head
  double layer_factor_ = 1;
};

std::string param_group_table(const std::vector<ParamGroupInfo>& groups);

template <typename Options, typename = void>
struct HasWeightDecay : std::false_type {};
template <typename Options>
struct HasWeightDecay<
    Options,
    std::void_t<decltype(std::declval<Options&>().weight_decay(double{}))>>
    : std::true_type {};

template <typename Options>
ParamGroupPlan::Access weight_decay_access() {
  if constexpr (HasWeightDecay<Options>::value) {
    return [](torch::optim::OptimizerOptions& options, const double* value) {
      auto& own = static_cast<Options&>(options);
      if (value != nullptr) own.weight_decay(*value);
      return static_cast<double>(std::as_const(own).weight_decay());
    };
  } else {
    return nullptr;
  }
}

}  // namespace detail

/// Makes the parameter groups of an optimizer from a module and the options
/// that most of them have:
///
///     ParamGroups groups(*model, torch::optim::AdamWOptions(1e-3));
///     groups.no_decay_for_norms_and_biases()
///         .group("head", {"fc"}, ParamGroupOptions().lr_factor(10))
///         .others("body");
///     std::cout << groups;  // a table
///     auto optimizer = groups.make_optimizer<torch::optim::AdamW>();
///
/// Every parameter of the module is in one group; a shared one once, under all
/// of its names. Groups that come out empty are left out. Their order depends
/// on module and calls alone, not on values, so that checkpoints fit: groups as
/// named, the others last; in each the layers from body to head; in each what
/// decays first. Patterns, sources and freezing: docs/optimizers.md.
///
/// A call that throws c10::Error (a pattern that matches nothing, a parameter
/// in two groups, a value out of range) has changed nothing.
template <typename Options>
class ParamGroups {
 public:
  using Edit = std::function<void(Options&)>;

  /// All of the module's parameters; its tensors are held, it itself is not.
  ParamGroups(const torch::nn::Module& module, const Options& options)
      : options_(std::make_shared<const Options>(options)),
        plan_(module, options_, detail::weight_decay_access<Options>()) {}
  /// The same of a holder or a pointer.
  template <
      typename Holder,
      typename = std::enable_if_t<std::is_convertible_v<
          decltype(*std::declval<const Holder&>()),
          const torch::nn::Module&>>>
  ParamGroups(const Holder& holder, const Options& options)
      : ParamGroups(static_cast<const torch::nn::Module&>(*holder), options) {}

  /// A group of the parameters that one of the patterns matches. A pattern is
  /// the whole name of a parameter or of a module that it lies in, where `*`
  /// stands for any characters, dots too, `?` for one, `[0-3]` for one of them.
  /// `edit` changes other options of the group.
  ParamGroups& group(
      const std::string& name,
      const std::vector<std::string>& patterns,
      const ParamGroupOptions& own = {},
      const Edit& edit = {}) {
    plan_.add_group(name, patterns, own, erased(edit));
    return *this;
  }
  /// The parameters that no pattern of group() matches. Where there is a
  /// group() and this was not called, build() refuses such parameters.
  ParamGroups& others(
      const std::string& name,
      const ParamGroupOptions& own = {},
      const Edit& edit = {}) {
    plan_.add_others(name, own, erased(edit));
    return *this;
  }

  /// Weight decay 0 for every parameter of a norm, whatever its shape, for
  /// biases, and for all others with one dimension at most (scales, gains).
  ParamGroups& no_decay_for_norms_and_biases() {
    plan_.no_decay_for_norms_and_biases();
    return *this;
  }
  /// The same for what the patterns match, as for embeddings.
  ParamGroups& no_decay_for(const std::vector<std::string>& patterns) {
    plan_.no_decay_for(patterns);
    return *this;
  }

  /// Rates that fall from head to body (Howard and Ruder, Universal Language
  /// Model Fine-tuning, 2018): those of a layer count times factor^(layers that
  /// follow it), factor in (0, 1]. The layers are the module's children that
  /// have parameters, in the order in which they were registered.
  ParamGroups& layer_decay(double factor) {
    plan_.layer_decay(factor);
    return *this;
  }
  /// With the layers given from body to head, each by a pattern. A shared
  /// parameter is in the first layer that has one of its names.
  ParamGroups& layer_decay(
      double factor, const std::vector<std::string>& layers) {
    plan_.layer_decay(factor, layers);
    return *this;
  }

  /// An optimizer with these groups, each with the options that it has here.
  template <typename Optimizer>
  Optimizer make_optimizer() const {
    if constexpr (std::is_base_of_v<IndexedOptimizer, Optimizer>) {
      return Optimizer(build(), defaults());
    } else {
      Optimizer optimizer(build(), defaults());
      set_options(optimizer);
      return optimizer;
    }
  }

  /// The groups for a constructor of your own, with defaults() beside them.
  /// LibTorch 2.14 replaces what equals the default of the options' class (a
  /// weight decay of 0, say) by the optimizer's: call set_options() then.
  std::vector<torch::optim::OptimizerParamGroup> build() const {
    return plan_.build();
  }
  const Options& defaults() const { return *options_; }
  /// Gives the groups of an optimizer made from build() their options once
  /// more; c10::Error where these are other groups.
  void set_options(torch::optim::Optimizer& optimizer) const {
    plan_.set_options(optimizer);
  }

  /// The groups in the order of build().
  std::vector<ParamGroupInfo> infos() const { return plan_.infos(); }
  /// A table of infos(), 80 columns wide at most.
  std::string to_string() const { return detail::param_group_table(infos()); }

 private:
  static detail::ParamGroupPlan::Edit erased(const Edit& edit) {
    if (!edit) return {};
    return [edit](torch::optim::OptimizerOptions& options) {
      edit(static_cast<Options&>(options));
    };
  }

  std::shared_ptr<const Options> options_;
  detail::ParamGroupPlan plan_;
};

template <typename Options>
ParamGroups(const torch::nn::Module&, const Options&) -> ParamGroups<Options>;

template <typename Options>
std::ostream& operator<<(
    std::ostream& stream, const ParamGroups<Options>& groups) {
  return stream << groups.to_string();
}

}  // namespace stepsize
