#include "csrc/checkpoint/safetensors_header.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr char kMetadataName[] = "__metadata__";
constexpr std::size_t kMostDimensions = 64;
constexpr std::size_t kMostShown = 80;

struct FormatType {
  const char* name;
  int bits;
  at::ScalarType type = at::ScalarType::Undefined;
};

// In the order of alignment that the reference implementation has. Of the types
// that LibTorch 1.13 lacks the size is known, and so checked.
constexpr std::array<FormatType, 22> kFormatTypes = {{
    {"BOOL", 8, at::kBool},
    {"F4", 4},
    {"F6_E2M3", 6},
    {"F6_E3M2", 6},
    {"U8", 8, at::kByte},
    {"I8", 8, at::kChar},
    {"F8_E5M2", 8},
    {"F8_E4M3", 8},
    {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8},
    {"I16", 16, at::kShort},
    {"U16", 16},
    {"F16", 16, at::kHalf},
    {"BF16", 16, at::kBFloat16},
    {"I32", 32, at::kInt},
    {"U32", 32},
    {"F32", 32, at::kFloat},
    {"C64", 64, at::kComplexFloat},
    {"F64", 64, at::kDouble},
    {"I64", 64, at::kLong},
    {"U64", 64},
}};

const FormatType* find_type(const std::string& dtype) {
  const auto* found = std::find_if(
      kFormatTypes.begin(), kFormatTypes.end(), [&](const FormatType& type) {
        return dtype == type.name;
      });
  return found == kFormatTypes.end() ? nullptr : found;
}

// Takes the events of nlohmann's parser, which keeps no value and does not
// recurse: what is stored is what the format knows. Each returns whether to go
// on.
class HeaderReader {
 public:
  explicit HeaderReader(SafetensorsInfo& info) : info_(&info) {}

  const std::string& fault() const { return fault_; }

  bool null() { return other_scalar(); }
  bool boolean(bool /*value*/) { return other_scalar(); }
  bool number_integer(int64_t /*value*/) { return other_scalar(); }
  bool number_float(double /*value*/, const std::string& /*text*/) {
    return other_scalar();
  }
  bool binary(std::vector<std::uint8_t>& /*value*/) { return other_scalar(); }

  bool number_unsigned(uint64_t value) {
    if (place_ != Place::kShape && place_ != Place::kOffsets) {
      return other_scalar();
    }
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    if (value > kMost) return of_tensor("has a number that is too large");
    auto& list = place_ == Place::kShape ? tensor_.shape : offsets_;
    const std::size_t most = place_ == Place::kShape ? kMostDimensions : 2;
    if (list.size() == most) {
      return of_tensor(
          "has more than " + std::to_string(most) +
          (place_ == Place::kShape ? " dimensions" : " data_offsets"));
    }
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) {
      info_->metadata[key_] = std::move(value);
      return true;
    }
    if (place_ == Place::kTensor && key_ == "dtype") {
      tensor_.dtype = std::move(value);
      return true;
    }
    return other_scalar();
  }

  bool start_object(std::size_t /*count*/) {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kTop;
        return true;
      case Place::kTop:
        place_ = key_ == kMetadataName ? Place::kMetadata : Place::kTensor;
        if (place_ == Place::kTensor) {
          tensor_ = {};
          tensor_.name = key_;
          offsets_.clear();
          fields_.clear();
        }
        return true;
      default:
        return start_other();
    }
  }

  bool start_array(std::size_t /*count*/) {
    if (place_ == Place::kTensor && key_ == "shape") {
      place_ = Place::kShape;
      return true;
    }
    if (place_ == Place::kTensor && key_ == "data_offsets") {
      place_ = Place::kOffsets;
      return true;
    }
    return start_other();
  }

  bool key(std::string& name) {
    if (place_ == Place::kOther) return true;
    auto& known = place_ == Place::kTop        ? names_
                  : place_ == Place::kMetadata ? metadata_names_
                                               : fields_;
    if (!known.insert(name).second) {
      const std::string what = "has the name " + quoted_name(name) + " twice";
      return place_ == Place::kTensor ? of_tensor(what) : fail(what);
    }
    key_ = std::move(name);
    return true;
  }

  bool end_object() {
    if (place_ == Place::kOther) return end_other();
    if (place_ == Place::kTensor) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (fields_.count(field) == 0) {
          return of_tensor(std::string("has no ") + field);
        }
      }
      if (offsets_.size() != 2 || offsets_[1] < offsets_[0]) {
        return of_tensor("has data_offsets that are no begin and end");
      }
      tensor_.offset = offsets_[0];
      tensor_.size = offsets_[1] - offsets_[0];
      info_->tensors.push_back(std::move(tensor_));
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool end_array() {
    if (place_ == Place::kOther) return end_other();
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(
      std::size_t position,
      const std::string& /*token*/,
      const nlohmann::json::exception& /*error*/) {
    return fail(
        "has a header that is no JSON, at byte " + std::to_string(position));
  }

 private:
  // Where the next event belongs.
  enum class Place {
    kStart,
    kTop,
    kMetadata,
    kTensor,
    kShape,
    kOffsets,
    kOther,  // in a field that this version of the format does not have
    kEnd,
  };

  bool fail(const std::string& what) {
    if (fault_.empty()) fault_ = what;
    return false;
  }

  bool of_tensor(const std::string& what) {
    return fail("has a tensor " + quoted_name(tensor_.name) + " which " + what);
  }

  bool in_other_field() const {
    return place_ == Place::kOther ||
           (place_ == Place::kTensor && key_ != "dtype" && key_ != "shape" &&
            key_ != "data_offsets");
  }

  bool other_scalar() { return in_other_field() || misplaced(); }

  bool start_other() {
    if (!in_other_field()) return misplaced();
    place_ = Place::kOther;
    ++depth_;
    return true;
  }

  bool end_other() {
    if (--depth_ == 0) place_ = Place::kTensor;
    return true;
  }

  bool misplaced() {
    switch (place_) {
      case Place::kTop:
        return fail("has " + quoted_name(key_) + ", which is no object");
      case Place::kMetadata:
        return fail("has metadata " + quoted_name(key_) + ", which is no text");
      case Place::kTensor:
        return of_tensor("has a " + key_ + " of another kind");
      case Place::kShape:
        return of_tensor("has a shape that is no list of whole numbers");
      case Place::kOffsets:
        return of_tensor("has data_offsets that are no whole numbers");
      default:
        return fail("has a header that is no object");
    }
  }

  SafetensorsInfo* info_;
  Place place_ = Place::kStart;
  std::string fault_;
  std::string key_;
  SafetensorsTensor tensor_;
  std::vector<int64_t> offsets_;
  std::set<std::string> names_;
  std::set<std::string> metadata_names_;
  std::set<std::string> fields_;
  std::size_t depth_ = 0;
};

