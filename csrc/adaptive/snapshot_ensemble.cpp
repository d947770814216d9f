#include <stepsize/adaptive/snapshot_ensemble.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <limits>
#include <sstream>
#include <system_error>
#include <utility>

#include "csrc/adaptive/weights.h"
#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/core/tensors.h"
#include "csrc/optim/operand_checks.h"

namespace stepsize {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr char kSnapshotEnsemble[] = "SnapshotEnsemble";
constexpr char kSnapshotFormatKey[] = "stepsize_snapshot_ensemble_format";

// Of a snapshot in the archive, by its index there.
std::string snapshot_key(int64_t index) {
  return "snapshot" + std::to_string(index);
}

constexpr char kSnapshotFile[] = "snapshot-";
constexpr char kSnapshotEnd[] = ".ckpt";

// A hash of all bits, eight bytes at a time, which tells a file from one of
// other contents. The shift brings the high bits, signs among them, down to
// where the product spreads them. No defence against one who means to deceive.
int64_t snapshot_fingerprint(const std::vector<at::Tensor>& tensors) {
  uint64_t hash = 0xcbf29ce484222325U;
  const auto take = [&hash](uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 32;
  };
  for (const at::Tensor& strided : tensors) {
    const at::Tensor tensor = strided.contiguous();
    const auto* bytes = static_cast<const unsigned char*>(tensor.data_ptr());
    const auto size = static_cast<std::size_t>(tensor.nbytes());
    take(size);
    for (std::size_t i = 0; i < size; i += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes + i, std::min(sizeof(word), size - i));
      take(word);
    }
  }
  int64_t bits = 0;
  std::memcpy(&bits, &hash, sizeof(bits));
  return bits;
}

Checkpoint snapshot_file(std::vector<at::Tensor>& tensors) {
  Checkpoint file;
  file.random_state(false);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    file.tensor("weight" + std::to_string(i), tensors[i]);
  }
  return file;
}

// A copy, of float32 at least: it may be a weight, which is put back.
at::Tensor snapshot_output(const std::function<at::Tensor()>& forward) {
  const at::Tensor output = forward();
  TORCH_CHECK(
      output.defined() && output.is_floating_point(),
      kSnapshotEnsemble,
      ": the output must be of floating point");
  return output.to(
      output.options().dtype(detail::state_type(output)),
      /*non_blocking=*/false,
      /*copy=*/true);
}

}  // namespace

void SnapshotEnsemble::check_not_null(bool there) {
  TORCH_CHECK(there, kSnapshotEnsemble, ": the module is null");
}

SnapshotEnsemble::SnapshotEnsemble(
    const torch::nn::Module& module, const SnapshotEnsembleOptions& options)
    : SnapshotEnsemble(detail::weights_of(module, kSnapshotEnsemble), options) {
}

SnapshotEnsemble::SnapshotEnsemble(
    const detail::Weights& weights, const SnapshotEnsembleOptions& options)
    : options_(options),
      tensors_(weights.tensors),
      forms_(detail::forms_of(tensors_)) {
  detail::check_option(
      options_.max_snapshots() >= 1,
      kSnapshotEnsemble,
      "max_snapshots",
      ">= 1",
      options_.max_snapshots());
}

void SnapshotEnsemble::check_weights() const {
  TORCH_CHECK(
      !is_swapped_,
      kSnapshotEnsemble,
      ": the module holds a snapshot; end the SnapshotWeights first");
  detail::check_forms(tensors_, forms_, kSnapshotEnsemble);
}

void SnapshotEnsemble::add() {
  check_weights();
  const c10::AutoGradMode no_grad(false);
  Snapshot snapshot;
  snapshot.number = added_;
  if (in_files()) {
    std::vector<at::Tensor> weights =
        detail::storable(tensors_, kSnapshotEnsemble);
    snapshot.fingerprint = snapshot_fingerprint(weights);
    // What cannot be made cannot be written to either, which says why.
    std::error_code ignored;
    std::filesystem::create_directories(options_.folder(), ignored);
    save_checkpoint(
        file_of(added_, snapshot.fingerprint), snapshot_file(weights));
    own_files_.emplace(added_, snapshot.fingerprint);
  } else {
    for (const at::Tensor& tensor : tensors_) {
      snapshot.tensors.push_back(tensor.detach().clone());
    }
  }
  snapshots_.push_back(std::move(snapshot));
  ++added_;
  // The cycle has ended here: a rise that follows ends no other one.
  has_fallen_ = false;
  if (static_cast<int64_t>(snapshots_.size()) > options_.max_snapshots()) {
    snapshots_.erase(snapshots_.begin());
  }
}

