#include <ATen/Functions.h>
#include <ATen/MemoryOverlap.h>
#include <c10/core/Device.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/safetensors.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>
#include <vector>

#include "csrc/checkpoint/durable_file.h"
#include "csrc/checkpoint/item.h"
#include "csrc/checkpoint/safetensors_header.h"
#include "csrc/checkpoint/tensor_choice.h"
#include "csrc/core/tensors.h"

namespace stepsize {
namespace {

using detail::quoted_name;
using Names = std::map<std::string, std::string>;

constexpr char kModule[] = "the module";

void check_path(const std::string& kind, const std::string& path) {
  TORCH_CHECK(!path.empty(), kind, ": the path is empty");
  const uint16_t one = 1;
  char first = 0;
  std::memcpy(&first, &one, 1);
  TORCH_CHECK(
      first == 1, kind, ": the format is that of little-endian machines");
}

// A file that is open, with its header read and checked.
class SafetensorsFile {
 public:
  SafetensorsFile(const std::string& kind, const std::string& path)
      : place_(kind + ": " + path), file_(kind, path) {
    std::array<unsigned char, detail::kSafetensorsLength> start{};
    if (file_.size() < start.size()) {
      fail("is too short to be of the format safetensors");
    }
    read_all(0, start.data(), start.size());
    uint64_t length = 0;
    for (std::size_t i = start.size(); i-- > 0;) {
      length = length << 8U | start[i];
    }
    const uint64_t rest = file_.size() - start.size();
    if (length > rest || length > detail::kMostSafetensorsHeader) {
      fail(
          "is not of the format safetensors, or is cut off: its header would "
          "have " +
          std::to_string(length) + " bytes");
    }
    // No more is allocated than the file has.
    std::string header(static_cast<std::size_t>(length), '\0');
    read_all(start.size(), header.data(), header.size());
    data_at_ = start.size() + length;
    const std::string fault =
        detail::read_safetensors_header(header, rest - length, info_);
    if (!fault.empty()) fail(fault);
  }

  const SafetensorsInfo& info() const { return info_; }

  at::Tensor read(const SafetensorsTensor& tensor) {
    const auto type = detail::safetensors_type(tensor.dtype);
    if (!type.has_value()) {
      fail(
          "has a tensor " + quoted_name(tensor.name) + " of the type " +
          quoted_name(tensor.dtype) + ", which is not supported");
    }
    at::Tensor value = at::empty(tensor.shape, at::TensorOptions(*type));
    read_all(
        data_at_ + static_cast<uint64_t>(tensor.offset),
        value.data_ptr(),
        value.nbytes());
    // Any other byte would be a bool that C++ does not know.
    if (*type == at::kBool && value.numel() > 0 &&
        value.view(at::kByte).max().item<uint8_t>() > 1) {
      fail(
          "has a tensor " + quoted_name(tensor.name) +
          " of bools with a byte that is neither 0 nor 1");
    }
    return value;
  }

  [[noreturn]] void fail(const std::string& what) const {
    TORCH_CHECK(false, place_, ": the file ", what);
  }

 private:
  void read_all(uint64_t at, void* bytes, std::size_t size) {
    const std::size_t read = file_.read(at, bytes, size);
    file_.check();
    if (read != size) fail("cannot be read to its end");
  }

  std::string place_;
  detail::SourceFile file_;
  uint64_t data_at_ = 0;
  SafetensorsInfo info_;
};

// The name with its beginning `from`, whole parts of it between dots, in place
// of `to`; none where it does not begin so, or nothing would stay.
std::optional<std::string> renamed(
    const std::string& name, const std::string& from, const std::string& to) {
  std::string rest;
  if (name != from) {
    if (!from.empty() && name.rfind(from + ".", 0) != 0) return std::nullopt;
    rest = from.empty() ? name : name.substr(from.size() + 1);
  } else if (to.empty()) {
    return std::nullopt;
  }
  return to + (to.empty() || rest.empty() ? "" : ".") + rest;
}

std::string name_here(
    const SafetensorsOptions& options, const std::string& in_file) {
  for (const auto& [from, to] : options.renames()) {
    if (const auto name = renamed(in_file, from, to)) return *name;
  }
  return in_file;
}

// Throws where a load would not come back from it to the name here.
std::string name_in_file(
    const std::string& kind,
    const SafetensorsOptions& options,
    const std::string& here) {
  std::optional<std::string> name;
  for (const auto& [to, from] : options.renames()) {
    if ((name = renamed(here, from, to))) break;
  }
  const std::string in_file = name.value_or(here);
  const std::string back = name_here(options, in_file);
  TORCH_CHECK(
      back == here,
      kind,
      ": rename: ",
      quoted_name(here),
      " becomes ",
      quoted_name(in_file),
      " in the file, which a load would take for ",
      quoted_name(back));
  return in_file;
}

// A parameter or a buffer.
struct Member {
  const char* what;
  std::string name;
  at::Tensor tensor;

