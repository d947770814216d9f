#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "csrc/checkpoint/checkpoint_file.h"
#include "csrc/checkpoint/guarded.h"
#include "csrc/checkpoint/parts.h"
#include "csrc/checkpoint/random_items.h"
#include "csrc/checkpoint/save.h"

namespace stepsize {
namespace detail {
namespace {

using torch::serialize::InputArchive;

// Finds the entries of the file that the items are to be read from.
class Matching {
 public:
  Matching(const CheckpointParts& parts, const CheckpointInfo& info)
      : parts_(&parts), info_(&info) {}

  // The place of each item's entry; what is missing, too many or of another
  // class goes to `mismatches`.
  std::vector<std::size_t> places(Mismatches& mismatches) const {
    std::vector<std::size_t> places;
    for (const auto& item : parts_->items) {
      const std::size_t at = place_of(*item);
      places.push_back(at);
      if (at == info_->entries.size()) {
        mismatches.add(item->owner(), "is not in the file");
        continue;
      }
      const std::string own = item->class_name();
      const std::string& saved = info_->entries[at].class_name;
      if (!item->any_class() && own != saved) {
        mismatches.add(
            item->owner(),
            "is a " + saved + " in the file, a " + own + " here");
      }
    }
    for (const CheckpointEntry& entry : info_->entries) {
      if (!is_named(entry)) {
        mismatches.add(
            std::string(checkpoint_entry_kind_name(entry.kind)) + " '" +
                entry.name + "'",
            "is in the file alone");
      }
    }
    return places;
  }

 private:
  std::size_t place_of(const CheckpointItem& item) const {
    const auto& entries = info_->entries;
    const auto found = std::find_if(
        entries.begin(), entries.end(), [&](const CheckpointEntry& entry) {
          return entry.name == item.name() && entry.kind == item.kind();
        });
    return static_cast<std::size_t>(found - entries.begin());
  }

  bool is_named(const CheckpointEntry& entry) const {
    return std::any_of(
        parts_->items.begin(), parts_->items.end(), [&](const auto& item) {
          return entry.name == item->name() && entry.kind == item->kind();
        });
  }

  const CheckpointParts* parts_;
  const CheckpointInfo* info_;
};

void refuse(
    const std::string& kind,
    const std::string& path,
    const Mismatches& mismatches) {
  TORCH_CHECK(
      mismatches.empty(),
      kind,
      ": ",
      path,
      ": the file does not fit:",
      mismatches.text());
}

std::vector<Change> prepare(
    const std::string& place,
    const CheckpointParts& parts,
    CheckpointFile& file,
    Mismatches& mismatches) {
  const CheckpointInfo& info = file.info();
  std::vector<Change> changes;
  const auto places = Matching(parts, info).places(mismatches);
  if (parts.random_state && !info.random_state) {
    mismatches.add(
        "the random state",
        "is not in the file; random_state(false) does without it");
  }
  if (!mismatches.empty()) return changes;
  InputArchive data;
  file.read_data(data);
  const auto add =
      [&](const std::string& key, const std::string& owner, const auto& call) {
        guarded(place + ": " + owner, [&] {
          InputArchive entry;
          TORCH_CHECK(data.try_read(key, entry), "the file has no '", key, "'");
          changes.push_back(call(entry));
        });
      };
  for (std::size_t i = 0; i < parts.items.size(); ++i) {
    CheckpointItem& item = *parts.items[i];
    add("entry" + std::to_string(places[i]),
        item.owner(),
        [&](InputArchive& entry) {
          return item.prepare(entry, info, mismatches);
        });
  }
  if (parts.random_state && info.random_state) {
    add("random_state", "the random state", [&](InputArchive& entry) {
      return prepare_random_states(entry, mismatches);
    });
  }
  std::stable_sort(
      changes.begin(), changes.end(), [](const Change& a, const Change& b) {
        return a.turn < b.turn;
      });
  return changes;
}

// Undoes the first `count` changes, the last one first. Returns what failed.
std::string undo_all(const std::vector<Change>& changes, std::size_t count) {
  std::string failures;
  for (std::size_t i = count; i-- > 0;) {
    try {
      changes[i].undo();
    } catch (...) {
      failures += "\n  " + changes[i].owner + " could not be put back: " +
                  text_of(std::current_exception());
    }
  }
  return failures;
}

void apply_all(const std::string& place, const std::vector<Change>& changes) {
  for (std::size_t i = 0; i < changes.size(); ++i) {
    std::string failures;
    try {
      guarded(place + ": " + changes[i].owner, changes[i].apply);
      continue;
    } catch (const c10::Error& error) {
      failures = error.what_without_backtrace() + undo_all(changes, i + 1);
    }
    TORCH_CHECK(false, failures);
  }
}

}  // namespace

std::optional<int64_t> load(
    const std::string& kind, const std::string& path, Checkpoint& checkpoint) {
  TORCH_CHECK(!path.empty(), kind, ": the path is empty");
  const c10::AutoGradMode no_grad(false);
  CheckpointFile file(kind, path);
  const RandomStates random = present_random_states();
  try {
    Mismatches mismatches;
    const auto changes =
        prepare(kind + ": " + path, checkpoint.parts(), file, mismatches);
    refuse(kind, path, mismatches);
    apply_all(kind + ": " + path, changes);
  } catch (...) {
    // Whatever a load() may have drawn.
    set_random_states(random);
    throw;
  }
  checkpoint.values() = file.info().values;
  return file.info().step;
}

}  // namespace detail

void load_checkpoint(const std::string& path, Checkpoint& checkpoint) {
  detail::load("load_checkpoint", path, checkpoint);
}

}  // namespace stepsize