std::string SnapshotEnsemble::file_of(
    int64_t number, int64_t fingerprint) const {
  std::ostringstream name;
  name << kSnapshotFile << number << '-' << std::hex << std::setw(16)
       << std::setfill('0') << static_cast<uint64_t>(fingerprint)
       << kSnapshotEnd;
  return (std::filesystem::path(options_.folder()) / name.str()).string();
}

std::string SnapshotEnsemble::path(std::size_t index) const {
  TORCH_CHECK(
      in_files(), kSnapshotEnsemble, ": path: no folder is set in the options");
  TORCH_CHECK(
      index < snapshots_.size(),
      kSnapshotEnsemble,
      ": there is no snapshot of index ",
      index,
      ", only ",
      snapshots_.size());
  return file_of(snapshots_[index].number, snapshots_[index].fingerprint);
}

void SnapshotEnsemble::remove_dropped() const {
  if (snapshots_.empty()) return;
  for (const auto& [number, fingerprint] : own_files_) {
    if (number >= snapshots_.front().number) break;
    const std::string path = file_of(number, fingerprint);
    std::error_code failure;
    std::filesystem::remove(path, failure);
    TORCH_CHECK(
        !failure,
        kSnapshotEnsemble,
        ": remove_dropped: ",
        path,
        ": ",
        failure.message());
  }
}

void SnapshotEnsemble::check_fit(
    const std::vector<at::Tensor>& tensors, const std::string& which) const {
  bool fits = tensors.size() == forms_.size();
  for (std::size_t k = 0; fits && k < tensors.size(); ++k) {
    fits = tensors[k].defined() && tensors[k].sizes() == forms_[k].sizes() &&
           tensors[k].scalar_type() == forms_[k].scalar_type();
  }
  TORCH_CHECK(
      fits,
      kSnapshotEnsemble,
      ": ",
      which,
      " does not fit the weights: their number, shapes or types are others");
}

std::vector<at::Tensor> SnapshotEnsemble::tensors_of(
    const Snapshot& snapshot) const {
  if (!in_files()) return snapshot.tensors;
  std::vector<at::Tensor> tensors(forms_.size());
  const std::string path = file_of(snapshot.number, snapshot.fingerprint);
  Checkpoint file = snapshot_file(tensors);
  try {
    load_checkpoint(path, file);
  } catch (const c10::Error& error) {
    TORCH_CHECK(false, kSnapshotEnsemble, ": ", error.what_without_backtrace());
  }
  check_fit(tensors, path);
  TORCH_CHECK(
      snapshot_fingerprint(tensors) == snapshot.fingerprint,
      kSnapshotEnsemble,
      ": ",
      path,
      " has other contents than the snapshot that was added under its name");
  return tensors;
}

bool SnapshotEnsemble::step(double lr) {
  detail::check_option(
      std::isfinite(lr) && lr >= 0,
      kSnapshotEnsemble,
      "lr",
      "finite and >= 0",
      lr);
  const bool ends = has_fallen_ && lr > last_lr_;
  if (ends) add();
  if (lr != last_lr_) has_fallen_ = lr < last_lr_;
  last_lr_ = lr;
  return ends;
}

at::Tensor SnapshotEnsemble::mean_of(
    const std::function<at::Tensor()>& output) {
  TORCH_CHECK(
      !snapshots_.empty(), kSnapshotEnsemble, ": there is no snapshot yet");
  const c10::AutoGradMode no_grad(false);
  at::Tensor sum;
  for (std::size_t i = 0; i < snapshots_.size(); ++i) {
    const SnapshotWeights guard(*this, i);
    const at::Tensor own = output();
    sum = sum.defined() ? sum + own : own;
  }
  return sum / static_cast<double>(snapshots_.size());
}

at::Tensor SnapshotEnsemble::mean_output(
    const std::function<at::Tensor()>& forward) {
  return mean_of([&] { return snapshot_output(forward); });
}

at::Tensor SnapshotEnsemble::predict(
    const std::function<at::Tensor()>& forward, int64_t dim) {
  return mean_of([&] { return at::softmax(snapshot_output(forward), dim); });
}

OutputArchive& operator<<(
    OutputArchive& archive, const SnapshotEnsemble& ensemble) {
  // 2: the archive says which files, and has no tensors.
  const bool in_files = ensemble.in_files();
  detail::write_int(archive, kSnapshotFormatKey, in_files ? 2 : 1);
  const auto count = static_cast<int64_t>(ensemble.snapshots_.size());
  detail::write_int(archive, "snapshots", count);
  detail::write_int(archive, "added", ensemble.added_);
  detail::write_int(archive, "has_fallen", ensemble.has_fallen_ ? 1 : 0);
  detail::write_double(archive, "last_lr", ensemble.last_lr_);
  std::vector<int64_t> fingerprints;
  for (int64_t i = 0; i < count; ++i) {
    const auto& snapshot = ensemble.snapshots_[static_cast<std::size_t>(i)];
    fingerprints.push_back(snapshot.fingerprint);
    if (in_files) continue;
    detail::write_tensors(
        archive,
        snapshot_key(i),
        detail::storable(snapshot.tensors, kSnapshotEnsemble));
  }
  if (in_files) detail::write_ints(archive, "fingerprints", fingerprints);
  return archive;
}

