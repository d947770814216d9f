#include <stepsize/adaptive/snapshot_ensemble.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
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

std::string snapshot_key(int64_t number) {
  return "snapshot" + std::to_string(number);
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
  std::vector<at::Tensor> snapshot;
  for (const at::Tensor& tensor : tensors_) {
    snapshot.push_back(tensor.detach().clone());
  }
  snapshots_.push_back(std::move(snapshot));
  ++added_;
  if (static_cast<int64_t>(snapshots_.size()) > options_.max_snapshots()) {
    snapshots_.erase(snapshots_.begin());
  }
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
  detail::write_int(archive, kSnapshotFormatKey, 1);
  const auto count = static_cast<int64_t>(ensemble.snapshots_.size());
  detail::write_int(archive, "snapshots", count);
  detail::write_int(archive, "added", ensemble.added_);
  detail::write_int(archive, "has_fallen", ensemble.has_fallen_ ? 1 : 0);
  detail::write_double(archive, "last_lr", ensemble.last_lr_);
  for (int64_t i = 0; i < count; ++i) {
    detail::write_tensors(
        archive,
        snapshot_key(i),
        detail::storable(
            ensemble.snapshots_[static_cast<std::size_t>(i)],
            kSnapshotEnsemble));
  }
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
          format.toInt() == 1,
      kSnapshotEnsemble,
      ": the archive holds no snapshot ensemble of this version of the format");
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
  std::vector<std::vector<at::Tensor>> snapshots;
  for (int64_t i = count - std::min(count, options_.max_snapshots()); i < count;
       ++i) {
    const auto kept =
        detail::read_tensors(archive, kSnapshotEnsemble, snapshot_key(i));
    bool fits = kept.size() == forms_.size();
    for (std::size_t k = 0; fits && k < kept.size(); ++k) {
      fits = kept[k].defined() && kept[k].sizes() == forms_[k].sizes() &&
             kept[k].scalar_type() == forms_[k].scalar_type();
    }
    TORCH_CHECK(
        fits,
        kSnapshotEnsemble,
        ": snapshot ",
        i,
        " of the archive does not fit the weights: their number, shapes or "
        "types are others");
    std::vector<at::Tensor>& copies = snapshots.emplace_back();
    for (std::size_t k = 0; k < kept.size(); ++k) {
      copies.push_back(detail::copy_like(kept[k], tensors_[k]));
    }
  }
  snapshots_ = std::move(snapshots);
  added_ = added;
  has_fallen_ = has_fallen;
  last_lr_ = last_lr;
}

SnapshotWeights::SnapshotWeights(SnapshotEnsemble& ensemble, std::size_t number)
    : ensemble_(ensemble) {
  TORCH_CHECK(
      number < ensemble.snapshots_.size(),
      kSnapshotEnsemble,
      ": there is no snapshot ",
      number,
      ", only ",
      ensemble.snapshots_.size());
  ensemble.check_weights();
  held_ = std::make_unique<detail::HeldWeights>(
      ensemble.tensors_, "SnapshotWeights");
  detail::write_weights(ensemble.tensors_, ensemble.snapshots_[number]);
  ensemble.is_swapped_ = true;
}

SnapshotWeights::~SnapshotWeights() { ensemble_.is_swapped_ = false; }

}  // namespace stepsize
