#include <ATen/Functions.h>
#include <ATen/MemoryOverlap.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/safetensors.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <array>
#include <cstring>
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

void check_renames(const std::string& kind, const SafetensorsOptions& options) {
  for (const auto& [in_file, here] : options.renames()) {
    TORCH_CHECK(
        in_file != here,
        kind,
        ": rename: both names are '",
        here,
        "'; one of them must differ");
  }
}

// The name with its beginning `from`, whole parts of it between dots, in place
// of `to`; the name itself where it does not begin so, or nothing would stay.
std::string renamed(
    const std::string& name, const std::string& from, const std::string& to) {
  if (name == from) return to.empty() ? name : to;
  std::string rest = name;
  if (!from.empty()) {
    if (name.rfind(from + ".", 0) != 0) return name;
    rest = name.substr(from.size() + 1);
  }
  return to.empty() ? rest : to + "." + rest;
}

std::string name_here(
    const SafetensorsOptions& options, const std::string& in_file) {
  for (const auto& [from, to] : options.renames()) {
    const std::string name = renamed(in_file, from, to);
    if (name != in_file) return name;
  }
  return in_file;
}

std::string name_in_file(
    const SafetensorsOptions& options, const std::string& here) {
  for (const auto& [to, from] : options.renames()) {
    const std::string name = renamed(here, from, to);
    if (name != here) return name;
  }
  return here;
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

// Whether they are two names of one tensor.
bool same_tensor(const at::Tensor& a, const at::Tensor& b) {
  if (a.is_same(b)) return true;
  return a.layout() == at::kStrided && b.layout() == at::kStrided &&
         a.numel() > 0 && a.has_storage() && b.has_storage() &&
         a.data_ptr() == b.data_ptr() && a.scalar_type() == b.scalar_type() &&
         a.device() == b.device() && a.sizes() == b.sizes() &&
         a.strides() == b.strides();
}

// For each member the first one that is the same tensor, by the same address.
std::vector<std::size_t> tied_to(const std::vector<Member>& members) {
  std::vector<std::size_t> first(members.size());
  std::multimap<const void*, std::size_t> known;
  for (std::size_t i = 0; i < members.size(); ++i) {
    first[i] = i;
    const at::Tensor& tensor = members[i].tensor;
    if (tensor.layout() != at::kStrided || !tensor.has_storage()) continue;
    const void* const address = tensor.data_ptr();
    const auto [from, to] = known.equal_range(address);
    const auto found = std::find_if(from, to, [&](const auto& entry) {
      return same_tensor(members[entry.second].tensor, tensor);
    });
    if (found == to) {
      known.emplace(address, i);
    } else {
      first[i] = found->second;
    }
  }
  return first;
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
    const std::vector<std::size_t> first = tied_to(members_);
    std::vector<bool> has_value(members_.size(), false);
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const std::string& name = members_[i].name;
      if (in_file_.count(name) > 0 && choice_.wants(name)) {
        has_value[first[i]] = true;
      }
    }
    std::set<std::string> names_here;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      names_here.insert(members_[i].name);
      add(members_[i], first[i], has_value[first[i]]);
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
    std::map<std::size_t, const Write*> read;  // of tied members one
    for (Write& write : writes_) {
      at::Tensor value = file_.read(*write.source);
      const at::Tensor& place = write.member->tensor;
      if (value.scalar_type() != place.scalar_type()) {
        value = converted(value, place.scalar_type(), write);
      }
      const auto [other, is_first] = read.emplace(write.first, &write);
      if (!is_first && !same_bytes(value, other->second->value)) {
        file_.fail(
            "has other values of " + write.member->text() + " than of " +
            other->second->member->text() + ", which are one tensor here");
      }
      write.value = std::move(value);
    }
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
    std::size_t first;  // the member that it is tied to, or itself
    const SafetensorsTensor* source;
    at::Tensor value;
  };

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

  // `has_value`: whether the file has a name of the same tensor.
  void add(const Member& member, std::size_t first, bool has_value) {
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
    writes_.push_back({&member, first, &source, {}});
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

  static bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
    return std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
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
  check_renames(kind, options);
  TORCH_CHECK(!options.what_fits(), kind, ": what_fits is for a load");
  const LoadOptions choices =
      LoadOptions()
          .only_tensors(options.only_tensors())
          .leave_out_tensors(options.leave_out_tensors());
  detail::TensorChoice choice(choices);
  std::vector<Member> members;
  for (Member& member : members_of(module)) {
    if (!choice.wants(member.name)) continue;
    member.name = name_in_file(options, member.name);
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
  const std::vector<std::size_t> first = tied_to(members);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::string& name = members[i].name;
    TORCH_CHECK(
        i == 0 || members[i - 1].name != name,
        kind,
        ": two parameters or buffers become ",
        quoted_name(name));
    if (first[i] == i) {
      tensors.emplace(name, members[i].tensor);
    } else {
      metadata.emplace(name, members[first[i]].name);
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
  check_renames(kind, options);
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
