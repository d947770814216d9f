#include "examples/trainer/cli/optimizer_options.h"

#include <stepsize/report/csv_cell.h>

#include <iomanip>
#include <map>
#include <sstream>

#include "examples/trainer/cli/help_defaults.h"
#include "examples/trainer/cli/validators.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {
namespace {

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

// The rows by their names.
const std::map<std::string, OptimizerRow>& rows_by_name() {
  static const auto all = [] {
    std::map<std::string, OptimizerRow> rows;
    for (const auto& row : optimizer_rows()) rows.emplace(row.name, row);
    return rows;
  }();
  return all;
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

template <typename Has>
std::string names_with(const Has& has) {
  std::string text;
  for (const auto& [name, row] : rows_by_name()) {
    if (has(row)) {
      text += (text.empty() ? "" : " and ") + name;
    }
  }
  return text;
}

std::string owners_of(std::optional<double> OptimizerRow::*option) {
  return names_with([&](const auto& row) { return (row.*option).has_value(); });
}

std::string names_with_state_types() {
  return names_with([](const auto& row) { return row.has_state_types; });
}

std::optional<double> given_or_default(
    const char* flag,
    std::optional<double> given,
    std::optional<double> OptimizerRow::*option,
    const std::string& optimizer) {
  const auto preset = rows_by_name().at(optimizer).*option;
  if (given && !preset) {
    throw CLI::ValidationError(
        flag,
        "is an option of " + owners_of(option) + ", and --optimizer is " +
            optimizer);
  }
  return given ? given : preset;
}

// As many cycles of one length as the ensemble has snapshots, with a warm-up in
// the first tenth of the first.
std::string cycles(const TrainOptions& options) {
  const double length = static_cast<double>(options.epochs) /
                        static_cast<double>(options.ensemble);
  const auto epochs = [](double count) { return CsvCell(count).text() + "ep"; };
  return "warmup " + epochs(length / 10) + " * cosine_restarts " +
         epochs(length);
}

}  // namespace

std::vector<std::string> optimizer_names() {
  std::vector<std::string> names;
  for (const auto& row : optimizer_rows()) names.push_back(row.name);
  return names;
}

const std::vector<std::string>& policy_names() {
  static const auto all = [] {
    std::vector<std::string> names;
    for (const auto& policy : policies()) names.push_back(policy.name);
    return names;
  }();
  return all;
}

std::string schedule_defaults(const std::string& usual) {
  return by_name(rows_by_name(), &OptimizerRow::schedule, usual);
}

std::string optimizer_table() {
  std::ostringstream text;
  const auto line = [&](const std::string& name,
                        const auto& lr,
                        const auto& momentum,
                        const auto& decay,
                        const std::string& scaling,
                        const std::string& about) {
    text << "  " << std::left << std::setw(20) << name << std::setw(7) << lr
         << std::setw(9) << momentum << std::setw(7) << decay << std::setw(7)
         << scaling << about << '\n';
  };
  text << "Optimizers, with the defaults of --lr, --momentum, --weight-decay "
          "and\n--lr-scaling (the decay of the kin of Adam and of lion, muon, "
          "adahessian and\nsophia-h is decoupled from the gradient, but for "
          "adam and hypergradient-adam):\n"
          "                      lr     momentum decay  scaling\n";
  for (const auto& row : optimizer_rows()) {
    std::ostringstream momentum;
    if (row.momentum) momentum << *row.momentum;
    line(
        row.name,
        row.lr,
        momentum.str(),
        row.weight_decay,
        row.lr_scaling,
        row.about);
  }
  return text.str();
}

void add_optimizer_options(
    CLI::App& app, TrainOptions& options, OpenOptimizerOptions& open) {
  app.add_option(
         "--optimizer",
         options.optimizer,
         "One of the table below" + fixed_default(options.optimizer))
      ->check(one_of(optimizer_names()))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--lr",
         open.lr,
         "The rate that the schedule multiplies, or auto: found\n"
         "by a range test; for those that find a rate themselves\n"
         "a factor of it [by optimizer]")
      ->check(number_or(kAuto, "> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--momentum",
         open.momentum,
         "Momentum; beta1 of Adam and its kin [by optimizer]")
      ->check(number("in [0, 1)", [](double x) { return x >= 0 && x < 1; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--weight-decay",
         open.weight_decay,
         "Weight decay, as each optimizer has it [by optimizer]")
      // LibTorch multiplies in single precision.
      ->check(number(
          ">= 0 and < 1e30", [](double x) { return x >= 0 && x < 1e30; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--max-norm",
         open.max_norm,
         "Longest gradient that is not clipped\n" +
             by_name(rows_by_name(), &OptimizerRow::max_norm))
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
         "--rho",
         open.rho,
         "Length of the step uphill\n" +
             by_name(rows_by_name(), &OptimizerRow::rho))
      ->check(number(">= 0", [](double x) { return x >= 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--policy",
         open.policy,
         policies_text() + "\n[power-sgd: " + kEdge + "]")
      ->check(one_of(policy_names()))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--state-type",
         open.state_type,
         "What the optimizer's means are kept in: float32,\n"
         "bfloat16 or 8bit; an option of clipped-adamw,\n"
         "clipped-sgd and lion [float32]")
      ->check(one_of({"float32", "bfloat16", "8bit"}))
      ->type_name("NAME")
      ->group("Training");
}

void fill_optimizer_defaults(
    TrainOptions& options, const OpenOptimizerOptions& open) {
  const auto& optimizer = rows_by_name().at(options.optimizer);
  options.lr_auto = open.lr == kAuto;
  options.lr_given = open.lr && !options.lr_auto;
  options.lr = options.lr_auto ? 0 : optimizer.lr;
  if (options.lr_given) {
    // It has been checked.
    CLI::detail::lexical_cast(*open.lr, options.lr);
  }
  options.schedule = open.schedule.value_or(
      options.ensemble > 0 ? cycles(options) : optimizer.schedule);
  if (open.momentum && !optimizer.momentum) {
    throw CLI::ValidationError(
        "--momentum", "is of no use: " + options.optimizer + " has none");
  }
  if (open.momentum && *open.momentum == 0 && optimizer.averages) {
    throw CLI::ValidationError(
        "--momentum", "must be > 0 for " + options.optimizer + ", got 0");
  }
  options.momentum = open.momentum.value_or(optimizer.momentum.value_or(0));
  options.weight_decay = open.weight_decay.value_or(optimizer.weight_decay);
  const auto fill = [&](const char* flag,
                        std::optional<double>& value,
                        std::optional<double> given,
                        std::optional<double> OptimizerRow::*option) {
    value = given_or_default(flag, given, option, options.optimizer);
  };
  fill("--max-norm", options.max_norm, open.max_norm, &OptimizerRow::max_norm);
  fill("--safety", options.safety, open.safety, &OptimizerRow::safety);
  fill("--rho", options.rho, open.rho, &OptimizerRow::rho);
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
  if (open.state_type != "float32" && !optimizer.has_state_types) {
    throw CLI::ValidationError(
        "--state-type",
        "must be float32, as it is an option of " + names_with_state_types() +
            ", and --optimizer is " + options.optimizer);
  }
  options.state_type = open.state_type;
}

}  // namespace stepsize::trainer
