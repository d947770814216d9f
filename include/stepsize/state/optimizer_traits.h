#pragma once

#include <stepsize/state/option_list.h>
#include <stepsize/state/preconditioner.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

namespace stepsize {

/// The OptionList of an Options class, seen through LibTorch's base class.
/// Given options of another class, each throws c10::Error.
class OptimizerOptionList {
 public:
  template <typename Options>
  explicit OptimizerOptionList(const OptionList<Options>& list)
      : list_(list.list_),
        type_(typeid(Options)),
        find_([](const torch::optim::OptimizerOptions& options) {
          return static_cast<const void*>(
              dynamic_cast<const Options*>(&options));
        }),
        assign_([](torch::optim::OptimizerOptions& to,
                   const torch::optim::OptimizerOptions& from) {
          static_cast<Options&>(to) = static_cast<const Options&>(from);
        }) {}

  /// The class that the list is of.
  std::type_index type() const { return type_; }
  const std::string& kind() const { return list_.kind(); }
  std::vector<OptionField> fields() const { return list_.fields(); }
  /// The name of the option with a role; empty where there is none.
  std::string name_of(OptionRole role) const;

  double get(
      const torch::optim::OptimizerOptions& options,
      const std::string& name) const;
  void set(
      torch::optim::OptimizerOptions& options,
      const std::string& name,
      double value) const;
  /// By role; nothing, and false, where no option has it.
  std::optional<double> get(
      const torch::optim::OptimizerOptions& options, OptionRole role) const;
  bool set(
      torch::optim::OptimizerOptions& options,
      OptionRole role,
      double value) const;

  /// All of them, by name.
  std::vector<std::pair<std::string, double>> numbers(
      const torch::optim::OptimizerOptions& options) const;

  void check(const torch::optim::OptimizerOptions& options) const;
  void check_same_in_groups(
      const torch::optim::OptimizerOptions& first,
      const torch::optim::OptimizerOptions& other) const;
  std::string describe(const torch::optim::OptimizerOptions& options) const;
  /// Copies all that options hold, what is in no list too. False, and nothing
  /// is copied, where one is of another class or of a subclass.
  bool assign(
      torch::optim::OptimizerOptions& to,
      const torch::optim::OptimizerOptions& from) const;

 private:
  using Entry = detail::FieldList::Entry;

  const void* own(const torch::optim::OptimizerOptions& options) const;
  const Entry& entry(const std::string& name) const;

  detail::FieldList list_;
  std::type_index type_;
  const void* (*find_)(const torch::optim::OptimizerOptions&);
  void (*assign_)(
      torch::optim::OptimizerOptions&, const torch::optim::OptimizerOptions&);
};

/// What an optimizer makes of the gradient. It decides what the Hessian says of
/// its largest stable rate.
enum class GradientUse : std::uint8_t {
  kUnknown,
  kDescends,           ///< along it, or along a mean of it: SGD
  kScalesCoordinates,  ///< each by a number of its own: Adam
  kTakesSigns,         ///< the sign of each coordinate: Lion
  kScalesLayers,       ///< each parameter's by a number of its own: LAMB
  kQuasiNewton,        ///< times an inverse Hessian that it estimates: LBFGS
  kOrthogonalizes,     ///< the singular values of each matrix become 1: Muon
  kAverages,           ///< of a mean of points that steps lag: Schedule-Free
};

/// How often a step calls its closure.
enum class ClosureCalls : std::uint8_t {
  kOnce,
  kTwiceAtMost,  ///< on the same mini-batch
  kManyTimes,    ///< as a line search does
};

namespace detail {

// The class whose save() and load() `Optimizer` has; void where they are of
// two, or not to be called.
template <typename Owner>
Owner* owner_of_save(void (Owner::*save)(torch::serialize::OutputArchive&)
                         const);
template <typename Owner>
Owner* owner_of_load(void (Owner::*load)(torch::serialize::InputArchive&));

template <typename Optimizer, typename = void>
struct SavedBy {
  static std::type_index type() { return typeid(void); }
};
template <typename Optimizer>
struct SavedBy<
    Optimizer,
    std::void_t<
        decltype(owner_of_save(&Optimizer::save)),
        decltype(owner_of_load(&Optimizer::load))>> {
  static std::type_index type() {
    using Saver =
        std::remove_pointer_t<decltype(owner_of_save(&Optimizer::save))>;
    using Loader =
        std::remove_pointer_t<decltype(owner_of_load(&Optimizer::load))>;
    return std::is_same_v<Saver, Loader> ? typeid(Saver) : typeid(void);
  }
};

}  // namespace detail

/// What is known of an optimizer class, in one place: all parts of the library
/// ask here. Of options those of LibTorch's six classes are known, and all
/// that are DescribedOptions; describe_optimizer() adds others. A subclass is
/// not the class that it derives from: it may do anything.
class OptimizerTraits {
 public:
  /// What `Optimizer`, named as the list's kind, does with options of a list.
  template <typename Optimizer, typename Options>
  static OptimizerTraits of(const OptionList<Options>& list) {
    OptimizerTraits traits(
        list.kind(), typeid(Optimizer), OptimizerOptionList(list));
    traits.saved_by_ = detail::SavedBy<Optimizer>::type();
    return traits;
  }
  /// The same of a class that does what this one does, a subclass say.
  template <typename Optimizer>
  OptimizerTraits as(std::string name) const {
    OptimizerTraits traits = *this;
    traits.name_ = std::move(name);
    traits.optimizer_ = typeid(Optimizer);
    traits.saved_by_ = detail::SavedBy<Optimizer>::type();
    return traits;
  }

