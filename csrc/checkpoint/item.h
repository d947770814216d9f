#pragma once

#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::detail {

/// What of a file does not fit, one sentence each.
class Mismatches {
 public:
  void add(const std::string& owner, const std::string& what);
  bool empty() const { return count_ == 0; }
  /// The first ten of them, a line each.
  std::string text() const;

 private:
  std::vector<std::string> lines_;
  int64_t count_ = 0;
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
      torch::serialize::InputArchive& archive,
      const CheckpointInfo& info,
      Mismatches& mismatches) = 0;

 protected:
  Change change(Change::Turn turn) const;

 private:
  std::string name_;
  CheckpointEntryKind kind_;
};

}  // namespace stepsize::detail
