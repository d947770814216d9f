#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <exception>
#include <sstream>
#include <utility>
#include <vector>

#include "csrc/checkpoint/checkpoint_file.h"
#include "csrc/checkpoint/guarded.h"
#include "csrc/checkpoint/parts.h"
#include "csrc/checkpoint/random_items.h"
#include "csrc/checkpoint/save.h"
#include "csrc/checkpoint/tensor_choice.h"
#include "csrc/optim/name_patterns.h"

namespace stepsize {
namespace detail {
namespace {

using torch::serialize::InputArchive;

constexpr char kRandomState[] = "the random state";
constexpr char kAsAsked[] = "as asked";

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string owner_of(const CheckpointEntry& entry) {
  return std::string(checkpoint_entry_kind_name(entry.kind)) + " '" +
         entry.name + "'";
}

// A change, and what is to be said of it.
struct Step {
  Change change;
  std::string remark;
};

// One load: from the file and the items to the changes, and what is said of
// them.
class Load {
 public:
  Load(
      std::string place,
      const CheckpointParts& parts,
      const LoadOptions& options,
      CheckpointFile& file)
      : place_(std::move(place)),
        parts_(&parts),
        options_(&options),
        file_(&file),
        info_(&file.info()),
        tensors_(options) {}

  // Changes nothing.
  void prepare();
  // All of it or nothing.
  LoadResult apply();

 private:
  bool asks_for(const std::string& name) const {
    const auto& only = options_->only();
    return (only.empty() || has(only, name)) &&
           !has(options_->leave_out(), name);
  }
  bool may_fail(const std::string& name) const {
    return options_->what_fits() || has(options_->what_fits_of(), name);
  }
  bool asks_for_random_state() const {
    return parts_->random_state && options_->only().empty();
  }

  void check_names() const;
  void check_names(
      const char* option, const std::vector<std::string>& names) const;
  std::size_t place_of(const CheckpointItem& item) const;
  bool is_named(const CheckpointEntry& entry) const;
  // The items that the file has, and where.
  std::vector<std::pair<CheckpointItem*, std::size_t>> matched();
  // What does not fit, of an item and of what only the file has.
  void misfit(
      const std::string& name,
      const std::string& owner,
      const std::string& what,
      std::vector<LoadNote>& notes);
  void prepare_item(CheckpointItem& item, InputArchive& entry);
  void prepare_random_state(InputArchive& entry);
  void refuse_misfits() const;
  void refuse_nothing() const;
  void undo(std::size_t count, std::string failure) const;