  std::string text() const {
    return std::string(what) + " " + quoted_name(name);
  }
};

std::vector<Member> members_of(const torch::nn::Module& module) {
  std::vector<Member> members;
  const auto add = [&members](const char* what, const auto& tensors) {
    for (const auto& entry : tensors) {
      if (!entry.value().defined()) continue;
      members.push_back({what, entry.key(), entry.value()});
    }
  };
  add("parameter", module.named_parameters());
  add("buffer", module.named_buffers());
  return members;
}

// The bytes from a tensor's first element to its last; none where it has no
// memory, or is not dense or strided.
struct Extent {
  explicit Extent(const at::Tensor& tensor)
      : device(tensor.device().type(), tensor.device().index()) {
    if (tensor.layout() != at::kStrided || !tensor.has_storage() ||
        tensor.numel() == 0 || tensor.data_ptr() == nullptr) {
      return;
    }
    int64_t last = 0;
    for (int64_t i = 0; i < tensor.dim(); ++i) {
      last += (tensor.size(i) - 1) * tensor.stride(i);
    }
    begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
    end = begin + static_cast<uintptr_t>(last + 1) *
                      static_cast<uintptr_t>(tensor.element_size());
  }
  bool operator==(const Extent& other) const {
    return device == other.device && begin == other.begin && end == other.end;
  }

  std::pair<c10::DeviceType, c10::DeviceIndex> device;
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// For each member the one whose values give its own: another name of the same
// tensor, or a tensor without gaps that it lies in, as Python's save_model()
// takes them; else itself. Only those that `may_hold` hold others.
std::vector<std::size_t> holders(
    const std::vector<Member>& members,
    const std::function<bool(const Member&)>& may_hold) {
  struct Place {
    Extent extent;
    int rank;  // 0: may hold what lies in it, 1: other names, 2: nothing
    std::size_t index;
  };
  std::vector<std::size_t> holder(members.size());
  std::vector<Place> places;
  for (std::size_t i = 0; i < members.size(); ++i) {
    holder[i] = i;
    const at::Tensor& tensor = members[i].tensor;
    const Extent extent(tensor);
    if (extent.end == 0) continue;
    const int rank = !may_hold(members[i])                   ? 2
                     : tensor.is_non_overlapping_and_dense() ? 0
                                                             : 1;
    places.push_back({extent, rank, i});
  }
  // Each after those that it lies in.
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    const Extent& x = a.extent;
    const Extent& y = b.extent;
    return std::tie(x.device, x.begin, y.end, a.rank, a.index) <
           std::tie(y.device, y.begin, x.end, b.rank, b.index);
  });
  const Place* widest = nullptr;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const Place& place = places[i];
    const at::Tensor& tensor = members[place.index].tensor;
    if (widest != nullptr && place.extent.device == widest->extent.device &&
        place.extent.end <= widest->extent.end) {
      holder[place.index] = widest->index;
      continue;
    }
    if (place.rank == 0) widest = &place;
    for (std::size_t j = i; j-- > 0 && places[j].extent == place.extent;) {
      const at::Tensor& other = members[places[j].index].tensor;
      if (places[j].rank == 1 && tensor.sizes() == other.sizes() &&
          tensor.strides() == other.strides() &&
          tensor.scalar_type() == other.scalar_type()) {
        holder[place.index] = holder[places[j].index];
        break;
      }
    }
  }
  return holder;
}

std::string type_text(const SafetensorsTensor& tensor) {
  std::ostringstream text;
  const auto type = detail::safetensors_type(tensor.dtype);
  if (type.has_value()) {
    text << *type;
  } else {
    text << tensor.dtype;
  }
  text << " of " << at::IntArrayRef(tensor.shape);
  return text.str();
}

