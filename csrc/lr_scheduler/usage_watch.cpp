#include "csrc/lr_scheduler/usage_watch.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/lr_scheduler/usage_check.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

std::atomic<UsageCheck> usage_check{UsageCheck::kWarn};
std::atomic<bool> order_check{false};

}  // namespace

void set_scheduler_usage_check(UsageCheck check) { usage_check = check; }

void set_scheduler_order_check(bool on) { order_check = on; }

UsageCheck scheduler_usage_check() { return usage_check; }

namespace detail {
namespace {

// Steps in which the order of calls is looked at: it does not change later,
// and the look at every parameter has its price.
constexpr int kWatchedSteps = 32;
// Numbers of the parameters that are compared in these steps.
constexpr int64_t kSampledNumbers = 4096;

// Who is in use on an optimizer.
struct Users {
  std::vector<const UsageWatch*> watches;
  const UsageWatch* last_to_set = nullptr;
  bool cut_since = false;
};

// Optimizers of several threads share the map, and each only its own entry.
class Registry {
 public:
  void add(const void* optimizer, const UsageWatch* watch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    users_[optimizer].watches.push_back(watch);
  }
  void remove(const void* optimizer, const UsageWatch* watch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Users& users = users_[optimizer];
    auto& watches = users.watches;
    watches.erase(
        std::remove(watches.begin(), watches.end(), watch), watches.end());
    if (users.last_to_set == watch) users.last_to_set = nullptr;
    if (watches.empty()) users_.erase(optimizer);
  }
  std::vector<const UsageWatch*> watches_of(const void* optimizer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = users_.find(optimizer);
    return found == users_.end() ? std::vector<const UsageWatch*>()
                                 : found->second.watches;
  }
  /// Who has set the rates last; `watch` does so from now on.
  const UsageWatch* exchange(const void* optimizer, const UsageWatch* watch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Users& users = users_[optimizer];
    users.cut_since = false;
    return std::exchange(users.last_to_set, watch);
  }
  bool cut_since(const void* optimizer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = users_.find(optimizer);
    return found != users_.end() && found->second.cut_since;
  }
  void note_cut(const void* optimizer) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = users_.find(optimizer);
    if (found != users_.end()) found->second.cut_since = true;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<const void*, Users> users_;
};

// Never destroyed: a scheduler may be a static object that ends after it.
Registry& registry() {
  static Registry& registry = *new Registry;
  return registry;
}

void report(const std::string& message) {
  const UsageCheck check = scheduler_usage_check();
  TORCH_CHECK(check != UsageCheck::kThrow, message);
  if (check == UsageCheck::kWarn) {
    TORCH_WARN(
        message,
        " (set_scheduler_usage_check(UsageCheck::kOff) silences this.)");
  }
}

}  // namespace

UsageWatch::UsageWatch(
    const torch::optim::Optimizer& optimizer,
    std::string kind,
    const std::vector<double>& base_lrs)
    : optimizer_(optimizer),
      kind_(std::move(kind)),
      base_lrs_(base_lrs),
      steps_left_(
          order_check && scheduler_usage_check() != UsageCheck::kOff
              ? kWatchedSteps
              : 0) {
  if (steps_left_ > 0) has_moved_since();
  registry().add(&optimizer_, this);
}

UsageWatch::~UsageWatch() { registry().remove(&optimizer_, this); }

bool UsageWatch::has_lowered(std::size_t group, double lr) const {
  return !rests_ && group < lrs_.size() && group < base_lrs_.size() &&
         lrs_[group] == lr && base_lrs_[group] != lr;
}

void UsageWatch::before_base_rates(const std::vector<double>& in_force) const {
  if (scheduler_usage_check() == UsageCheck::kOff) return;
  for (const UsageWatch* other : registry().watches_of(&optimizer_)) {
    if (other == this) continue;
    for (std::size_t i = 0; i < in_force.size(); ++i) {
      if (!other->has_lowered(i, in_force[i])) continue;
      report(
          kind_ + ": takes the rate in force of parameter group " +
          std::to_string(i) + ", " + number_text(in_force[i]) +
          ", for its base rate; it is what " + other->kind_ +
          ", in use on the same optimizer, has made of " +
          number_text(other->base_lrs_[i]) +
          ". Compose the two in one ScheduleLR or SequentialLR; or, to start "
          "anew, set the rate that you want or destroy the other first.");
      return;
    }
  }
}

void UsageWatch::set(
    const std::vector<double>& lrs,
    std::vector<double> in_force,
    bool has_ended) {
  lrs_ = lrs;
  left_in_force_ = std::move(in_force);
  rests_ = has_ended;
}

void UsageWatch::note_cut(const torch::optim::Optimizer& optimizer) {
  registry().note_cut(&optimizer);
}

void UsageWatch::before_rates(const std::vector<double>& in_force) {
  const bool cut_since = registry().cut_since(&optimizer_);
  const UsageWatch* before = registry().exchange(&optimizer_, this);
  check_interleaving(before);
  const bool others = before != nullptr && before != this;
  if (!cut_since && !others) check_rates_kept(in_force);
}

void UsageWatch::before_step(
    bool sets_rates, const std::vector<double>& in_force) {
  if (sets_rates) before_rates(in_force);
  ++steps_;
  if (steps_left_ > 0) {
    check_order();
    if (steps_left_ > 0 && --steps_left_ == 0) stop_counting();
  }
}

void UsageWatch::stop_counting() {
  steps_left_ = 0;
  sample_.clear();
}

// One scheduler after another is sound, and so is a way back. Here each has
// undone the other's step twice.
void UsageWatch::check_interleaving(const UsageWatch* before) {
  if (before == nullptr || steps_ == 0) return;
  if (before == this) {
    // Long phases of one and the other are no interleaving.
    interruptions_ = 0;
    return;
  }
  if (++interruptions_ != 2) return;
  report(
      kind_ + ": " + before->kind_ +
      " steps the same optimizer in turn, and each overwrites the rates of the "
      "other. Compose the two in one ScheduleLR, SequentialLR or "
      "ChainedScheduler.");
}

// A rate set by hand, by a range test's apply() or by a load of the optimizer
// alone lasts until the next step.
void UsageWatch::check_rates_kept(const std::vector<double>& in_force) {
  const std::size_t groups = std::min(in_force.size(), left_in_force_.size());
  for (std::size_t i = 0; i < groups && !has_told_of_rates_; ++i) {
    if (in_force[i] == left_in_force_[i]) continue;
    has_told_of_rates_ = true;
    report(
        kind_ + ": the rate of parameter group " + std::to_string(i) +
        " has been set to " + number_text(in_force[i]) +
        " since the last step, and is replaced now. To go on from a rate "
        "of your own, give it to set_base_lrs(), or set it before the "
        "scheduler is made.");
  }
}

void UsageWatch::check_order() {
  if (!has_moved_since()) {
    if (may_have_moved_nothing()) {
      stop_counting();
    } else if (!has_moved_) {
      ++idle_before_first_;
    } else if (moved_last_ && ++idle_after_moves_ == 3) {
      stop_counting();
      report(
          kind_ +
          ": step() is called more often than optimizer.step(): three times "
          "already no parameter has changed since the step before. Call it "
          "once after each optimizer.step(), or once an epoch.");
    }
    moved_last_ = false;
    return;
  }
  const bool is_first = !has_moved_;
  has_moved_ = moved_last_ = true;
  // Several steps before any update are a jump to a later time.
  if (is_first && idle_before_first_ == 1) {
    report(
        kind_ +
        ": the first step() came before the first optimizer.step(), so that "
        "no update was made at the rate of t = 0. Call optimizer.step() first, "
        "then step(); to skip t = 0, call seek(1).");
  }
}

// In-place writes count up the version of a tensor; those of inference mode
// have none.
uint64_t UsageWatch::versions() const {
  uint64_t sum = 0;
  for (const auto& group : optimizer_.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.defined()) continue;
      const auto& version = parameter.unsafeGetTensorImpl()->version_counter();
      if (version.enabled()) sum += version.current_version();
    }
  }
  return sum;
}

