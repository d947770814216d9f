#include <stepsize/tune/batch_scaling.h>

#include <stepsize/state/optimizer_traits.h>
#include <torch/optim/optimizer.h>

#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

using torch::optim::OptimizerOptions;

void check_batch(const char* who, const char* name, int64_t batch) {
  detail::check_option(batch >= 1, who, name, ">= 1", batch);
}

void check_size(const char* who, const char* name, double value) {
  detail::check_option(
      std::isfinite(value) && value >= 0, who, name, "finite and >= 0", value);
}

void check_share(const char* who, const char* name, double value) {
  detail::check_option(value >= 0 && value < 1, who, name, "in [0, 1)", value);
}

// kappa, of two batches that are sound.
double growth(const char* who, int64_t base_batch, int64_t batch) {
  check_batch(who, "base_batch", base_batch);
  check_batch(who, "batch", batch);
  return static_cast<double>(batch) / static_cast<double>(base_batch);
}

double scaled_beta(const char* name, double beta, double kappa) {
  if (kappa == 1) return beta;
  const double scaled = kappa * (1 - beta);
  TORCH_CHECK(
      scaled < 1,
      "scale_adam: batch / base_batch * (1 - ",
      name,
      ") must be < 1, got ",
      detail::number_text(kappa),
      " * ",
      detail::number_text(1 - beta),
      " = ",
      detail::number_text(scaled),
      ": no average is that short");
  return 1 - scaled;
}

// What scale_lr() does to one group, and how it is done.
struct GroupChange {
  OptimizerOptions* options;
  AdamSettings settings;  // with the other rules only lr counts
};

// The options of Adam's rule, by role.
constexpr OptionRole kAdamRoles[] = {
    OptionRole::kRate,
    OptionRole::kMomentum,
    OptionRole::kSecondBeta,
    OptionRole::kEpsilon};

AdamSettings adam_settings(const OptimizerOptions& options, std::size_t group) {
  const OptimizerTraits* const traits = find_traits(options);
  bool is_adam = traits != nullptr &&
                 traits->gradient() == GradientUse::kScalesCoordinates;
  std::vector<double> numbers;
  for (const OptionRole role : kAdamRoles) {
    const auto number = is_adam ? traits->options().get(options, role)
                                : std::optional<double>();
    is_adam = number.has_value();
    numbers.push_back(number.value_or(0));
  }
  TORCH_CHECK(
      is_adam,
      "scale_lr: the rule adam_sde() is for Adam, AdamW, ClippedAdamW and what "
      "says by OptimizerTraits that it scales coordinates as they do; the "
      "options of group ",
      group,
      " are of another class");
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

void apply(const GroupChange& change, bool is_adam) {
  if (!is_adam) {
    change.options->set_lr(change.settings.lr);
    return;
  }
  const auto& list = find_traits(*change.options)->options();
  const AdamSettings& settings = change.settings;
  const double numbers[] = {
      settings.lr, settings.beta1, settings.beta2, settings.eps};
  for (std::size_t i = 0; i < std::size(numbers); ++i) {
    list.set(*change.options, kAdamRoles[i], numbers[i]);
  }
}

}  // namespace

BatchRule BatchRule::noise_scale(double examples) {
  check_size("BatchRule", "noise_scale", examples);
  return BatchRule(Kind::kNoiseScale, examples);
}

double scale_lr(
    double lr, int64_t base_batch, int64_t batch, const BatchRule& rule) {
  constexpr char kWho[] = "scale_lr";
  check_size(kWho, "lr", lr);
  const double kappa = growth(kWho, base_batch, batch);
  switch (rule.kind()) {
    case BatchRule::Kind::kLinear:
      return lr * kappa;
    case BatchRule::Kind::kSquareRoot:
      return lr * std::sqrt(kappa);
    case BatchRule::Kind::kNoiseScale:
      return lr * (1 + rule.noise_scale() / static_cast<double>(base_batch)) /
             (1 + rule.noise_scale() / static_cast<double>(batch));
    case BatchRule::Kind::kAdamSde:
      break;
  }
  TORCH_CHECK(
      false,
      "scale_lr: the rule adam_sde() changes betas and eps besides the rate: "
      "use scale_adam(), or scale_lr() on the optimizer");
}

void scale_lr(
    torch::optim::Optimizer& optimizer,
    int64_t base_batch,
    int64_t batch,
    const BatchRule& rule) {
  const bool is_adam = rule.kind() == BatchRule::Kind::kAdamSde;
  std::vector<GroupChange> changes;
  for (std::size_t i = 0; i < optimizer.param_groups().size(); ++i) {
    OptimizerOptions& options = optimizer.param_groups()[i].options();
    GroupChange change{&options, {}};
    if (is_adam) {
      change.settings =
          scale_adam(adam_settings(options, i), base_batch, batch);
    } else {
      change.settings.lr = scale_lr(options.get_lr(), base_batch, batch, rule);
    }
    changes.push_back(change);
  }
  for (const GroupChange& change : changes) apply(change, is_adam);
}

AdamSettings scale_adam(
    const AdamSettings& settings, int64_t base_batch, int64_t batch) {
  constexpr char kWho[] = "scale_adam";
  check_size(kWho, "lr", settings.lr);
  check_share(kWho, "beta1", settings.beta1);
  check_share(kWho, "beta2", settings.beta2);
  check_size(kWho, "eps", settings.eps);
  const double kappa = growth(kWho, base_batch, batch);
  return {
      settings.lr * std::sqrt(kappa),
      settings.beta1 == 0 ? 0 : scaled_beta("beta1", settings.beta1, kappa),
      scaled_beta("beta2", settings.beta2, kappa),
      settings.eps / std::sqrt(kappa)};
}

double noise_scale_lr(double lr_max, double noise_scale, int64_t batch) {
  constexpr char kWho[] = "noise_scale_lr";
  check_size(kWho, "lr_max", lr_max);
  check_size(kWho, "noise_scale", noise_scale);
  check_batch(kWho, "batch", batch);
  return lr_max / (1 + noise_scale / static_cast<double>(batch));
}

double effective_lr(double lr, double momentum) {
  check_size("effective_lr", "lr", lr);
  check_share("effective_lr", "momentum", momentum);
  return lr / (1 - momentum);
}

double nominal_lr(double effective_lr, double momentum) {
  check_size("nominal_lr", "effective_lr", effective_lr);
  check_share("nominal_lr", "momentum", momentum);
  return effective_lr * (1 - momentum);
}

}  // namespace stepsize