InputArchive& operator>>(InputArchive& archive, SnapshotEnsemble& ensemble) {
  ensemble.load(archive);
  return archive;
}

void SnapshotEnsemble::load(InputArchive& archive) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kSnapshotFormatKey, format) && format.isInt() &&
          (format.toInt() == 1 || format.toInt() == 2),
      kSnapshotEnsemble,
      ": the archive holds no snapshot ensemble of this version of the format");
  const bool has_files = format.toInt() == 2;
  TORCH_CHECK(
      has_files == in_files(),
      kSnapshotEnsemble,
      has_files
          ? ": the archive's snapshots lie in files: name their folder in "
            "the options"
          : ": the archive has its snapshots in it, and a folder is set "
            "in the options");
  check_weights();
  const auto read = [&](const char* key, int64_t most) {
    return detail::read_int(archive, kSnapshotEnsemble, key, most);
  };
  const int64_t added = read("added", std::numeric_limits<int64_t>::max());
  const int64_t count = read("snapshots", added);
  const bool has_fallen = read("has_fallen", 1) == 1;
  const double last_lr =
      detail::read_double(archive, kSnapshotEnsemble, "last_lr");
  TORCH_CHECK(
      std::isfinite(last_lr) && (last_lr >= 0 || last_lr == -1),
      kSnapshotEnsemble,
      ": 'last_lr' of the archive must be finite and >= 0, got ",
      last_lr);
  std::vector<int64_t> fingerprints;
  if (has_files) {
    fingerprints =
        detail::read_ints(archive, kSnapshotEnsemble, "fingerprints");
    TORCH_CHECK(
        static_cast<int64_t>(fingerprints.size()) == count,
        kSnapshotEnsemble,
        ": 'fingerprints' of the archive must be one a snapshot, got ",
        fingerprints.size());
  }
  std::vector<Snapshot> snapshots;
  for (int64_t i = count - std::min(count, options_.max_snapshots()); i < count;
       ++i) {
    Snapshot& snapshot = snapshots.emplace_back();
    snapshot.number = added - count + i;
    if (has_files) {
      snapshot.fingerprint = fingerprints[static_cast<std::size_t>(i)];
      tensors_of(snapshot);
      continue;
    }
    const auto kept =
        detail::read_tensors(archive, kSnapshotEnsemble, snapshot_key(i));
    check_fit(
        kept, "snapshot of index " + std::to_string(i) + " of the archive");
    for (std::size_t k = 0; k < kept.size(); ++k) {
      snapshot.tensors.push_back(detail::copy_like(kept[k], tensors_[k]));
    }
  }
  snapshots_ = std::move(snapshots);
  for (const Snapshot& snapshot : snapshots_) {
    if (in_files()) own_files_.emplace(snapshot.number, snapshot.fingerprint);
  }
  added_ = added;
  has_fallen_ = has_fallen;
  last_lr_ = last_lr;
}

std::function<void()> SnapshotEnsemble::keep_state() {
  // A snapshot's tensors are never written to, so that they need no copies.
  return [this,
          snapshots = snapshots_,
          own_files = own_files_,
          added = added_,
          has_fallen = has_fallen_,
          last_lr = last_lr_] {
    snapshots_ = snapshots;
    own_files_ = own_files;
    added_ = added;
    has_fallen_ = has_fallen;
    last_lr_ = last_lr;
  };
}

SnapshotWeights::SnapshotWeights(SnapshotEnsemble& ensemble, std::size_t index)
    : ensemble_(ensemble) {
  TORCH_CHECK(
      index < ensemble.snapshots_.size(),
      kSnapshotEnsemble,
      ": there is no snapshot of index ",
      index,
      ", only ",
      ensemble.snapshots_.size());
  ensemble.check_weights();
  const auto values = ensemble.tensors_of(ensemble.snapshots_[index]);
  held_ = std::make_unique<detail::HeldWeights>(
      ensemble.tensors_, "SnapshotWeights");
  detail::write_weights(ensemble.tensors_, values);
  ensemble.is_swapped_ = true;
}

SnapshotWeights::~SnapshotWeights() { ensemble_.is_swapped_ = false; }

}  // namespace stepsize
