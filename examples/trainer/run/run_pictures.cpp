#include "examples/trainer/run/run_pictures.h"

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/tune/curvature_report.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

// A point that is not drawn.
constexpr double kNowhere = std::numeric_limits<double>::quiet_NaN();

struct Curve {
  std::vector<double> x;
  std::vector<double> y;
};

// A value of each row over the updates that it belongs to.
template <typename Row, typename Value>
Curve curve(const std::vector<Row>& rows, const Value& value) {
  Curve result;
  for (const auto& row : rows) {
    result.x.push_back(static_cast<double>(row.step));
    result.y.push_back(value(row));
  }
  return result;
}

// Sums of `values` over windows of `reach` to either side. Within blocks of a
// window's length, sums from the left and from the right are added, and nothing
// is subtracted: a huge value leaves no trace outside its windows.
std::vector<double> window_sums(
    const std::vector<double>& values, std::size_t reach) {
  const std::size_t width = 2 * reach + 1;
  std::vector<double> padded(reach, 0.0);
  padded.insert(padded.end(), values.begin(), values.end());
  padded.resize((padded.size() + reach + width) / width * width, 0.0);
  std::vector<double> from_left = padded;
  std::vector<double> from_right = padded;
  for (std::size_t i = 0; i < padded.size(); ++i) {
    if (i % width != 0) {
      from_left[i] += from_left[i - 1];
      const std::size_t j = padded.size() - 1 - i;
      from_right[j] += from_right[j + 1];
    }
  }
  std::vector<double> sums;
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums.push_back(
        i % width == 0 ? from_left[i + width - 1]
                       : from_right[i] + from_left[i + width - 1]);
  }
  return sums;
}

// Updates to either side in the mean of smoothed().
std::size_t smoothing_reach(std::size_t updates) { return updates / 200; }

// "norm", or "norm, mean of 9" where it is smoothed.
std::string smoothed_name(const std::string& name, std::size_t updates) {
  const std::size_t reach = smoothing_reach(updates);
  return reach == 0 ? name
                    : name + ", mean of " + std::to_string(2 * reach + 1);
}

// A level line over the updates, dashed by its gaps; its name has the level.
void add_level(
    LinePlot& plot, const std::string& name, double level, std::size_t steps) {
  constexpr int kDashes = 60;
  const double first = 1;
  const double dash = (static_cast<double>(steps) - first) / kDashes;
  Curve dashes;
  for (int i = 0; i < kDashes; ++i) {
    for (const double end : {0.0, 0.6}) {
      dashes.x.push_back(first + (i + end) * dash);
      dashes.y.push_back(level);
    }
    dashes.x.push_back(first + (i + 1) * dash);
    dashes.y.push_back(kNowhere);
  }
  std::ostringstream text;
  text << name << ' ' << level;
  plot.line(text.str(), std::move(dashes.x), std::move(dashes.y));
}

template <typename Value>
void add_rollbacks(
    LinePlot& plot, const std::vector<StepResult>& steps, const Value& value) {
  std::vector<StepResult> rollbacks;
  std::copy_if(
      steps.begin(),
      steps.end(),
      std::back_inserter(rollbacks),
      [](const StepResult& step) { return step.rolled_back; });
  if (!rollbacks.empty()) {
    auto dots = curve(rollbacks, value);
    plot.points("rollback", std::move(dots.x), std::move(dots.y));
  }
}

Curve planned_rate(const RunPlan& plan) {
  // A curve of more points than this looks no different.
  constexpr std::int64_t kMostPoints = 20000;
  const std::int64_t stride = (plan.steps + kMostPoints - 1) / kMostPoints;
  Curve result;
  for (std::int64_t step = 0; step < plan.steps; step += stride) {
    result.x.push_back(static_cast<double>(step + 1));
    result.y.push_back(plan.lr * plan.schedule(static_cast<double>(step)));
  }
  return result;
}

LinePlot plan_plot(const RunPlan& plan) {
  const auto planned = planned_rate(plan);
  const bool is_factor = plan.rate == RateOrigin::kFound;
  LinePlot plot(
      is_factor ? "Factor of the learning rate that is found"
                : "Learning rate");
  plot.x_label("update").y_label(is_factor ? "factor" : "rate");
  plot.line("", planned.x, planned.y);
  return plot;
}

LinePlot rate_plot(const RunPlan& plan, const std::vector<StepResult>& steps) {
  const auto rate = [](const StepResult& step) { return step.lr; };
  const bool fell = std::any_of(
      steps.begin(), steps.end(), [](const auto& s) { return s.rolled_back; });
  if (plan.rate == RateOrigin::kSchedule && !fell) {
    return plan_plot(plan);
  }
  LinePlot plot("Learning rate");
  plot.x_label("update").y_label("rate");
  const auto rates = curve(steps, rate);
  if (plan.rate == RateOrigin::kFound) {
    // What the schedule's factor was taken of.
    const auto found = curve(steps, [&](const StepResult& step) {
      const double factor =
          plan.lr * plan.schedule(static_cast<double>(step.step - 1));
      return factor > 0 ? step.lr / factor : kNowhere;
    });
    plot.y_log();
    plot.line("found", found.x, found.y);
  } else {
    const auto planned = planned_rate(plan);
    // The rates that were taken may lie decades below those planned.
    plot.y_log();
    plot.line("planned", planned.x, planned.y);
  }
  plot.line("taken", rates.x, rates.y);
  add_rollbacks(plot, steps, rate);
  return plot;
}

