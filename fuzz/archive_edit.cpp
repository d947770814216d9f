#include "fuzz/archive_edit.h"

#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "csrc/core/tensors.h"

namespace stepsize::fuzz {
namespace {

using c10::IValue;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

int64_t any_int(FuzzedDataProvider& input) {
  return input.ConsumeBool() ? input.ConsumeIntegralInRange<int64_t>(-2, 9)
                             : input.ConsumeIntegral<int64_t>();
}

// LibTorch writes none that is undefined.
torch::Tensor any_tensor(FuzzedDataProvider& input) {
  constexpr at::ScalarType kTypes[] = {
      at::kFloat, at::kDouble, at::kLong, at::kByte, at::kBool, at::kHalf};
  std::vector<int64_t> sizes(input.ConsumeIntegralInRange<std::size_t>(0, 3));
  for (int64_t& size : sizes) {
    size = input.ConsumeIntegralInRange<int64_t>(0, 3);
  }
  return torch::ones(sizes, input.PickValueInArray(kTypes));
}

// Another value of the type.
int64_t other(int64_t /*value*/, FuzzedDataProvider& input) {
  return any_int(input);
}
double other(double /*value*/, FuzzedDataProvider& input) {
  return input.ConsumeFloatingPoint<double>();
}
std::string other(const std::string& value, FuzzedDataProvider& input) {
  return input.ConsumeBool() ? value + "x" : input.ConsumeRandomLengthString(8);
}
torch::Tensor other(const torch::Tensor& value, FuzzedDataProvider& input) {
  if (value.defined() && input.ConsumeBool()) {
    const bool is_real = at::isFloatingType(value.scalar_type());
    return is_real
               ? torch::full_like(value, input.ConsumeFloatingPoint<float>())
               : torch::full_like(value, input.ConsumeIntegralInRange(0, 1));
  }
  return any_tensor(input);
}

// A list with one value changed, more or fewer of them.
template <typename Value>
IValue other_list(c10::List<Value> list, FuzzedDataProvider& input) {
  c10::List<Value> edited = list.copy();
  const auto at = [&] {
    return input.ConsumeIntegralInRange<std::size_t>(0, edited.size() - 1);
  };
  switch (input.ConsumeIntegralInRange(0, 3)) {
    case 0:
      edited.push_back(other(Value(), input));
      break;
    case 1:
      if (!edited.empty()) edited.pop_back();
      break;
    case 2:
      edited.clear();
      break;
    default:
      if (!edited.empty()) {
        const std::size_t place = at();
        edited.set(place, other(Value(edited.get(place)), input));
      }
  }
  return edited;
}

IValue any_value(FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 5)) {
    case 0:
      return any_int(input);
    case 1:
      return input.ConsumeFloatingPoint<double>();
    case 2:
      return input.ConsumeRandomLengthString(8);
    case 3:
      return c10::List<int64_t>({any_int(input)});
    case 4:
      return c10::List<std::string>({"weight"});
    default:
      return c10::List<torch::Tensor>({any_tensor(input)});
  }
}

// Bytes of an archive that lie in a tensor. Only such are edited that LibTorch
// has written: its own reader is not what is tried here.
bool holds_archive(const IValue& value) {
  if (!value.isTensorList()) return false;
  const auto list = value.toTensorList();
  if (list.size() != 1) return false;
  const torch::Tensor bytes = list.get(0);
  return bytes.defined() && bytes.scalar_type() == at::kByte &&
         bytes.dim() == 1 && bytes.numel() > 4 &&
         bytes[0].item<uint8_t>() == 'P' && bytes[1].item<uint8_t>() == 'K';
}

IValue edited_bytes(const IValue& value, FuzzedDataProvider& input) {
  const torch::Tensor bytes = value.toTensorList().get(0).contiguous();
  const std::string archive(
      static_cast<const char*>(bytes.data_ptr()),
      static_cast<std::size_t>(bytes.numel()));
  return c10::List<torch::Tensor>(
      {detail::byte_tensor(edited_archive(archive, input))});
}

IValue edited(const IValue& value, FuzzedDataProvider& input) {
  if (holds_archive(value)) return edited_bytes(value, input);
  if (input.ConsumeProbability<float>() < 0.2F) return any_value(input);
  if (value.isInt()) return other(value.toInt(), input);
  if (value.isDouble()) return other(value.toDouble(), input);
  if (value.isString()) return other(value.toStringRef(), input);
  if (value.isTensor()) return other(value.toTensor(), input);
  if (value.isIntList()) return other_list(value.toIntList(), input);
  if (value.isDoubleList()) return other_list(value.toDoubleList(), input);
  if (value.isTensorList()) return other_list(value.toTensorList(), input);
  if (value.isList() && value.toListRef().size() > 0 &&
      value.toListRef()[0].isString()) {
    return other_list(
        c10::impl::toTypedList<std::string>(value.toList()), input);
  }
  return any_value(input);
}

// ConsumeProbability() of no input is 0.
bool comes_up(FuzzedDataProvider& input, float probability) {
  return input.ConsumeProbability<float>() > 1 - probability;
}

void copy_edited(
    InputArchive& from, OutputArchive& to, FuzzedDataProvider& input) {
  for (const std::string& key : from.keys()) {
    if (comes_up(input, 0.01F)) continue;
    InputArchive inner;
    if (from.try_read(key, inner)) {
      OutputArchive copy(to.compilation_unit());
      copy_edited(inner, copy, input);
      to.write(key, copy);
      continue;
    }
    IValue value;
    from.read(key, value);
    to.write(key, comes_up(input, 0.1F) ? edited(value, input) : value);
  }
}

}  // namespace

std::string edited_archive(
    const std::string& archive, FuzzedDataProvider& input) {
  return detail::archive_bytes([&](OutputArchive& copy) {
    detail::load_bytes(
        archive.data(), archive.size(), [&](InputArchive& original) {
          copy_edited(original, copy, input);
        });
  });
}

}  // namespace stepsize::fuzz
