#pragma once

#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/checkpoint/load_result.h>
#include <stepsize/state/options_from.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize::detail {

/// What of a file does not fit, one sentence each.
class Mismatches {
 public:
  void add(const std::string& owner, const std::string& what);
  void add(const Mismatches& others);
  bool empty() const { return lines_.empty(); }
  /// The first ten of them, a line each.
  std::string text() const;
  /// Without the owners, in one line.
  std::string reason() const;

 private:
  struct Line {
    std::string owner;
    std::string what;
  };
  std::vector<Line> lines_;
};

class TensorChoice;

/// How one item is to be loaded, and what has come of it.
struct ItemLoad {
  const CheckpointInfo& info;
  TensorChoice& tensors;  ///< of modules: which, and under which name
  bool what_fits = false;
  OptionsFrom options_from = OptionsFrom::kMustAgree;

  Mismatches mismatches = {};
  std::vector<LoadNote> left_out = {};
  std::vector<LoadNote> not_found = {};
  std::string remark = {};  ///< of what will be loaded
};

/// What a load is about to do to one thing.
struct Change {
  /// Lower ones first: modules, optimizers, values, states, random state.
  enum class Turn : std::uint8_t {
    kModule,
    kOptimizer,
    kValue,
    kState,
    kRandom,
  };

  std::string owner;  ///< "optimizer 'optimizer'", for messages
  Turn turn = Turn::kValue;
  std::function<void()> apply;
  /// Makes it as it was before apply(), also where that has thrown.
  std::function<void()> undo;
  /// Whether apply() may refuse the file, by c10::Error, and the rest be loaded
  /// all the same.
  bool may_refuse = false;
  /// What apply() has to say of it; null: nothing.
  std::shared_ptr<const std::string> remark;
};

/// One thing that belongs to a run.
class CheckpointItem {
 public:
  CheckpointItem(std::string name, CheckpointEntryKind kind);
  CheckpointItem(const CheckpointItem&) = delete;
  CheckpointItem& operator=(const CheckpointItem&) = delete;
  virtual ~CheckpointItem() = default;

  const std::string& name() const { return name_; }
  CheckpointEntryKind kind() const { return kind_; }
  /// "optimizer 'optimizer'"
  std::string owner() const;

  virtual std::string class_name() const { return {}; }
  /// Whether a file of another class may be loaded.
  virtual bool any_class() const { return false; }

  /// Writes it, to the archive or to the description.
  virtual void save(
      torch::serialize::OutputArchive& archive, CheckpointInfo& info) const = 0;

  /// Reads what save() wrote, checks it against what is there, and says what is
  /// to be done. Changes nothing. With mismatches the result is of no use.
  virtual Change prepare(
      torch::serialize::InputArchive& archive, ItemLoad& load) = 0;

 protected:
  Change change(Change::Turn turn) const;

 private:
  std::string name_;
  CheckpointEntryKind kind_;
};

}  // namespace stepsize::detail