void write_file(
    const std::string& kind,
    const std::string& path,
    const std::map<std::string, at::Tensor>& tensors,
    const Names& metadata) {
  const c10::AutoGradMode no_grad(false);
  const std::string place = kind + ": " + path;
  struct Entry {
    int rank;
    const std::string* name;
    const at::Tensor* tensor;
  };
  std::vector<Entry> entries;
  for (const auto& [name, tensor] : tensors) {
    const std::string which = place + ": tensor " + quoted_name(name);
    TORCH_CHECK(tensor.defined(), which, " is undefined");
    TORCH_CHECK(
        tensor.layout() == at::kStrided,
        which,
        ": its layout is ",
        tensor.layout(),
        "; only dense tensors can be saved");
    const int rank = detail::safetensors_dtype(tensor.scalar_type()).rank;
    TORCH_CHECK(
        rank >= 0,
        which,
        ": its type is ",
        tensor.scalar_type(),
        ", which the format does not have");
    entries.push_back({rank, &name, &tensor});
  }
  // The larger numbers first, so that all of them lie on their alignment.
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(b.rank, *a.name) < std::tie(a.rank, *b.name);
  });
  SafetensorsInfo info;
  info.metadata = metadata;
  int64_t end = 0;
  for (const Entry& entry : entries) {
    SafetensorsTensor tensor;
    tensor.name = *entry.name;
    tensor.dtype = detail::safetensors_dtype(entry.tensor->scalar_type()).name;
    tensor.shape = entry.tensor->sizes().vec();
    tensor.offset = end;
    tensor.size = entry.tensor->numel() *
                  static_cast<int64_t>(entry.tensor->element_size());
    end += tensor.size;
    info.tensors.push_back(std::move(tensor));
  }
  const std::string header = detail::safetensors_header_text(place, info);
  std::array<char, detail::kSafetensorsLength> length{};
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(header.size() >> (8 * i) & 0xFFU);
  }
  detail::DurableFile file(kind, path);
  file.write(length.data(), length.size());
  file.write(header.data(), header.size());
  for (const Entry& entry : entries) {
    const at::Tensor plain = entry.tensor->detach()
                                 .resolve_conj()
                                 .resolve_neg()
                                 .to(at::kCPU)
                                 .contiguous();
    if (plain.numel() > 0) file.write(plain.data_ptr(), plain.nbytes());
  }
  file.commit();
}

// One load into a module: what is to be written where, and what is said of it.
class ModuleLoad {
 public:
  ModuleLoad(
      const std::string& kind,
      const std::string& path,
      torch::nn::Module& module,
      const SafetensorsOptions& options)
      : place_(kind + ": " + path),
        options_(&options),
        choices_(LoadOptions()
                     .only_tensors(options.only_tensors())
                     .leave_out_tensors(options.leave_out_tensors())),
        choice_(choices_),
        file_(kind, path),
        members_(members_of(module)) {}