  using Count = std::function<int64_t(const torch::optim::Optimizer&)>;

  const std::string& name() const { return name_; }
  std::type_index optimizer() const { return optimizer_; }
  const OptimizerOptionList& options() const { return options_; }
  /// The class that has its save() and load(): itself, or the one that it
  /// inherits both from.
  std::type_index saved_by() const { return saved_by_; }

  TORCH_ARG(GradientUse, gradient) = GradientUse::kUnknown;
  /// Where it scales coordinates: by what. Null: unknown.
  TORCH_ARG(Preconditioner, preconditioner);
  /// By what factor the gradient comes. Null: 1.
  TORCH_ARG(GradientFactor, gradient_factor);
  /// The gradient enters its momentum m with 1 - m, as Adam's does, and not
  /// whole, as SGD's.
  TORCH_ARG(bool, momentum_is_mean) = false;
  /// Its lr is a factor of a rate that it finds itself.
  TORCH_ARG(bool, sets_own_rate) = false;
  /// Its closure returns a loss with its graph, and calls no backward().
  TORCH_ARG(bool, wants_graph) = false;
  TORCH_ARG(ClosureCalls, closure_calls) = ClosureCalls::kOnce;
  /// It has one parameter group and no more.
  TORCH_ARG(bool, one_group) = false;
  /// The tensors that it keeps for each parameter.
  TORCH_ARG(std::vector<std::string>, state);

  /// How many steps so far an optimizer of the class has left out, and how
  /// often it has gone back to an earlier point. Null: it never does.
  TORCH_ARG(Count, skipped_steps);
  TORCH_ARG(Count, steps_back);

 private:
  OptimizerTraits(
      std::string name, std::type_index optimizer, OptimizerOptionList options)
      : name_(std::move(name)),
        optimizer_(optimizer),
        options_(std::move(options)) {}

  std::string name_;
  std::type_index optimizer_;
  std::type_index saved_by_ = typeid(void);
  OptimizerOptionList options_;
};

/// Options that say what is known of them and their optimizer.
class DescribedOptions {
 public:
  virtual ~DescribedOptions() = default;
  virtual const OptimizerTraits& traits() const = 0;
};

/// The base of an Options class with an OptionList. `Derived` has
///
///     TORCH_ARG(double, lr);
///     static const OptionList<Derived>& option_list();
///     static const OptimizerTraits& optimizer_traits();
///
/// and gets rate, clone, save and load from them.
template <typename Derived>
class ListedOptions : public torch::optim::OptimizerCloneableOptions<Derived>,
                      public DescribedOptions {
 public:
  double get_lr() const override {
    return static_cast<const Derived&>(*this).lr();
  }
  void set_lr(const double lr) override { static_cast<Derived&>(*this).lr(lr); }
  /// Throws c10::Error, and changes nothing, where an option is missing, of
  /// another type or out of range.
  void serialize(torch::serialize::InputArchive& archive) override {
    Derived::option_list().read(archive, static_cast<Derived&>(*this));
  }
  void serialize(torch::serialize::OutputArchive& archive) const override {
    Derived::option_list().write(archive, static_cast<const Derived&>(*this));
  }
  const OptimizerTraits& traits() const override {
    return Derived::optimizer_traits();
  }
};

/// Adds what is known of a class that is not the user's to change. To be called
/// before the class is used; throws c10::Error where it is described already.
///
///     describe_optimizer(
///         find_traits(torch::optim::SGDOptions(0))->as<MySGD>("MySGD"));
void describe_optimizer(OptimizerTraits traits);

/// Null for options and optimizers of which nothing is known. It stays valid.
/// Those of options hold for the optimizer that the options are made for.
const OptimizerTraits* find_traits(
    const torch::optim::OptimizerOptions& options);
const OptimizerTraits* find_traits(const torch::optim::Optimizer& optimizer);

}  // namespace stepsize