  std::string place_;  // "load_checkpoint: PATH"
  const CheckpointParts* parts_;
  const LoadOptions* options_;
  CheckpointFile* file_;
  const CheckpointInfo* info_;
  TensorChoice tensors_;
  Mismatches mismatches_;
  std::vector<Step> steps_;
  LoadResult result_;
};

void Load::check_names() const {
  check_names("only", options_->only());
  check_names("leave_out", options_->leave_out());
  check_names("what_fits_of", options_->what_fits_of());
}

void Load::check_names(
    const char* option, const std::vector<std::string>& names) const {
  std::vector<std::string> known;
  for (const auto& item : parts_->items) known.push_back(item->name());
  for (const CheckpointEntry& entry : info_->entries) {
    if (!has(known, entry.name)) known.push_back(entry.name);
  }
  for (const std::string& name : names) {
    TORCH_CHECK(
        has(known, name),
        place_,
        ": ",
        option,
        ": '",
        name,
        "' is neither in the file nor in the Checkpoint",
        known.empty() ? "" : ", which have " + some_of(known));
  }
}

std::size_t Load::place_of(const CheckpointItem& item) const {
  const auto& entries = info_->entries;
  const auto found = std::find_if(
      entries.begin(), entries.end(), [&](const CheckpointEntry& entry) {
        return entry.name == item.name() && entry.kind == item.kind();
      });
  return static_cast<std::size_t>(found - entries.begin());
}

bool Load::is_named(const CheckpointEntry& entry) const {
  return std::any_of(
      parts_->items.begin(), parts_->items.end(), [&](const auto& item) {
        return entry.name == item->name() && entry.kind == item->kind();
      });
}

void Load::misfit(
    const std::string& name,
    const std::string& owner,
    const std::string& what,
    std::vector<LoadNote>& notes) {
  if (may_fail(name)) {
    notes.push_back({owner, {}, what});
  } else {
    mismatches_.add(owner, what);
  }
}

std::vector<std::pair<CheckpointItem*, std::size_t>> Load::matched() {
  std::vector<std::pair<CheckpointItem*, std::size_t>> matched;
  for (const auto& item : parts_->items) {
    const std::string owner = item->owner();
    const std::size_t at = place_of(*item);
    if (!asks_for(item->name())) {
      result_.left_out.push_back({owner, {}, kAsAsked});
      continue;
    }
    if (at == info_->entries.size()) {
      misfit(item->name(), owner, "is not in the file", result_.not_found);
      continue;
    }
    const std::string own = item->class_name();
    const std::string& saved = info_->entries[at].class_name;
    if (!item->any_class() && own != saved) {
      misfit(
          item->name(),
          owner,
          "is a " + saved + " in the file, a " + own + " here",
          result_.left_out);
      continue;
    }
    matched.emplace_back(item.get(), at);
  }
  for (const CheckpointEntry& entry : info_->entries) {
    if (is_named(entry)) continue;
    if (!asks_for(entry.name)) {
      result_.left_out.push_back({owner_of(entry), {}, kAsAsked});
    } else {
      misfit(
          entry.name,
          owner_of(entry),
          "is in the file alone",
          result_.left_out);
    }
  }
  return matched;
}

void Load::prepare() {
  check_names();
  const auto items = matched();
  const bool random = asks_for_random_state();
  if (random && !info_->random_state) {
    if (options_->what_fits()) {
      result_.not_found.push_back({kRandomState, {}, "is not in the file"});
    } else {
      mismatches_.add(
          kRandomState,
          "is not in the file; random_state(false) does without it");
    }
  }
  refuse_misfits();
  InputArchive data;
  file_->read_data(data);
  const auto open =
      [&](const std::string& key, const std::string& owner, const auto& call) {
        guarded(place_ + ": " + owner, [&] {
          InputArchive entry;
          TORCH_CHECK(data.try_read(key, entry), "the file has no '", key, "'");
          call(entry);
        });
      };
  for (const auto& [item, at] : items) {
    CheckpointItem& its_item = *item;
    open(
        "entry" + std::to_string(at),
        its_item.owner(),
        [&](InputArchive& entry) { prepare_item(its_item, entry); });
  }
  if (random && info_->random_state) {
    open("random_state", kRandomState, [&](InputArchive& entry) {
      prepare_random_state(entry);
    });
  }
  // Before what does not fit: it may be for a name that was misspelt.
  tensors_.check_patterns(place_);
  refuse_misfits();
  std::stable_sort(
      steps_.begin(), steps_.end(), [](const Step& a, const Step& b) {
        return a.change.turn < b.change.turn;
      });
  if (steps_.empty()) refuse_nothing();
}

void Load::prepare_item(CheckpointItem& item, InputArchive& entry) {
  ItemLoad load{*info_, tensors_};
  load.what_fits = may_fail(item.name());
  load.options_from = options_->options_from();
  Change change;
  try {
    change = item.prepare(entry, load);
  } catch (const c10::Error& error) {
    // An optimizer's state may say so what does not fit.
    if (!load.what_fits) throw;
    load.mismatches.add(item.owner(), error.what_without_backtrace());
  }
  const auto move = [](std::vector<LoadNote>& from, std::vector<LoadNote>& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  move(load.left_out, result_.left_out);
  move(load.not_found, result_.not_found);
  if (load.mismatches.empty()) {
    steps_.push_back({std::move(change), load.remark});
  } else if (load.what_fits) {
    result_.left_out.push_back({item.owner(), {}, load.mismatches.reason()});
  } else {
    mismatches_.add(load.mismatches);
  }
}

void Load::prepare_random_state(InputArchive& entry) {
  Mismatches mismatches;
  Change change = prepare_random_states(entry, mismatches);
  if (mismatches.empty()) {
    steps_.push_back({std::move(change), {}});
  } else if (options_->what_fits()) {
    result_.left_out.push_back({kRandomState, {}, mismatches.reason()});
  } else {
    mismatches_.add(mismatches);
  }
}

void Load::refuse_misfits() const {
  TORCH_CHECK(
      mismatches_.empty(),
      place_,
      ": the file does not fit:",
      mismatches_.text());
}

// Of a whole load that is no mistake: two sides may have nothing to say.
void Load::refuse_nothing() const {
  if (result_.complete()) return;
  std::ostringstream text;
  text << result_;
  TORCH_CHECK(false, place_, ": nothing of the file is loaded:\n", text.str());
}

// Undoes the first `count` steps, the last one first, and throws.
void Load::undo(std::size_t count, std::string failure) const {
  for (std::size_t i = count; i-- > 0;) {
    try {
      steps_[i].change.undo();
    } catch (...) {
      failure += "\n  " + steps_[i].change.owner +
                 " could not be put back: " + text_of(std::current_exception());
    }
  }
  TORCH_CHECK(false, failure);
}

LoadResult Load::apply() {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const Change& change = steps_[i].change;
    std::string refusal;
    try {
      if (change.may_refuse) {
        try {
          change.apply();
        } catch (const c10::Error& error) {
          change.undo();
          refusal = error.what_without_backtrace();
        }
      } else {
        change.apply();
      }
    } catch (...) {
      std::string failure;
      const auto thrown = std::current_exception();
      try {
        guarded(place_ + ": " + change.owner, [&] {
          std::rethrow_exception(thrown);
        });
      } catch (const c10::Error& error) {
        failure = error.what_without_backtrace();
      }
      undo(i + 1, failure);
    }
    if (!refusal.empty()) {
      result_.left_out.push_back({change.owner, {}, refusal});
      continue;
    }
    std::string remark = steps_[i].remark;
    if (change.remark != nullptr) remark += *change.remark;
    result_.loaded.push_back({change.owner, {}, remark});
  }
  if (result_.loaded.empty()) refuse_nothing();
  return std::move(result_);
}

}  // namespace

Loaded load(
    const std::string& kind,
    const std::string& path,
    Checkpoint& checkpoint,
    const LoadOptions& options) {
  TORCH_CHECK(!path.empty(), kind, ": the path is empty");
  const c10::AutoGradMode no_grad(false);
  CheckpointFile file(kind, path);
  const RandomStates random = present_random_states();
  Loaded loaded;
  try {
    Load load(kind + ": " + path, checkpoint.parts(), options, file);
    load.prepare();
    loaded.result = load.apply();
  } catch (...) {
    // Whatever a load() may have drawn.
    set_random_states(random);
    throw;
  }
  if (options.only().empty()) checkpoint.values() = file.info().values;
  loaded.step = file.info().step;
  return loaded;
}

}  // namespace detail

LoadResult load_checkpoint(
    const std::string& path,
    Checkpoint& checkpoint,
    const LoadOptions& options) {
  return detail::load("load_checkpoint", path, checkpoint, options).result;
}

}  // namespace stepsize
