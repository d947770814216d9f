#include <ATen/Functions.h>
#include <ATen/MemoryOverlap.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <typeinfo>
#include <utility>
#include <vector>

#include "csrc/checkpoint/items.h"
#include "csrc/checkpoint/tensor_choice.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"

namespace stepsize::detail {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

// Where a tensor of the file is to go.
struct Write {
  at::Tensor place;
  at::Tensor value;
  at::Tensor before;
};

constexpr char kOverlap[] =
    ": several of its elements are one place in memory (as expand() makes "
    "them), which a load cannot write; give the module a clone() of it";

bool overlaps(const at::Tensor& tensor) {
  return at::has_internal_overlap(tensor) == at::MemOverlap::Yes;
}

class ModuleItem : public CheckpointItem {
 public:
  ModuleItem(const std::string& name, torch::nn::Module& module)
      : CheckpointItem(name, CheckpointEntryKind::kModule), module_(&module) {}

  std::string class_name() const override {
    const torch::nn::Module& module = *module_;
    return c10::demangle(typeid(module).name());
  }

  // Names and shapes say more than the name of a class.
  bool any_class() const override { return true; }

  void save(OutputArchive& archive, CheckpointInfo& /*info*/) const override {
    write(archive, "parameter", module_->named_parameters());
    write(archive, "buffer", module_->named_buffers());
  }

  Change prepare(InputArchive& archive, ItemLoad& load) override {
    const auto writes = std::make_shared<std::vector<Write>>();
    const auto parameters = module_->named_parameters();
    const auto buffers = module_->named_buffers();
    add(*writes, archive, "parameter", parameters, load);
    add(*writes, archive, "buffer", buffers, load);
    const std::size_t count = parameters.size() + buffers.size();
    if (writes->empty() && count > 0 && load.mismatches.empty()) {
      load.mismatches.add(
          owner(), "none of its parameters and buffers is to be loaded");
    }
    Change result = change(Change::Turn::kModule);
    if (!load.mismatches.empty()) return result;
    if (writes->size() < count) {
      load.remark = std::to_string(writes->size()) + " of " +
                    std::to_string(count) + " parameters and buffers";
    }
    for (Write& write : *writes) write.before = write.place.clone();
    result.apply = [writes] {
      for (Write& write : *writes) write.place.copy_(write.value);
    };
    result.undo = [writes] {
      for (Write& write : *writes) write.place.copy_(write.before);
    };
    return result;
  }

 private:
  using Named = torch::OrderedDict<std::string, at::Tensor>;

  void write(
      OutputArchive& archive,
      const std::string& what,
      const Named& tensors) const {
    std::vector<std::string> names;
    std::vector<at::Tensor> values;
    for (const auto& entry : tensors) {
      const std::string which = what + " '" + entry.key() + "'";
      TORCH_CHECK(!overlaps(entry.value()), owner(), ": ", which, kOverlap);
      names.push_back(entry.key());
      values.push_back(storable(entry.value(), owner() + ": " + which));
    }
    write_strings(archive, what + "_names", names);
    write_tensors(archive, what + "s", values);
  }

  // One of them that does not fit.
  void misfit(
      ItemLoad& load,
      const std::string& which,
      const std::string& what,
      std::vector<LoadNote>& notes) const {
    if (load.what_fits) {
      notes.push_back({owner(), which, what});
    } else {
      load.mismatches.add(owner(), which + " " + what);
    }
  }

  // What the file has of them, by the names that they have here; without what
  // is not wanted.
  std::map<std::string, at::Tensor> read(
      InputArchive& archive, const std::string& what, ItemLoad& load) const {
    const auto names = read_strings(archive, owner(), what + "_names");
    const auto tensors = read_tensors(archive, owner(), what + "s");
    TORCH_CHECK(
        names.size() == tensors.size(),
        owner(),
        ": the archive has other names than tensors");
    std::map<std::string, at::Tensor> kept;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string name = load.tensors.renamed(names[i]);
      const bool is_new = kept.emplace(name, tensors[i]).second;
      TORCH_CHECK(
          is_new,
          "rename_prefix: two of the ",
          what,
          "s of the file become '",
          name,
          "'");
    }
    return kept;
  }

  void add(
      std::vector<Write>& writes,
      InputArchive& archive,
      const std::string& what,
      const Named& present,
      ItemLoad& load) const {
    const auto kept = read(archive, what, load);
    const auto quoted = [&what](const std::string& name) {
      return what + " '" + name + "'";
    };
    for (const auto& [name, value] : kept) {
      if (present.find(name) != nullptr) continue;
      if (load.tensors.wants(name)) {
        misfit(load, quoted(name), "is in the file alone", load.left_out);
      } else {
        load.left_out.push_back({owner(), quoted(name), "as asked"});
      }
    }
    for (const auto& entry : present) {
      const std::string which = quoted(entry.key());
      if (!load.tensors.wants(entry.key())) {
        load.left_out.push_back({owner(), which, "as asked"});
        continue;
      }
      const auto found = kept.find(entry.key());
      if (found == kept.end() || !found->second.defined()) {
        misfit(load, which, "is not in the file", load.not_found);
        continue;
      }
      const at::Tensor& value = found->second;
      // Its memory: a write to it does not count as a change.
      const at::Tensor place = entry.value().variable_data();
      if (value.sizes() != place.sizes() ||
          value.scalar_type() != place.scalar_type()) {
        misfit(
            load,
            which,
            "is " + type_and_shape(value) + " in the file, " +
                type_and_shape(place) + " here",
            load.left_out);
        continue;
      }
      if (overlaps(place)) {
        // Nothing of the file's: the module is to be mended.
        load.mismatches.add(owner(), which + kOverlap);
        continue;
      }
      writes.push_back({place, value, {}});
    }
  }

  torch::nn::Module* module_;
};

}  // namespace

std::unique_ptr<CheckpointItem> module_item(
    const std::string& name, torch::nn::Module& module) {
  return std::make_unique<ModuleItem>(name, module);
}

}  // namespace stepsize::detail
