#pragma once

#include <torch/serialize/archive.h>

#include <type_traits>
#include <typeinfo>
#include <utility>

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

  const std::type_info& type() const override { return typeid(*value_); }

 private:
  State* value_;
};

}  // namespace stepsize::detail
