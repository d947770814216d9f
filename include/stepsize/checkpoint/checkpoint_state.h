#pragma once

#include <stepsize/state/options_from.h>
#include <torch/serialize/archive.h>

#include <functional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize::detail {

/// Something that is written to an archive and read from it.
class CheckpointState {
 public:
  CheckpointState() = default;
  CheckpointState(const CheckpointState&) = delete;
  CheckpointState& operator=(const CheckpointState&) = delete;
  virtual ~CheckpointState() = default;

  virtual void save(torch::serialize::OutputArchive& archive) const = 0;
  virtual void load(torch::serialize::InputArchive& archive) = 0;
  /// The same where the options may differ; says how they do.
  virtual std::vector<std::string> load(
      torch::serialize::InputArchive& archive, OptionsFrom from) = 0;
  /// What puts the present options back, after which load() takes again what
  /// save() has written.
  virtual std::function<void()> keep_options() const = 0;
  /// What puts all of it back as it is now. Empty where the class cannot, and
  /// load() has to do it.
  virtual std::function<void()> keep_state() const = 0;
  virtual const std::type_info& type() const = 0;
};

template <typename State, typename = void>
struct HasArchiveOperators : std::false_type {};

template <typename State>
struct HasArchiveOperators<
    State,
    std::void_t<
        decltype(std::declval<torch::serialize::OutputArchive&>() << std::declval<const State&>()),
        decltype(std::declval<torch::serialize::InputArchive&>() >> std::declval<State&>())>>
    : std::true_type {};

/// Whether a class lets choose whose options hold after a load.
template <typename State, typename = void>
struct HasOptionsFrom : std::false_type {};

template <typename State>
struct HasOptionsFrom<
    State,
    std::void_t<decltype(std::vector<std::string>(std::declval<State&>().load(
        std::declval<torch::serialize::InputArchive&>(),
        OptionsFrom::kProgram)))>> : std::true_type {};

template <typename State, typename = void>
struct KeepsOptions : std::false_type {};

template <typename State>
struct KeepsOptions<
    State,
    std::void_t<decltype(std::function<void()>(
        std::declval<State&>().keep_options()))>> : std::true_type {};

template <typename State, typename = void>
struct KeepsState : std::false_type {};

template <typename State>
struct KeepsState<
    State,
    std::void_t<decltype(std::function<void()>(
        std::declval<State&>().keep_state()))>> : std::true_type {};

template <typename Pointer, typename = void>
struct PointsToModule : std::false_type {};

template <typename Pointer>
struct PointsToModule<
    Pointer,
    std::void_t<decltype(std::declval<const Pointer&>().get())>>
    : std::is_convertible<
          decltype(std::declval<const Pointer&>().get()),
          const torch::nn::Module*> {};

/// Whether something is a pointer to a module, or a holder of one, as
/// TORCH_MODULE() makes them.
template <typename State, typename = void>
struct HoldsModule : PointsToModule<State> {};

template <typename State>
struct HoldsModule<
    State,
    std::void_t<decltype(std::declval<const State&>().ptr())>>
    : PointsToModule<
          std::decay_t<decltype(std::declval<const State&>().ptr())>> {};

/// Through the operators that torch::save and torch::load use, or else through
/// the members save() and load().
template <typename State>
class CheckpointStateOf final : public CheckpointState {
 public:
  explicit CheckpointStateOf(State& value) : value_(&value) {}

  void save(torch::serialize::OutputArchive& archive) const override {
    const State& value = *value_;
    if constexpr (HasArchiveOperators<State>::value) {
      archive << value;
    } else {
      value.save(archive);
    }
  }

  void load(torch::serialize::InputArchive& archive) override {
    if constexpr (HasArchiveOperators<State>::value) {
      archive >> *value_;
    } else {
      value_->load(archive);
    }
  }

  std::vector<std::string> load(
      torch::serialize::InputArchive& archive, OptionsFrom from) override {
    if constexpr (HasOptionsFrom<State>::value) {
      if (from != OptionsFrom::kMustAgree) return value_->load(archive, from);
    }
    load(archive);
    return {};
  }

  std::function<void()> keep_options() const override {
    if constexpr (KeepsOptions<State>::value) {
      return value_->keep_options();
    } else {
      return [] {};
    }
  }

  std::function<void()> keep_state() const override {
    if constexpr (KeepsState<State>::value) {
      return value_->keep_state();
    } else {
      return {};
    }
  }

  const std::type_info& type() const override { return typeid(*value_); }

 private:
  State* value_;
};

}  // namespace stepsize::detail
