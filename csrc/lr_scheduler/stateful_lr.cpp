#include <stepsize/lr_scheduler/stateful_lr.h>

#include <torch/serialize/archive.h>

#include <cstddef>
#include <utility>

#include "csrc/core/archive.h"

namespace stepsize {
namespace {

constexpr int64_t kFormat = 1;
constexpr char kSchedulerFormatKey[] = "stepsize_lr_format";

}  // namespace

StatefulLR::StatefulLR(
    torch::optim::Optimizer& optimizer,
    std::string kind,
    std::string fingerprint)
    : LRScheduler(optimizer),
      optimizer_(&optimizer),
      kind_(std::move(kind)),
      fingerprint_(std::move(fingerprint)) {}

std::vector<double> StatefulLR::lrs_in_force() const {
  std::vector<double> lrs;
  const auto& groups = optimizer().param_groups();
  lrs.reserve(groups.size());
  for (const auto& group : groups) lrs.push_back(group.options().get_lr());
  return lrs;
}

void StatefulLR::commit(int64_t last_epoch, std::vector<double> lrs) {
  last_epoch_ = last_epoch;
  last_lrs_ = std::move(lrs);
}

int64_t StatefulLR::next_epoch() const {
  TORCH_CHECK(last_epoch_ < kLastTime, kind_, ": the clock ends at 2^53");
  return last_epoch_ + 1;
}

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive, const StatefulLR& scheduler) {
  detail::write_int(archive, kSchedulerFormatKey, kFormat);
  detail::write_string(archive, "kind", scheduler.kind_);
  detail::write_string(archive, "fingerprint", scheduler.fingerprint_);
  detail::write_int(archive, "last_epoch", scheduler.last_epoch_);
  detail::write_string(archive, "state_class", scheduler.state_class());
  detail::write_doubles(archive, "lrs", scheduler.lrs_in_force());
  scheduler.save_state(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, StatefulLR& scheduler) {
  const std::string& kind = scheduler.kind_;
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kSchedulerFormatKey, format) && format.isInt(),
      kind,
      ": the archive holds no scheduler of stepsize");
  TORCH_CHECK(
      format.toInt() == kFormat,
      kind,
      ": the archive has format ",
      std::to_string(format.toInt()),
      ", this version reads format ",
      std::to_string(kFormat));
  const std::string fingerprint =
      detail::read_string(archive, kind, "fingerprint");
  TORCH_CHECK(
      detail::read_string(archive, kind, "kind") == kind,
      kind,
      ": the archive holds a ",
      fingerprint);
  TORCH_CHECK(
      scheduler.takes_state_of(fingerprint),
      kind,
      ": the archive holds a ",
      fingerprint,
      ", this is a ",
      scheduler.fingerprint_);
  const std::string state_class =
      detail::read_string(archive, kind, "state_class");
  TORCH_CHECK(
      state_class == scheduler.state_class(),
      kind,
      ": the archive was written by a ",
      state_class,
      ", this is a ",
      scheduler.state_class());
  const int64_t last_epoch =
      detail::read_int(archive, kind, "last_epoch", StatefulLR::kLastTime);
  std::vector<double> lrs = detail::read_doubles(archive, kind, "lrs");
  detail::check_finite(kind, "lrs", lrs);
  const std::size_t groups = scheduler.optimizer().param_groups().size();
  TORCH_CHECK(
      lrs.size() == groups,
      kind,
      ": the archive has ",
      std::to_string(lrs.size()),
      " parameter groups, the optimizer ",
      std::to_string(groups));
  scheduler.load_state(archive, lrs);
  scheduler.commit(last_epoch, std::move(lrs));
  return archive;
}

}  // namespace stepsize
