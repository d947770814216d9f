#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "csrc/checkpoint/items.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

// A change that puts a value in the place of another.
template <typename Value>
void assign(Change& change, Value& place, Value value) {
  const auto before = std::make_shared<Value>(place);
  change.apply = [&place, value = std::move(value)] { place = value; };
  change.undo = [&place, before] { place = *before; };
}

// What the description carries of an item; a mismatch where it has nothing.
template <typename Value>
const Value* described(
    const std::map<std::string, Value>& values,
    const CheckpointItem& item,
    Mismatches& mismatches) {
  const auto found = values.find(item.name());
  if (found != values.end()) return &found->second;
  mismatches.add(item.owner(), "has no value in the file");
  return nullptr;
}

class CounterItem : public CheckpointItem {
 public:
  CounterItem(
      const std::string& name, std::unique_ptr<CheckpointCounter> counter)
      : CheckpointItem(name, CheckpointEntryKind::kCounter),
        counter_(std::move(counter)) {}

  void save(OutputArchive& /*archive*/, CheckpointInfo& info) const override {
    const auto value = counter_->get();
    TORCH_CHECK(
        value,
        owner(),
        ": must be <= 9223372036854775807, as int64_t has it, got ",
        counter_->text());
    info.counters[name()] = *value;
  }

  Change prepare(InputArchive& /*archive*/, ItemLoad& load) override {
    Change result = change(Change::Turn::kValue);
    const int64_t* const value =
        described(load.info.counters, *this, load.mismatches);
    if (value == nullptr) return result;
    if (!counter_->fits(*value)) {
      load.mismatches.add(
          owner(),
          "is " + std::to_string(*value) + " in the file; here it must be " +
              counter_->range());
      return result;
    }
    result.apply = [this, value = *value] { counter_->set(value); };
    result.undo = counter_->undo();
    return result;
  }

 private:
  std::unique_ptr<CheckpointCounter> counter_;
};

class FloatItem : public CheckpointItem {
 public:
  FloatItem(const std::string& name, float& value)
      : CheckpointItem(name, CheckpointEntryKind::kNumber), value_(&value) {}

  void save(OutputArchive& /*archive*/, CheckpointInfo& info) const override {
    info.numbers[name()] = static_cast<double>(*value_);
  }

  Change prepare(InputArchive& /*archive*/, ItemLoad& load) override {
    Change result = change(Change::Turn::kValue);
    const double* const value =
        described(load.info.numbers, *this, load.mismatches);
    if (value == nullptr) return result;
    constexpr double kMost = std::numeric_limits<float>::max();
    if (std::isfinite(*value) && std::abs(*value) > kMost) {
      load.mismatches.add(
          owner(),
          "is " + number_text(*value) + " in the file, and a float here");
      return result;
    }
    assign(result, *value_, static_cast<float>(*value));
    return result;
  }

 private:
  float* value_;
};

// A number or a text, which the description carries.
template <typename Value>
class ValueItem : public CheckpointItem {
 public:
  using Values = std::map<std::string, Value> CheckpointInfo::*;

  ValueItem(
      const std::string& name,
      CheckpointEntryKind kind,
      Values values,
      Value& value)
      : CheckpointItem(name, kind), values_(values), value_(&value) {}

  void save(OutputArchive& /*archive*/, CheckpointInfo& info) const override {
    (info.*values_)[name()] = *value_;
  }

  Change prepare(InputArchive& /*archive*/, ItemLoad& load) override {
    Change result = change(Change::Turn::kValue);
    const Value* const value =
        described(load.info.*values_, *this, load.mismatches);
    if (value != nullptr) assign(result, *value_, *value);
    return result;
  }

 private:
  Values values_;
  Value* value_;
};

class TensorItem : public CheckpointItem {
 public:
  TensorItem(const std::string& name, at::Tensor& value)
      : CheckpointItem(name, CheckpointEntryKind::kTensor), value_(&value) {}

