#include <c10/util/Type.h>

#include <algorithm>
#include <memory>
#include <typeinfo>
#include <utility>
#include <vector>

#include "csrc/checkpoint/items.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/state/optimizer_state.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize::detail {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerOptions;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

std::string group_key(std::size_t group, const char* name) {
  return "group" + std::to_string(group) + "_" + name;
}

// The options of a group by name, each as a number.
using OptionNumbers = std::vector<std::pair<std::string, double>>;

// Of a class of which nothing is known the rate, or nothing where get_lr() of
// the base class throws.
OptionNumbers option_numbers(const OptimizerOptions& options) {
  OptionNumbers numbers;
  if (const OptimizerTraits* const traits = find_traits(options)) {
    return traits->options().numbers(options);
  }
  try {
    numbers.emplace_back("lr", options.get_lr());
  } catch (const c10::Error&) {  // NOLINT: there is none
  }
  return numbers;
}

bool may_be_missing(const OptimizerTraits* traits, const std::string& name) {
  if (traits == nullptr) return false;
  for (const OptionField& field : traits->options().fields()) {
    if (field.name == name) return field.may_be_missing;
  }
  return false;
}

// Returns what does not fit, as the end of a sentence, or an empty text. Then
// some may be set.
std::string set_option_numbers(
    OptimizerOptions& options, const OptionNumbers& numbers) {
  const auto value_of = [&numbers](const std::string& name) {
    return std::find_if(
        numbers.begin(), numbers.end(), [&name](const auto& number) {
          return number.first == name;
        });
  };
  const OptionNumbers present = option_numbers(options);
  const OptimizerTraits* const traits = find_traits(options);
  for (const auto& own : present) {
    const auto saved = value_of(own.first);
    if (saved == numbers.end()) {
      if (may_be_missing(traits, own.first)) continue;
      return "the option '" + own.first + "' is not in the file";
    }
    if (traits == nullptr) {
      options.set_lr(saved->second);
    } else {
      traits->options().set(options, own.first, saved->second);
    }
  }
  for (const auto& saved : numbers) {
    const bool known =
        std::any_of(present.begin(), present.end(), [&saved](const auto& own) {
          return own.first == saved.first;
        });
    if (!known) return "the option '" + saved.first + "' is unknown here";
  }
  if (traits != nullptr) traits->options().check(options);
  return {};
}

class OptimizerItem : public CheckpointItem {
 public:
  OptimizerItem(const std::string& name, Optimizer& optimizer)
      : CheckpointItem(name, CheckpointEntryKind::kOptimizer),
        optimizer_(&optimizer) {}

  std::string class_name() const override {
    const Optimizer& optimizer = *optimizer_;
    return c10::demangle(typeid(optimizer).name());
  }

  void save(OutputArchive& archive, CheckpointInfo& /*info*/) const override {
    const auto state = optimizer_state(owner(), *optimizer_);
    const auto& groups = optimizer_->param_groups();
    write_int(archive, "groups", static_cast<int64_t>(groups.size()));
    for (std::size_t g = 0; g < groups.size(); ++g) {
      write_strings(archive, group_key(g, "parameters"), parameters(g));
      if (!state->carries_options()) write_options(archive, g);
    }
    OutputArchive own(archive.compilation_unit());
    state->check();
    if (state->is_opaque()) {
      write_tensors(
          own, "bytes", {byte_tensor(archive_bytes([&](OutputArchive& bytes) {
            state->save(bytes);
          }))});
    } else {
      state->save(own);
    }
    archive.write("state", own);
  }

  Change prepare(
      InputArchive& archive,
      const CheckpointInfo& /*info*/,
      Mismatches& mismatches) override {
    Change result = change(Change::Turn::kOptimizer);
    if (!groups_fit(archive, mismatches)) return result;
    const auto state = optimizer_state(owner(), *optimizer_);
    InputArchive own;
    TORCH_CHECK(
        archive.try_read("state", own),
        owner(),
        ": the archive has no 'state'");
    std::vector<std::string> misfits;
    const auto prepare_state = [&](InputArchive& of) {
      result.apply = state->prepare(of, misfits);
    };
    if (state->is_opaque()) {
      load_bytes(read_tensor(own, "its state", "bytes"), prepare_state);
    } else {
      prepare_state(own);
    }
    result.undo = state->keep();
    for (const std::string& misfit : misfits) mismatches.add(owner(), misfit);
    if (!mismatches.empty()) return result;
    std::vector<OptionNumbers> fields;
    if (!state->carries_options()) fields = read_options(archive, mismatches);
    add_options(result, std::move(fields));
    return result;
  }

 private:
  // Type and shape of each parameter of a group.
  std::vector<std::string> parameters(std::size_t group) const {
    std::vector<std::string> texts;
    const auto& groups = optimizer_->param_groups();
    for (const at::Tensor& parameter : groups[group].params()) {
      texts.push_back(type_and_shape(parameter));
    }
    return texts;
  }