// Some numbers of the parameters, since torch::optim::SGD writes past their
// version counters.
std::vector<at::Tensor> UsageWatch::sample() const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> sample;
  int64_t room = kSampledNumbers;
  for (const auto& group : optimizer_.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (room <= 0) return sample;
      if (!parameter.defined() || !parameter.requires_grad() ||
          parameter.layout() != at::kStrided || parameter.numel() == 0 ||
          parameter.is_meta()) {
        continue;
      }
      const int64_t count = std::min(room, parameter.numel());
      sample.push_back(
          parameter.detach().reshape(-1).narrow(0, 0, count).clone());
      room -= count;
    }
  }
  return sample;
}

bool UsageWatch::has_moved_since() {
  const uint64_t versions_now = versions();
  std::vector<at::Tensor> sample_now = sample();
  bool moved = versions_now != versions_ || sample_now.size() != sample_.size();
  for (std::size_t i = 0; !moved && i < sample_.size(); ++i) {
    const at::Tensor& before = sample_[i];
    const at::Tensor& now = sample_now[i];
    moved = before.sizes() != now.sizes() || before.device() != now.device() ||
            before.scalar_type() != now.scalar_type() || !before.equal(now);
  }
  versions_ = versions_now;
  sample_ = std::move(sample_now);
  return moved;
}

// Whether an update may have been made, or refused, that shows nowhere: at a
// rate or with gradients of zero, or with one that is not finite.
bool UsageWatch::may_have_moved_nothing() const {
  bool has_rate = false;
  bool has_gradient = false;
  bool has_descent = false;
  for (const auto& group : optimizer_.param_groups()) {
    has_rate = has_rate || group.options().get_lr() > 0;
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.defined() || !parameter.grad().defined()) continue;
      const at::Tensor grad = parameter.grad().detach();
      if (grad.layout() != at::kStrided ||
          !at::isfinite(grad).all().item<bool>()) {
        return true;
      }
      has_gradient = true;
      has_descent = has_descent || grad.ne(0).any().item<bool>();
    }
  }
  return !has_rate || (has_gradient && !has_descent);
}

}  // namespace detail
}  // namespace stepsize
