#include "examples/trainer/cli/optimizer_options.h"

#include <map>
#include <sstream>

#include "examples/trainer/cli/help_defaults.h"
#include "examples/trainer/cli/validators.h"

namespace stepsize::trainer {
namespace {

// What options are with an optimizer where they are left out.
struct OptimizerDefaults {
  double lr;
  double momentum;
  double weight_decay;
  std::optional<double> max_norm;  //< nothing: the optimizer has none
  std::optional<double> safety;    //< likewise
  const char* lr_scaling;          //< how the rate follows the batch
};

// In the place of a rate.
constexpr const char* kAuto = "auto";

// Shares of the limit that policies of power-sgd take.
constexpr char kEdge[] = "edge";
constexpr double kEdgeSafety = 1;
constexpr double kPolicySafety = 0.5;

struct Policy {
  std::string name;
  std::string how;  //< in a few words, where they tell more than the name
};
const std::vector<Policy>& policies() {
  static const std::vector<Policy> all{
      {kEdge, "from losses nearby"},
      {"sharpness", "by the power method"},
      {"averaged-vector", ""},
      {"secant", ""},
      {"polyak", ""}};
  return all;
}

const std::map<std::string, OptimizerDefaults>& optimizer_defaults() {
  static const std::map<std::string, OptimizerDefaults> defaults{
      {"sgd", {0.1, 0.9, 5e-4, {}, {}, "linear"}},
      {"adam", {0.003, 0.9, 0, {}, {}, "sqrt"}},
      {"adamw", {0.003, 0.9, 0.05, {}, {}, "sqrt"}},
      {"rmsprop", {0.001, 0, 0, {}, {}, "sqrt"}},
      {"clipped-sgd", {0.1, 0.9, 5e-4, 5, {}, "linear"}},
      {"clipped-adamw", {0.003, 0.9, 0.05, 5, {}, "sqrt"}},
      {"lion", {0.001, 0.9, 0.15, {}, {}, "sqrt"}},
      {"rollback-sgd", {0.1, 0.9, 5e-4, {}, {}, "linear"}},
      // The safety is that of its policy.
      {"power-sgd", {1, 0.9, 5e-4, {}, kEdgeSafety, "linear"}},
  };
  return defaults;
}

// For the help, in lines.
std::string policies_text() {
  std::vector<std::string> parts{"How power-sgd finds its rate:"};
  for (const auto& [name, how] : policies()) {
    parts.push_back(name + (how.empty() ? "" : ", " + how) + ';');
  }
  parts.back().pop_back();
  return wrapped(parts);
}

std::string safety_defaults() {
  std::ostringstream text;
  text << "[power-sgd: " << kEdgeSafety << "; with another --policy than "
       << kEdge << ": " << kPolicySafety << ']';
  return text.str();
}

std::string owners_of(std::optional<double> OptimizerDefaults::*option) {
  std::string text;
  for (const auto& [name, defaults] : optimizer_defaults()) {
    if (defaults.*option) {
      text += (text.empty() ? "" : " and ") + name;
    }
  }
  return text;
}

std::optional<double> given_or_default(
    const char* flag,
    std::optional<double> given,
    std::optional<double> OptimizerDefaults::*option,
    const std::string& optimizer) {
  const auto preset = optimizer_defaults().at(optimizer).*option;
  if (given && !preset) {
    throw CLI::ValidationError(
        flag,
        "is an option of " + owners_of(option) + ", and --optimizer is " +
            optimizer);
  }
  return given ? given : preset;
}

}  // namespace

std::vector<std::string> optimizer_names() {
  return keys_of(optimizer_defaults());
}

const std::vector<std::string>& policy_names() {
  static const auto all = [] {
    std::vector<std::string> names;
    for (const auto& policy : policies()) names.push_back(policy.name);
    return names;
  }();
  return all;
}

std::string usual_lr_scaling(const std::string& optimizer) {
  return optimizer_defaults().at(optimizer).lr_scaling;
}

std::string lr_scaling_defaults() {
  return by_name(optimizer_defaults(), &OptimizerDefaults::lr_scaling);
}

void add_optimizer_options(
    CLI::App& app, TrainOptions& options, OpenOptimizerOptions& open) {
  const auto& defaults = optimizer_defaults();
  app.add_option(
         "--optimizer",
         options.optimizer,
         "LibTorch's sgd, adam, adamw or rmsprop; clipped-sgd,\n"
         "clipped-adamw: with a longest gradient; lion: steps by\n"
         "the signs of a mean of gradients; rollback-sgd: takes\n"
         "back steps that went wrong, with a lower rate;\n"
         "power-sgd: needs no rate, it measures curvature" +
             fixed_default(options.optimizer))
      ->check(one_of(keys_of(defaults)))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--lr",
         open.lr,
         "The rate that the schedule multiplies, or auto: found\n"
         "by a range test; for power-sgd a factor of the rate\n"
         "that it measures\n" +
             by_name(defaults, &OptimizerDefaults::lr))
      ->check(number_or(kAuto, "> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--momentum",
         open.momentum,
         "Momentum; beta1 of adam, adamw, clipped-adamw and lion\n" +
             by_name(defaults, &OptimizerDefaults::momentum))
      ->check(number("in [0, 1)", [](double x) { return x >= 0 && x < 1; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--weight-decay",
         open.weight_decay,
         "Weight decay (decoupled from the gradient in adamw,\n"
         "clipped-adamw and lion)\n" +
             by_name(defaults, &OptimizerDefaults::weight_decay))
      // LibTorch multiplies in single precision.
      ->check(number(
          ">= 0 and < 1e30", [](double x) { return x >= 0 && x < 1e30; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--max-norm",
         open.max_norm,
         "Longest gradient that is not clipped\n" +
             by_name(defaults, &OptimizerDefaults::max_norm))
      ->check(number("> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--safety",
         open.safety,
         "Share of the largest stable rate that is taken; above 1\n"
         "the loss grows\n" +
             safety_defaults())
      ->check(number("> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--policy",
         open.policy,
         policies_text() + "\n[power-sgd: " + kEdge + "]")
      ->check(one_of(policy_names()))
      ->type_name("NAME")
      ->group("Training");
}

void fill_optimizer_defaults(
    TrainOptions& options, const OpenOptimizerOptions& open) {
  const auto& optimizer = optimizer_defaults().at(options.optimizer);
  options.lr_auto = open.lr == kAuto;
  options.lr_given = open.lr && !options.lr_auto;
  options.lr = options.lr_auto ? 0 : optimizer.lr;
  if (options.lr_given) {
    // It has been checked.
    CLI::detail::lexical_cast(*open.lr, options.lr);
  }
  options.momentum = open.momentum.value_or(optimizer.momentum);
  options.weight_decay = open.weight_decay.value_or(optimizer.weight_decay);
  options.max_norm = given_or_default(
      "--max-norm",
      open.max_norm,
      &OptimizerDefaults::max_norm,
      options.optimizer);
  options.safety = given_or_default(
      "--safety", open.safety, &OptimizerDefaults::safety, options.optimizer);
  const bool measures = options.safety.has_value();
  if (open.policy && !measures) {
    throw CLI::ValidationError(
        "--policy",
        "is an option of power-sgd, and --optimizer is " + options.optimizer);
  }
  if (measures) {
    options.policy = open.policy.value_or(kEdge);
    if (options.policy != kEdge && !open.safety) {
      options.safety = kPolicySafety;
    }
  }
}

}  // namespace stepsize::trainer
