#include <stepsize/adaptive/schedule_free_optimizer.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <unordered_set>
#include <utility>

#include "csrc/adaptive/schedule_free_point.h"
#include "csrc/core/archive.h"
#include "csrc/optim/operand_checks.h"

namespace stepsize {
namespace {

constexpr std::size_t kScheduleFreeZ = 0;

std::string schedule_free_key(std::size_t group, const char* name) {
  return "group" + std::to_string(group) + "_" + name;
}

}  // namespace

ScheduleFreeOptimizer::ScheduleFreeOptimizer(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(defaults)) {}

ScheduleFreeOptimizer::Mean ScheduleFreeOptimizer::mean_of(
    const at::Tensor& parameter) const {
  const auto found = means_.find(parameter.unsafeGetTensorImpl());
  return found == means_.end() ? Mean() : found->second;
}

// With the sum of weights in units of the new one no power overflows.
ScheduleFreeOptimizer::AveragedStep ScheduleFreeOptimizer::next_step(
    const Averaging& options, int64_t step, Mean& mean) {
  const auto t = static_cast<double>(step);
  double lr = options.lr;
  if (step < options.warmup_steps) {
    lr *= t / static_cast<double>(options.warmup_steps);
  }
  const double lr_max = std::max(mean.lr_max, lr);
  if (mean.total > 0) {
    mean.total *= std::pow((t - 1) / t, options.r) *
                  std::pow(mean.lr_max / lr_max, options.weight_lr_power);
  }
  mean.lr_max = lr_max;
  double share = 0;
  if (lr > 0) {
    mean.total += 1;
    share = 1 / mean.total;
  }
  double pull = share;
  if (mean.beta > 0 && mean.beta != options.beta) {
    pull = 1 - (1 - share) * options.beta / mean.beta;
  }
  mean.beta = options.beta;
  return {lr, pull, lr * (options.beta * (1 - share) - 1)};
}

at::Tensor ScheduleFreeOptimizer::step(LossClosure closure) {
  const auto check_mode = [this] {
    TORCH_CHECK(
        training_,
        kind(),
        ": it is in eval mode, in which the parameters hold the average: call "
        "train() before step()");
  };
  LossClosure checked;
  if (closure) {
    // Not before evaluate(), which lets other ranks know of it.
    checked = [&] {
      check_mode();
      return closure();
    };
  }
  const at::Tensor loss = evaluate(checked, [&] {
    check_mode();
    check_all_options();
    check_gradients();
  });
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  std::vector<AveragedStep> steps;
  std::vector<Mean> means;
  steps.reserve(updates.size());
  means.reserve(updates.size());
  // Where the map has them: it does not move what it holds.
  std::vector<Mean*> places;
  places.reserve(updates.size());
  for (ParameterUpdate& own : updates) {
    const bool is_first =
        !group_state(own.group).slots[kScheduleFreeZ][own.index].defined();
    if (is_first) own.state[kScheduleFreeZ].copy_(own.parameter);
    const auto known = means_.find(own.parameter.unsafeGetTensorImpl());
    places.push_back(known == means_.end() ? nullptr : &known->second);
    Mean& mean = means.emplace_back(
        is_first || places.back() == nullptr ? Mean() : *places.back());
    steps.push_back(next_step(
        averaging(param_groups()[own.group].options()), own.step, mean));
  }
  update_all(updates, steps);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    if (places[k] != nullptr) {
      *places[k] = means[k];
    } else {
      means_[updates[k].parameter.unsafeGetTensorImpl()] = means[k];
    }
  }
  take_over(std::move(updates));
  return loss;
}

// All that have z, checked; the others have one point.
std::vector<ScheduleFreeOptimizer::Point> ScheduleFreeOptimizer::points() {
  check_all_options();
  std::vector<Point> points;
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    const auto& parameters = param_groups()[g].params();
    const double beta = averaging(param_groups()[g].options()).beta;
    const auto& z = group_state(g).slots[kScheduleFreeZ];
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!z[i].defined()) continue;
      detail::check_state_fits(kind(), "z", {g, i}, z[i], parameters[i]);
      const double at = mean_of(parameters[i]).beta;
      points.push_back({parameters[i], z[i], at > 0 ? at : beta, beta});
    }
  }
  return points;
}

void ScheduleFreeOptimizer::Point::move(double share_of_z) const {
  const at::Tensor wide = parameter.to(z.scalar_type());
  if (wide.is_same(parameter)) {
    at::Tensor(parameter).lerp_(z, share_of_z);
  } else {
    at::Tensor(parameter).copy_(at::lerp(wide, z, share_of_z));
  }
}

void ScheduleFreeOptimizer::eval() {
  if (!training_) return;
  const c10::AutoGradMode no_grad(false);
  for (const Point& own : points()) own.move(1 - 1 / own.beta);
  training_ = false;
}

void ScheduleFreeOptimizer::train() {
  if (training_) return;
  const c10::AutoGradMode no_grad(false);
  for (const Point& own : points()) {
    own.move(1 - own.next_beta);
    means_[own.parameter.unsafeGetTensorImpl()].beta = own.next_beta;
  }
  training_ = true;
}

void ScheduleFreeOptimizer::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_int(archive, "training", training_ ? 1 : 0);
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    std::vector<double> totals;
    std::vector<double> rates;
    std::vector<double> betas;
    for (const at::Tensor& parameter : param_groups()[g].params()) {
      const Mean mean = mean_of(parameter);
      totals.push_back(mean.total);
      rates.push_back(mean.lr_max);
      betas.push_back(mean.beta);
    }
    detail::write_doubles(
        archive, schedule_free_key(g, "weight_total"), totals);
    detail::write_doubles(archive, schedule_free_key(g, "lr_max"), rates);
    detail::write_doubles(archive, schedule_free_key(g, "beta_of_y"), betas);
  }
}

std::function<void()> ScheduleFreeOptimizer::read_counters(
    torch::serialize::InputArchive& archive) {
  const bool training =
      detail::read_int(archive, kind(), "training", /*most=*/1) == 1;
  std::unordered_map<const void*, Mean> means;
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    const auto& parameters = param_groups()[g].params();
    const auto read = [&](const char* name) {
      const std::string key = schedule_free_key(g, name);
      auto values = detail::read_doubles(archive, kind(), key);
      detail::check_finite(kind(), key, values);
      TORCH_CHECK(
          values.size() == parameters.size() &&
              std::none_of(
                  values.begin(), values.end(), [](double v) { return v < 0; }),
          kind(),
          ": '",
          key,
          "' of the archive must be ",
          parameters.size(),
          " numbers >= 0");
      return values;
    };
    const auto totals = read("weight_total");
    const auto rates = read("lr_max");
    const auto betas = read("beta_of_y");
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      TORCH_CHECK(
          betas[i] < 1,
          kind(),
          ": beta_of_y of the archive must be below 1, got ",
          betas[i]);
      if (betas[i] == 0) continue;
      means[parameters[i].unsafeGetTensorImpl()] = {
          totals[i], rates[i], betas[i]};
    }
  }
  return [this, training, means] {
    training_ = training;
    means_ = means;
  };
}

}  // namespace stepsize
