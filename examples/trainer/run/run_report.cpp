#include "examples/trainer/run/run_report.h"

#include <stepsize/report/html_report.h>
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

constexpr double kInPercent = 100;

std::string percent_text(double share) {
  return format("%.2f%%", kInPercent * share);
}
std::string number_text(double value) {
  // printf may give it a sign.
  return std::isnan(value) ? "nan" : format("%.4g", value);
}

// Null where no test loss is finite.
const EpochResult* lowest_of(const std::vector<EpochResult>& epochs) {
  const EpochResult* lowest = nullptr;
  for (const auto& epoch : epochs) {
    if (std::isfinite(epoch.test_loss) &&
        (lowest == nullptr || epoch.test_loss < lowest->test_loss)) {
      lowest = &epoch;
    }
  }
  return lowest;
}

HtmlReport::Facts outcome(const RunRows& rows) {
  HtmlReport::Facts facts;
  if (!rows.epochs.empty()) {
    const auto& last = rows.epochs.back();
    const auto* best = lowest_of(rows.epochs);
    const auto result = [](const EpochResult& epoch) {
      return number_text(epoch.test_loss) + ", accuracy " +
             percent_text(epoch.test_accuracy);
    };
    facts.emplace_back("test loss at the end", result(last));
    facts.emplace_back(
        "lowest test loss",
        best == nullptr
            ? "none is finite"
            : result(*best) + ", epoch " + std::to_string(best->epoch));
    facts.emplace_back(
        "training loss, last epoch",
        number_text(last.train_loss) + ", accuracy " +
            percent_text(last.train_accuracy));
  }
  const auto rollbacks = std::count_if(
      rows.steps.begin(), rows.steps.end(), [](const StepResult& step) {
        return step.rolled_back;
      });
  facts.emplace_back(
      "so far",
      counted(static_cast<std::int64_t>(rows.epochs.size()), "epoch") + ", " +
          counted(static_cast<std::int64_t>(rows.steps.size()), "update"));
  if (rollbacks > 0) {
    facts.emplace_back("rollbacks", std::to_string(rollbacks));
  }
  return facts;
}

HtmlReport::Rows epoch_rows(const std::vector<EpochResult>& epochs) {
  HtmlReport::Rows rows;
  for (const auto& epoch : epochs) {
    rows.push_back(
        {std::to_string(epoch.epoch),
         std::to_string(epoch.step),
         number_text(epoch.lr),
         number_text(epoch.train_loss),
         percent_text(epoch.train_accuracy),
         number_text(epoch.test_loss),
         percent_text(epoch.test_accuracy),
         format("%.0f", epoch.images_per_second)});
  }
  return rows;
}

// The section that a picture belongs to, and what is said there.
std::pair<std::string, std::string> section_of(const std::string& file) {
  if (file == "gradient.svg") {
    return {
        "Gradient norm",
        "Of the whole gradient of an update, before clipping and rollbacks."};
  }
  if (file == "sharpness.svg") {
    return {"Sharpness", "The largest eigenvalue of the Hessian of the loss."};
  }
  if (file == "batch.svg") {
    return {"Batch", "Images in an update, and the gradient noise scale."};
  }
  return {"Losses", ""};
}

std::string file_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void add_picture(
    const char* title,
    const std::filesystem::path& picture,
    HtmlReport& report) {
  report.section(title);
  try {
    report.svg(file_text(picture));
  } catch (const std::invalid_argument&) {
    // Taken away since, or replaced by another program's.
    report.text("There is no " + picture.filename().string() + " any more.");
  }
}

// What it was when the run came to its end.
void add_ensemble(const std::filesystem::path& table, HtmlReport& report) {
  std::ifstream file(table);
  HtmlReport::Rows rows;
  std::string line;
  std::getline(file, line);  // the columns
  while (std::getline(file, line)) {
    std::istringstream cells(line);
    std::string name;
    std::string loss;
    std::string accuracy;
    std::getline(cells, name, ',');
    std::getline(cells, loss, ',');
    std::getline(cells, accuracy, ',');
    rows.push_back(
        {name,
         number_text(number_in<double>(loss).value_or(NAN)),
         percent_text(number_in<double>(accuracy).value_or(NAN))});
  }
  if (rows.empty()) {
    return;
  }
  report.section("Ensemble");
  report.table({"model", "test loss", "test accuracy"}, rows);
}

}  // namespace

void describe_for_report(
    const TrainOptions& options, const std::string& data, RunPlan& plan) {
  plan.title =
      options.dataset + ", " + options.model + ", " + options.optimizer;
  plan.facts = {
      {"data", data},
      {"learning rate", number_text(plan.lr)},
      {"schedule", options.schedule},
      {"planned", counted(plan.steps, "update")},
      {"stepsize", STEPSIZE_VERSION},
      {"LibTorch", STEPSIZE_TORCH_RELEASE}};
  plan.options.clear();
  for (const auto& [name, value] : option_values(options)) {
    plan.options.emplace_back(name, value);
  }
  plan.has_range_test = options.lr_auto && options.search == 0;
  plan.has_search = options.search > 0;
  plan.has_ensemble = options.ensemble > 0;
}

void write_report(
    const std::filesystem::path& folder,
    const RunPlan& plan,
    const RunRows& rows) {
  HtmlReport report(plan.title);
  report.section("Summary").facts(outcome(rows)).facts(plan.facts);
  report.table(
      {"epoch",
       "updates",
       "rate",
       "training loss",
       "training accuracy",
       "test loss",
       "test accuracy",
       "images/s"},
      epoch_rows(rows.epochs));
  report.section("Rates").plot(rate_picture(plan, rows).plot);
  std::string section;
  for (const auto& picture : result_plots(plan, rows)) {
    const auto [title, text] = section_of(picture.file);
    if (title != section) {
      section = title;
      report.section(title);
      if (!text.empty()) report.text(text);
    }
    report.plot(picture.plot);
  }
  if (plan.has_range_test) {
    add_picture("Range test", folder / "lr_range.svg", report);
  }
  if (plan.has_search) {
    add_picture("Search", folder / "lr_search.svg", report);
  }
  if (plan.has_ensemble) {
    add_ensemble(folder / "ensemble.csv", report);
  }
  report.section("Options").facts(plan.options);
  write_html((folder / kRunReport).string(), report);
}

}  // namespace stepsize::trainer