  // Changes nothing, and reads no tensor.
  void prepare() {
    for (const SafetensorsTensor& tensor : file_.info().tensors) {
      const std::string name = name_here(*options_, tensor.name);
      TORCH_CHECK(
          in_file_.emplace(name, &tensor).second,
          place_,
          ": rename: two tensors of the file become ",
          quoted_name(name));
    }
    const std::vector<std::size_t> holder =
        holders(members_, [this](const Member& member) {
          return in_file_.count(member.name) > 0 && choice_.wants(member.name);
        });
    std::set<std::string> names_here;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      names_here.insert(members_[i].name);
      add(members_[i], holder[i] != i);
    }
    for (const auto& [name, tensor] : in_file_) {
      if (names_here.count(name) > 0) continue;
      const std::string which = "tensor " + quoted_name(name);
      if (choice_.wants(name)) {
        misfit(which, "is in the file alone", result_.left_out);
      } else {
        result_.left_out.push_back({kModule, which, "as asked"});
      }
    }
    choice_.check_patterns(place_);
    TORCH_CHECK(
        mismatches_.empty(),
        place_,
        ": the file does not fit:",
        mismatches_.text());
    if (writes_.empty() && !result_.complete()) {
      std::ostringstream text;
      text << result_;
      TORCH_CHECK(
          false, place_, ": nothing of the file is loaded:\n", text.str());
    }
  }

  // In the order of the file. Changes nothing.
  void read() {
    std::sort(
        writes_.begin(), writes_.end(), [](const Write& a, const Write& b) {
          return a.source->offset < b.source->offset;
        });
    for (Write& write : writes_) {
      at::Tensor value = file_.read(*write.source);
      const at::Tensor& place = write.member->tensor;
      if (value.scalar_type() != place.scalar_type()) {
        value = converted(value, place.scalar_type(), write);
      }
      write.value = std::move(value);
    }
    check_shared();
  }

  LoadResult apply() {
    for (Write& write : writes_) {
      // Its memory: a write to it does not count as a change for autograd.
      write.member->tensor.variable_data().copy_(write.value);
    }
    std::string remark;
    if (!result_.complete()) {
      remark = std::to_string(writes_.size()) + " of " +
               std::to_string(members_.size()) + " parameters and buffers";
    }
    if (conversions_ > 0) {
      if (!remark.empty()) remark += ", ";
      remark += std::to_string(conversions_) + " converted to another type";
    }
    result_.loaded.push_back({kModule, {}, remark});
    return std::move(result_);
  }

 private:
  struct Write {
    const Member* member;
    const SafetensorsTensor* source;
    at::Tensor value;
  };
  using Shared = std::pair<Extent, const Write*>;

  void misfit(
      const std::string& which,
      const std::string& what,
      std::vector<LoadNote>& notes) {
    if (options_->what_fits()) {
      notes.push_back({kModule, which, what});
    } else {
      mismatches_.add(kModule, which + " " + what);
    }
  }

  // `has_value`: whether the file has its values under another name.
  void add(const Member& member, bool has_value) {
    if (!choice_.wants(member.name)) {
      result_.left_out.push_back({kModule, member.text(), "as asked"});
      return;
    }
    const auto found = in_file_.find(member.name);
    if (found == in_file_.end()) {
      if (!has_value) {
        misfit(member.text(), "is not in the file", result_.not_found);
      }
      return;
    }
    const SafetensorsTensor& source = *found->second;
    const at::Tensor& place = member.tensor;
    const auto type = detail::safetensors_type(source.dtype);
    const bool fits_type =
        type.has_value() && (*type == place.scalar_type() ||
                             (at::isFloatingType(*type) &&
                              at::isFloatingType(place.scalar_type())));
    if (!fits_type || place.sizes() != at::IntArrayRef(source.shape)) {
      misfit(
          member.text(),
          "is " + type_text(source) + " in the file, " +
              detail::type_and_shape(place) + " here",
          result_.left_out);
      return;
    }
    if (place.layout() != at::kStrided ||
        at::has_internal_overlap(place) == at::MemOverlap::Yes) {
      // Nothing of the file's: the module is to be mended.
      mismatches_.add(
          kModule,
          member.text() +
              " is sparse, or several of its elements are one "
              "place in memory: a load cannot write it");
      return;
    }
    writes_.push_back({&member, &source, {}});
  }

  at::Tensor converted(
      const at::Tensor& value, at::ScalarType type, const Write& write) {
    at::Tensor result = value.to(type);
    if (at::isfinite(value).ne(at::isfinite(result)).any().item<bool>()) {
      std::ostringstream text;
      text << "has finite numbers of " << write.member->text()
           << " that are infinite as " << type;
      file_.fail(text.str());
    }
    ++conversions_;
    return result;
  }

  // What lies in the same memory must have the same values there.
  void check_shared() const {
    std::vector<Shared> places;
    for (const Write& write : writes_) {
      const Extent extent(write.member->tensor);
      if (extent.end != 0) places.emplace_back(extent, &write);
    }
    std::stable_sort(
        places.begin(), places.end(), [](const Shared& a, const Shared& b) {
          return std::tie(a.first.device, a.first.begin) <
                 std::tie(b.first.device, b.first.begin);
        });
    for (auto from = places.cbegin(); from != places.cend();) {
      uintptr_t end = from->first.end;
      auto to = from + 1;
      for (; to != places.cend() && to->first.device == from->first.device &&
             to->first.begin < end;
           ++to) {
        end = std::max(end, to->first.end);
      }
      if (to - from > 1) check_group({from, to}, end);
      from = to;
    }
  }

  // Of extents that end before `end`: writes all of them to a copy of the
  // memory, and looks what is still there.
  void check_group(const std::vector<Shared>& group, uintptr_t end) const {
    constexpr uintptr_t kAlignment = 16;
    const uintptr_t base = group.front().first.begin / kAlignment * kAlignment;
    std::vector<char> memory(end - base);
    const auto view = [&](const Shared& part) {
      const at::Tensor& tensor = part.second->member->tensor;
      return at::from_blob(
          memory.data() + (part.first.begin - base),
          tensor.sizes(),
          tensor.strides(),
          at::TensorOptions(tensor.scalar_type()));
    };
    const auto write = [&](const Shared& part) {
      view(part).copy_(part.second->value);
    };
    const auto is_there = [&](const Shared& part) {
      const at::Tensor found = view(part).contiguous();
      const at::Tensor& value = part.second->value;
      return std::memcmp(found.data_ptr(), value.data_ptr(), value.nbytes()) ==
             0;
    };
    for (const Shared& part : group) write(part);
    for (const Shared& part : group) {
      if (is_there(part)) continue;
      write(part);
      const auto other =
          std::find_if(group.begin(), group.end(), [&](const Shared& later) {
            write(later);
            return !is_there(part);
          });
      file_.fail(
          "has other values of " + part.second->member->text() + " than of " +
          (other == group.end() ? part : *other).second->member->text() +
          ", which share their memory here");
    }
  }

  std::string place_;
  const SafetensorsOptions* options_;
  LoadOptions choices_;
  detail::TensorChoice choice_;
  SafetensorsFile file_;
  std::vector<Member> members_;
  std::map<std::string, const SafetensorsTensor*> in_file_;  // by names here
  detail::Mismatches mismatches_;
  std::vector<Write> writes_;
  int64_t conversions_ = 0;
  LoadResult result_;
};

}  // namespace