LinePlot loss_plot(
    const std::vector<StepResult>& steps,
    const std::vector<EpochResult>& epochs) {
  const auto train =
      curve(steps, [](const StepResult& step) { return step.loss; });
  const auto test =
      curve(epochs, [](const EpochResult& epoch) { return epoch.test_loss; });
  LinePlot plot("Loss");
  plot.x_label("update").y_label("cross-entropy").y_log();
  plot.line(
      smoothed_name("training", steps.size()), train.x, smoothed(train.y));
  plot.line("test", test.x, test.y).points("test", test.x, test.y);
  return plot;
}

LinePlot accuracy_plot(const std::vector<EpochResult>& epochs) {
  constexpr double kPercent = 100;
  const auto train = curve(epochs, [](const EpochResult& epoch) {
    return kPercent * epoch.train_accuracy;
  });
  const auto test = curve(epochs, [](const EpochResult& epoch) {
    return kPercent * epoch.test_accuracy;
  });
  LinePlot plot("Accuracy");
  plot.x_label("update").y_label("%");
  plot.line("training", train.x, train.y)
      .points("training", train.x, train.y)
      .line("test", test.x, test.y)
      .points("test", test.x, test.y);
  return plot;
}

LinePlot gradient_plot(
    const RunPlan& plan, const std::vector<StepResult>& steps) {
  const auto norm = [](const StepResult& step) { return step.grad_norm; };
  const auto norms = curve(steps, norm);
  LinePlot plot("Gradient");
  plot.x_label("update").y_label("norm").y_log();
  plot.line(smoothed_name("norm", steps.size()), norms.x, smoothed(norms.y));
  if (plan.max_norm) {
    add_level(plot, "max norm", *plan.max_norm, steps.size());
  }
  add_rollbacks(plot, steps, norm);
  return plot;
}

LinePlot sharpness_plot(
    const RunPlan& plan,
    const std::vector<StepResult>& steps,
    const std::vector<CurvatureMeasurement>& curvature) {
  if (!plan.stability_limit) {
    return curvature_plot(curvature);
  }
  const auto sharpness = curve(steps, [](const StepResult& step) {
    return step.sharpness.value_or(kNowhere);
  });
  const auto product = curve(steps, [](const StepResult& step) {
    return step.lr * step.sharpness.value_or(kNowhere);
  });
  LinePlot plot("Sharpness");
  plot.x_label("update").y_log();
  plot.line("sharpness", sharpness.x, sharpness.y);
  if (plan.monitors) {
    Curve watched;
    for (const auto& row : curvature) {
      watched.x.push_back(static_cast<double>(row.update));
      watched.y.push_back(row.sharpness);
    }
    plot.points("monitored", watched.x, watched.y);
  }
  plot.line("rate x sharpness", product.x, product.y);
  add_level(plot, "its limit", *plan.stability_limit, steps.size());
  return plot;
}

LinePlot batch_plot(const std::vector<StepResult>& steps) {
  const auto batch = curve(steps, [](const StepResult& step) {
    return static_cast<double>(step.batch);
  });
  const auto noise = curve(steps, [](const StepResult& step) {
    return step.noise_scale.value_or(kNowhere);
  });
  LinePlot plot("Batch");
  plot.x_label("update").y_label("images").y_log();
  plot.line("batch", batch.x, batch.y);
  plot.line("gradient noise scale", noise.x, noise.y);
  return plot;
}

void write_picture(const fs::path& folder, const RunPicture& picture) {
  write_svg((folder / picture.file).string(), picture.plot);
}

}  // namespace

std::vector<double> smoothed(const std::vector<double>& values) {
  std::vector<double> finite;
  std::vector<double> ones;
  for (const double value : values) {
    finite.push_back(std::isfinite(value) ? value : 0);
    ones.push_back(std::isfinite(value) ? 1 : 0);
  }
  const std::size_t reach = smoothing_reach(values.size());
  const auto sums = window_sums(finite, reach);
  const auto counts = window_sums(ones, reach);
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    result.push_back(
        std::isfinite(values[i]) ? sums[i] / counts[i] : values[i]);
  }
  return result;
}

const std::vector<std::string>& result_pictures() {
  static const std::vector<std::string> names{
      "loss.svg", "accuracy.svg", "gradient.svg", "sharpness.svg", "batch.svg"};
  return names;
}

void draw_plan(const fs::path& folder, const RunPlan& plan) {
  write_picture(folder, {"lr.svg", plan_plot(plan)});
}

RunPicture rate_picture(const RunPlan& plan, const RunRows& rows) {
  return {"lr.svg", rate_plot(plan, rows.steps)};
}

std::vector<RunPicture> result_plots(const RunPlan& plan, const RunRows& rows) {
  std::vector<RunPicture> pictures{
      {"loss.svg", loss_plot(rows.steps, rows.epochs)},
      {"accuracy.svg", accuracy_plot(rows.epochs)},
      {"gradient.svg", gradient_plot(plan, rows.steps)}};
  if (plan.stability_limit || plan.monitors) {
    pictures.push_back(
        {"sharpness.svg", sharpness_plot(plan, rows.steps, rows.curvature)});
  }
  if (plan.batch_varies) {
    pictures.push_back({"batch.svg", batch_plot(rows.steps)});
  }
  return pictures;
}

void draw_results(
    const fs::path& folder, const RunPlan& plan, const RunRows& rows) {
  write_picture(folder, rate_picture(plan, rows));
  for (const auto& picture : result_plots(plan, rows)) {
    write_picture(folder, picture);
  }
}

}  // namespace stepsize::trainer