// The number of elements; -1 where no tensor can have so many. A zero does not
// make a shape smaller: LibTorch's strides are products of the other sizes.
int64_t count_of(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  bool is_empty = false;
  for (const int64_t size : shape) {
    if (size == 0) {
      is_empty = true;
    } else if (product > std::numeric_limits<int64_t>::max() / size) {
      return -1;
    } else {
      product *= size;
    }
  }
  return is_empty ? 0 : product;
}

// What is wrong with its size, or an empty text.
std::string size_fault(const SafetensorsTensor& tensor) {
  const int64_t count = count_of(tensor.shape);
  if (count < 0) return "has a shape that is too large";
  const FormatType* type = find_type(tensor.dtype);
  if (type == nullptr) return {};
  const bool fits = count <= std::numeric_limits<int64_t>::max() / type->bits &&
                    count * type->bits % 8 == 0 &&
                    count * type->bits / 8 == tensor.size;
  if (fits) return {};
  return "has " + std::to_string(tensor.size) +
         " bytes, which are not those of its shape and type";
}

std::string layout_fault(
    const std::vector<SafetensorsTensor>& tensors, uint64_t data_size) {
  uint64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    std::string fault = size_fault(tensor);
    if (fault.empty() && static_cast<uint64_t>(tensor.offset) != end) {
      fault = static_cast<uint64_t>(tensor.offset) < end
                  ? "overlaps another one"
                  : "leaves a hole before it";
    }
    if (!fault.empty()) {
      return "has a tensor " + quoted_name(tensor.name) + " which " + fault;
    }
    end += static_cast<uint64_t>(tensor.size);
  }
  if (end == data_size) return {};
  return "has " + std::to_string(data_size) +
         " bytes of data, and its header " + "speaks of " + std::to_string(end);
}

// A text in quotes, as JSON has it.
std::string json_text(const std::string& place, const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    TORCH_CHECK(false, place, ": ", quoted_name(text), " is not UTF-8");
  }
}

}  // namespace

std::optional<at::ScalarType> safetensors_type(const std::string& dtype) {
  const FormatType* found = find_type(dtype);
  if (found == nullptr || found->type == at::ScalarType::Undefined) return {};
  return found->type;
}

SafetensorsDtype safetensors_dtype(at::ScalarType type) {
  for (std::size_t i = 0; i < kFormatTypes.size(); ++i) {
    if (kFormatTypes[i].type == type && type != at::ScalarType::Undefined) {
      return {kFormatTypes[i].name, static_cast<int>(i)};
    }
  }
  return {};
}

std::string safetensors_header_text(
    const std::string& place, const SafetensorsInfo& info) {
  std::string text = "{";
  if (!info.metadata.empty()) {
    text += '"' + std::string(kMetadataName) + "\":{";
    for (const auto& [key, value] : info.metadata) {
      if (text.back() != '{') text += ',';
      text += json_text(place, key) + ':' + json_text(place, value);
    }
    text += '}';
  }
  for (const SafetensorsTensor& tensor : info.tensors) {
    TORCH_CHECK(
        tensor.name != kMetadataName,
        place,
        ": no tensor may have the name ",
        kMetadataName);
    if (text.size() > 1) text += ',';
    text += json_text(place, tensor.name);
    text += ":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":";
    text += nlohmann::json(tensor.shape).dump();
    text += ",\"data_offsets\":[" + std::to_string(tensor.offset) + ',' +
            std::to_string(tensor.offset + tensor.size) + "]}";
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  TORCH_CHECK(
      text.size() <= kMostSafetensorsHeader,
      place,
      ": the header would have ",
      text.size(),
      " bytes; readers of the format take ",
      kMostSafetensorsHeader);
  return text;
}

std::string read_safetensors_header(
    const std::string& text, uint64_t data_size, SafetensorsInfo& info) {
  info = {};
  // The parser would pass over a byte order mark, and white space.
  if (text.empty() || text.front() != '{') {
    return "has a header that does not begin with '{'";
  }
  HeaderReader reader(info);
  nlohmann::json::sax_parse(text, &reader);
  if (!reader.fault().empty()) return reader.fault();
  std::sort(
      info.tensors.begin(),
      info.tensors.end(),
      [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
        return std::tie(a.offset, a.size, a.name) <
               std::tie(b.offset, b.size, b.name);
      });
  return layout_fault(info.tensors, data_size);
}

std::string quoted_name(const std::string& name) {
  if (name.size() <= kMostShown) return "'" + name + "'";
  return "'" + name.substr(0, kMostShown) + "...'";
}

}  // namespace stepsize::detail
