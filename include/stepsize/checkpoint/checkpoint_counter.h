#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

namespace stepsize::detail {

/// A whole number of some type, as an int64_t.
class CheckpointCounter {
 public:
  CheckpointCounter() = default;
  CheckpointCounter(const CheckpointCounter&) = delete;
  CheckpointCounter& operator=(const CheckpointCounter&) = delete;
  virtual ~CheckpointCounter() = default;

  /// Nothing where it is none.
  virtual std::optional<int64_t> get() const = 0;
  virtual void set(int64_t value) = 0;
  /// Whether set() may be called with it.
  virtual bool fits(int64_t value) const = 0;
  /// "in [0, 255]"
  virtual std::string range() const = 0;
  /// The value, whatever it is.
  virtual std::string text() const = 0;
  /// What puts the present value back.
  virtual std::function<void()> undo() const = 0;
};

template <typename Integer>
class CheckpointCounterOf final : public CheckpointCounter {
 public:
  explicit CheckpointCounterOf(Integer& value) : value_(&value) {}

  std::optional<int64_t> get() const override {
    if constexpr (kIsWide) {
      if (*value_ > static_cast<Integer>(kMost)) return std::nullopt;
    }
    return static_cast<int64_t>(*value_);
  }

  void set(int64_t value) override { *value_ = static_cast<Integer>(value); }

  bool fits(int64_t value) const override {
    return value >= least() && value <= most();
  }

  std::string range() const override {
    return "in [" + std::to_string(least()) + ", " + std::to_string(most()) +
           "]";
  }

  std::string text() const override { return std::to_string(*value_); }

  std::function<void()> undo() const override {
    return [value = value_, before = *value_] { *value = before; };
  }

 private:
  using Limits = std::numeric_limits<Integer>;
  static constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  static constexpr bool kIsWide =
      std::is_unsigned_v<Integer> && sizeof(Integer) >= sizeof(int64_t);

  static constexpr int64_t least() {
    return static_cast<int64_t>(Limits::min());
  }
  static constexpr int64_t most() {
    if constexpr (kIsWide) return kMost;
    return static_cast<int64_t>(Limits::max());
  }

  Integer* value_;
};

}  // namespace stepsize::detail