  bool groups_fit(InputArchive& archive, Mismatches& mismatches) const {
    const std::size_t present = optimizer_->param_groups().size();
    const int64_t saved =
        read_int(archive, owner(), "groups", int64_t{1} << 31);
    if (saved != static_cast<int64_t>(present)) {
      mismatches.add(
          owner(),
          "has " + std::to_string(saved) + " parameter groups in the file, " +
              std::to_string(present) + " here");
      return false;
    }
    bool fit = true;
    for (std::size_t g = 0; g < present; ++g) {
      fit = group_fits(archive, g, mismatches) && fit;
    }
    return fit;
  }

  bool group_fits(
      InputArchive& archive, std::size_t g, Mismatches& mismatches) const {
    const auto own = parameters(g);
    const auto saved =
        read_strings(archive, owner(), group_key(g, "parameters"));
    const std::string group = "group " + std::to_string(g);
    if (saved.size() != own.size()) {
      mismatches.add(
          owner(),
          group + " has " + std::to_string(saved.size()) +
              " parameters in the file, " + std::to_string(own.size()) +
              " here");
      return false;
    }
    bool fits = true;
    for (std::size_t i = 0; i < own.size(); ++i) {
      if (saved[i] == own[i]) continue;
      fits = false;
      mismatches.add(
          owner(),
          "parameter " + std::to_string(i) + " of " + group + " is " +
              saved[i] + " in the file, " + own[i] + " here");
    }
    return fits;
  }

  void write_options(OutputArchive& archive, std::size_t g) const {
    std::vector<std::string> names;
    std::vector<double> values;
    const auto& group = optimizer_->param_groups()[g];
    if (group.has_options()) {
      for (const auto& [name, value] : option_numbers(group.options())) {
        names.push_back(name);
        values.push_back(value);
      }
    }
    write_strings(archive, group_key(g, "option_names"), names);
    write_doubles(archive, group_key(g, "options"), values);
  }

  std::vector<OptionNumbers> read_options(
      InputArchive& archive, Mismatches& mismatches) const {
    std::vector<OptionNumbers> fields(optimizer_->param_groups().size());
    for (std::size_t g = 0; g < fields.size(); ++g) {
      const auto names =
          read_strings(archive, owner(), group_key(g, "option_names"));
      const auto values =
          read_doubles(archive, owner(), group_key(g, "options"));
      TORCH_CHECK(
          names.size() == values.size(),
          owner(),
          ": the archive has other names than options");
      for (std::size_t i = 0; i < names.size(); ++i) {
        fields[g].emplace_back(names[i], values[i]);
      }
      const auto& group = optimizer_->param_groups()[g];
      if (!group.has_options()) continue;
      const auto trial = group.options().clone();
      const std::string fault = set_option_numbers(*trial, fields[g]);
      if (!fault.empty()) {
        mismatches.add(owner(), "group " + std::to_string(g) + ": " + fault);
      }
    }
    return fields;
  }

  // Options after the state: load() of a foreign class may write some.
  void add_options(Change& change, std::vector<OptionNumbers> fields) const {
    auto& groups = optimizer_->param_groups();
    const auto before =
        std::make_shared<std::vector<std::unique_ptr<OptimizerOptions>>>();
    for (const auto& group : groups) {
      before->push_back(
          group.has_options() ? group.options().clone() : nullptr);
    }
    change.apply = [optimizer = optimizer_,
                    state = std::move(change.apply),
                    fields = std::move(fields)] {
      state();
      auto& present = optimizer->param_groups();
      for (std::size_t g = 0; g < fields.size() && g < present.size(); ++g) {
        if (!present[g].has_options()) continue;
        const std::string fault =
            set_option_numbers(present[g].options(), fields[g]);
        TORCH_CHECK(fault.empty(), "group ", std::to_string(g), ": ", fault);
      }
    };
    change.undo =
        [optimizer = optimizer_, state = std::move(change.undo), before] {
          const auto put_back = [&] {
            auto& present = optimizer->param_groups();
            for (std::size_t g = 0; g < before->size(); ++g) {
              const auto& options = (*before)[g];
              if (options != nullptr) assign_options(present[g], *options);
            }
          };
          // Before the state, which may be checked against them, and after,
          // since load() of a foreign class may write some.
          put_back();
          try {
            state();
          } catch (...) {
            put_back();
            throw;
          }
          put_back();
        };
  }

  Optimizer* optimizer_;
};

}  // namespace

std::unique_ptr<CheckpointItem> optimizer_item(
    const std::string& name, Optimizer& optimizer) {
  return std::make_unique<OptimizerItem>(name, optimizer);
}

}  // namespace stepsize::detail