void save_safetensors(
    const std::string& path,
    const torch::nn::Module& module,
    const SafetensorsOptions& options) {
  const std::string kind = "save_safetensors";
  check_path(kind, path);
  TORCH_CHECK(!options.what_fits(), kind, ": what_fits is for a load");
  const LoadOptions choices =
      LoadOptions()
          .only_tensors(options.only_tensors())
          .leave_out_tensors(options.leave_out_tensors());
  detail::TensorChoice choice(choices);
  std::vector<Member> members;
  for (Member& member : members_of(module)) {
    if (!choice.wants(member.name)) continue;
    member.name = name_in_file(kind, options, member.name);
    members.push_back(std::move(member));
  }
  choice.check_patterns(kind);
  std::sort(
      members.begin(), members.end(), [](const Member& a, const Member& b) {
        return a.name < b.name;
      });
  std::map<std::string, at::Tensor> tensors;
  Names metadata = options.metadata();
  metadata.emplace("format", "pt");
  const std::vector<std::size_t> holder =
      holders(members, [](const Member&) { return true; });
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (holder[i] == i) {
      tensors.emplace(members[i].name, members[i].tensor);
    } else {
      metadata.emplace(members[i].name, members[holder[i]].name);
    }
  }
  write_file(kind, path, tensors, metadata);
}

void save_safetensors(
    const std::string& path,
    const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata) {
  const std::string kind = "save_safetensors";
  check_path(kind, path);
  write_file(kind, path, tensors, metadata);
}

LoadResult load_safetensors(
    const std::string& path,
    torch::nn::Module& module,
    const SafetensorsOptions& options) {
  const std::string kind = "load_safetensors";
  check_path(kind, path);
  TORCH_CHECK(options.metadata().empty(), kind, ": metadata is for a save");
  const c10::AutoGradMode no_grad(false);
  ModuleLoad load(kind, path, module, options);
  load.prepare();
  load.read();
  return load.apply();
}

std::map<std::string, at::Tensor> load_safetensors(const std::string& path) {
  const std::string kind = "load_safetensors";
  check_path(kind, path);
  SafetensorsFile file(kind, path);
  std::map<std::string, at::Tensor> tensors;
  for (const SafetensorsTensor& tensor : file.info().tensors) {
    tensors.emplace(tensor.name, file.read(tensor));
  }
  return tensors;
}

SafetensorsInfo read_safetensors_info(const std::string& path) {
  const std::string kind = "read_safetensors_info";
  check_path(kind, path);
  return SafetensorsFile(kind, path).info();
}

}  // namespace stepsize
