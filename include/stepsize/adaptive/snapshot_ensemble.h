#pragma once

#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
template <typename Contained>
class ModuleHolder;
}  // namespace torch::nn

namespace stepsize {
namespace detail {
class HeldWeights;
struct Weights;
}  // namespace detail

/// Options of SnapshotEnsemble.
class SnapshotEnsembleOptions {
 public:
  /// Snapshots that are kept; the oldest one goes when another comes; >= 1.
  TORCH_ARG(int64_t, max_snapshots) = 5;
  /// Where snapshots lie as files, one checkpoint each, so that memory holds
  /// one at a time; the first add() makes it. Empty: they lie in memory. Runs
  /// may share one: a file's name goes by what is in it.
  TORCH_ARG(std::string, folder);
};

/// Several models from one run (Huang et al., Snapshot Ensembles: Train 1, Get
/// M for Free, 2017): the weights at the end of each cycle of the rate, where
/// it is lowest, whose predictions are averaged.
///
///     SnapshotEnsemble ensemble(*model);
///     ScheduleLR scheduler(optimizer, "cosine_restarts 2000");
///     for (...) {
///       optimizer.step();
///       scheduler.step();
///       ensemble.step(optimizer.param_groups()[0].options().get_lr());
///     }
///     ensemble.add();  // the last cycle, after which the rate does not rise
///     auto p = ensemble.predict([&] { return model->forward(inputs); });
///
/// Cost: one copy of parameters and buffers a snapshot, on their devices or as
/// a file, and one more while one is in the module; a pass forward a snapshot
/// in predict(), and with a folder all files read in each call: give it the
/// whole set, or many batches, at once. `torch::save` and `torch::load` carry
/// step()'s memory and the snapshots: themselves, or which files of the folder
/// they are.
class SnapshotEnsemble {
 public:
  /// Of the parameters and buffers that the module has now, which must keep
  /// shape, type and device. Throws c10::Error where an option is out of range.
  explicit SnapshotEnsemble(
      const torch::nn::Module& module,
      const SnapshotEnsembleOptions& options = {});
  /// The same for a module that is held: `torch::nn::Linear model(...)`, or
  /// `auto model = std::make_shared<Net>()`.
  template <typename Contained>
  explicit SnapshotEnsemble(
      torch::nn::ModuleHolder<Contained> module,
      const SnapshotEnsembleOptions& options = {})
      : SnapshotEnsemble(
            static_cast<const torch::nn::Module&>(*module), options) {}
  template <typename Contained>
  explicit SnapshotEnsemble(
      const std::shared_ptr<Contained>& module,
      const SnapshotEnsembleOptions& options = {})
      : SnapshotEnsemble(
            static_cast<const torch::nn::Module&>(*checked(module)), options) {}

  // A copy would write to the same tensors.
  SnapshotEnsemble(const SnapshotEnsemble&) = delete;
  SnapshotEnsemble& operator=(const SnapshotEnsemble&) = delete;
  SnapshotEnsemble(SnapshotEnsemble&&) = default;
  SnapshotEnsemble& operator=(SnapshotEnsemble&&) = default;
  ~SnapshotEnsemble() = default;

  /// To be called after the scheduler's step with the rate of the coming
  /// update: adds a snapshot, and returns true, where the rate rises after it
  /// has fallen, which is where a cycle has ended, unless add() was called
  /// there. Throws c10::Error, and
  /// changes nothing, unless the rate is finite and >= 0, and where add() does,
  /// as on a full disk: the same call may be made again.
  bool step(double lr);
  /// Adds the weights as they are. Throws c10::Error, and changes nothing,
  /// where one has changed its shape, type or device, while a SnapshotWeights
  /// lives, and where a file cannot be written.
  void add();

  /// Snapshots that are there.
  std::size_t size() const { return snapshots_.size(); }
  /// Snapshots that were added so far.
  int64_t added() const { return added_; }
  /// The file of a snapshot: snapshot-NUMBER-HASH.ckpt in the folder, with its
  /// number counted from the first add() and a hash of its contents. The oldest
  /// that is kept has index 0.
  std::string path(std::size_t index) const;
  /// Removes the files of earlier snapshots that this ensemble has written or
  /// loaded and keeps no longer. Nothing else does: a checkpoint of the run
  /// from before still names them.
  void remove_dropped() const;

  /// The mean over all snapshots of softmax(forward(), dim). `forward` returns
  /// the module's output, in eval mode as a rule; it runs once with each
  /// snapshot in the module and without gradients. The module's own weights are
  /// put back bit for bit, also when `forward` throws. Throws c10::Error where
  /// there is no snapshot.
  at::Tensor predict(
      const std::function<at::Tensor()>& forward, int64_t dim = 1);
  /// The mean of the outputs themselves, for regression.
  at::Tensor mean_output(const std::function<at::Tensor()>& forward);

  const SnapshotEnsembleOptions& options() const { return options_; }

  /// Loads what `torch::save` has written, the last max_snapshots of it. Throws
  /// c10::Error, and changes nothing, where it does not fit the weights, and
  /// where a file is missing, damaged, or another than it was then: each is
  /// read.
  void load(torch::serialize::InputArchive& archive);

  /// What puts snapshots and step()'s memory back as they are now, without a
  /// look at any file: for a checkpoint that is to undo a load.
  std::function<void()> keep_state();

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive,
      const SnapshotEnsemble& ensemble);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, SnapshotEnsemble& ensemble);

 private:
  friend class SnapshotWeights;

  template <typename Pointer>
  static const Pointer& checked(const Pointer& module) {
    check_not_null(module != nullptr);
    return module;
  }
  static void check_not_null(bool there);

  SnapshotEnsemble(
      const detail::Weights& weights, const SnapshotEnsembleOptions& options);

  struct Snapshot {
    std::vector<at::Tensor> tensors;  ///< none where it lies in a file
    int64_t number = 0;               ///< counted from the first add()
    int64_t fingerprint = 0;          ///< of the file's contents
  };

  bool in_files() const { return !options_.folder().empty(); }
  std::string file_of(int64_t number, int64_t fingerprint) const;
  std::vector<at::Tensor> tensors_of(const Snapshot& snapshot) const;
  void check_fit(
      const std::vector<at::Tensor>& tensors, const std::string& which) const;
  void check_weights() const;
  at::Tensor mean_of(const std::function<at::Tensor()>& output);

  SnapshotEnsembleOptions options_;
  std::vector<at::Tensor> tensors_;
  std::vector<at::Tensor> forms_;    ///< their shapes, types and devices
  std::vector<Snapshot> snapshots_;  ///< the oldest first
  /// Number and fingerprint of each file that was written or loaded.
  std::set<std::pair<int64_t, int64_t>> own_files_;
  int64_t added_ = 0;
  double last_lr_ = -1;  ///< -1 before there is one
  bool has_fallen_ = false;
  bool is_swapped_ = false;
};

/// Has a module hold one snapshot while it lives, and then puts its own weights
/// back bit for bit, also when an exception ends it. The ensemble must not be
/// moved then.
class SnapshotWeights {
 public:
  /// Throws c10::Error, and changes nothing, where there is no such snapshot or
  /// its file cannot be read; the oldest has index 0.
  SnapshotWeights(SnapshotEnsemble& ensemble, std::size_t index);
  ~SnapshotWeights();
  SnapshotWeights(const SnapshotWeights&) = delete;
  SnapshotWeights& operator=(const SnapshotWeights&) = delete;

 private:
  SnapshotEnsemble& ensemble_;
  std::unique_ptr<detail::HeldWeights> held_;
};

}  // namespace stepsize