  void save(OutputArchive& archive, CheckpointInfo& /*info*/) const override {
    write_tensors(archive, "tensor", {storable(*value_, owner())});
  }

  Change prepare(InputArchive& archive, ItemLoad& load) override {
    Change result = change(Change::Turn::kValue);
    const auto tensors = read_tensors(archive, owner(), "tensor");
    if (tensors.size() != 1) {
      load.mismatches.add(owner(), "is not one tensor in the file");
      return result;
    }
    at::Tensor value = tensors.front();
    if (value.defined()) {
      // Memory of its own: the archive's is read-only by custom.
      value = value.clone();
      if (value_->defined()) {
        value = value.to(value_->device());
        const at::ScalarType type = value.scalar_type();
        value.set_requires_grad(
            value_->requires_grad() &&
            (c10::isFloatingType(type) || c10::isComplexType(type)));
      }
    }
    assign(result, *value_, value);
    return result;
  }

 private:
  at::Tensor* value_;
};

class StateItem : public CheckpointItem {
 public:
  StateItem(const std::string& name, std::unique_ptr<CheckpointState> state)
      : CheckpointItem(name, CheckpointEntryKind::kState),
        state_(std::move(state)) {}

  std::string class_name() const override {
    return c10::demangle(state_->type().name());
  }

  // In an archive of its own: whatever its save() does, no other entry sees.
  void save(OutputArchive& archive, CheckpointInfo& /*info*/) const override {
    write_tensors(archive, "bytes", {byte_tensor(bytes())});
  }

  Change prepare(InputArchive& archive, ItemLoad& load) override {
    Change result = change(Change::Turn::kState);
    const at::Tensor value = read_tensor(archive, owner(), "bytes");
    result.may_refuse = load.what_fits;
    const auto remark = std::make_shared<std::string>();
    result.remark = remark;
    result.apply = [this, value, from = load.options_from, remark] {
      load_bytes(value, [&](InputArchive& own) {
        for (const std::string& difference : state_->load(own, from)) {
          const char* start = from == OptionsFrom::kProgram
                                  ? "this program's options hold: "
                                  : "the file's options hold: ";
          *remark += (remark->empty() ? start : "; ") + difference;
        }
      });
    };
    // What lies in other files as well may not be there to be read again.
    result.undo = state_->keep_state();
    if (result.undo) return result;
    result.undo =
        [this, before = bytes(), put_options_back = state_->keep_options()] {
          put_options_back();
          load_bytes(before.data(), before.size(), [this](InputArchive& own) {
            state_->load(own);
          });
        };
    return result;
  }

 private:
  std::string bytes() const {
    return archive_bytes([this](OutputArchive& own) { state_->save(own); });
  }

  std::unique_ptr<CheckpointState> state_;
};

}  // namespace

std::unique_ptr<CheckpointItem> state_item(
    const std::string& name, std::unique_ptr<CheckpointState> state) {
  return std::make_unique<StateItem>(name, std::move(state));
}

std::unique_ptr<CheckpointItem> tensor_item(
    const std::string& name, at::Tensor& value) {
  return std::make_unique<TensorItem>(name, value);
}

std::unique_ptr<CheckpointItem> counter_item(
    const std::string& name, std::unique_ptr<CheckpointCounter> counter) {
  return std::make_unique<CounterItem>(name, std::move(counter));
}

std::unique_ptr<CheckpointItem> number_item(
    const std::string& name, double& value) {
  return std::make_unique<ValueItem<double>>(
      name, CheckpointEntryKind::kNumber, &CheckpointInfo::numbers, value);
}

std::unique_ptr<CheckpointItem> number_item(
    const std::string& name, float& value) {
  return std::make_unique<FloatItem>(name, value);
}

std::unique_ptr<CheckpointItem> text_item(
    const std::string& name, std::string& value) {
  return std::make_unique<ValueItem<std::string>>(
      name, CheckpointEntryKind::kText, &CheckpointInfo::texts, value);
}

}  // namespace stepsize::detail
