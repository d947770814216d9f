#include "run_log.h"

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

fs::path make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    throw std::runtime_error(
        "cannot make the folder " + folder.string() + ": " +
        (error ? error.message() : "something else has that name"));
  }
  return folder;
}

void remove_picture(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    throw std::runtime_error(
        "cannot replace " + path.string() + ": " + error.message());
  }
}

void draw_plan(
    const fs::path& path,
    const Schedule& schedule,
    double lr,
    std::int64_t steps) {
  // A curve of more points than this looks no different.
  constexpr std::int64_t kMostPoints = 20000;
  const std::int64_t stride = (steps + kMostPoints - 1) / kMostPoints;
  std::vector<double> x;
  std::vector<double> y;
  for (std::int64_t step = 0; step < steps; step += stride) {
    x.push_back(static_cast<double>(step + 1));
    y.push_back(lr * schedule(static_cast<double>(step)));
  }
  LinePlot plot("Learning rate");
  plot.x_label("update").y_label("rate").line("", x, y);
  write_svg(path.string(), plot);
}

// Each value becomes the mean of the ones around it, so that a curve of single
// batches can be read.
std::vector<double> smooth(const std::vector<double>& values) {
  const std::size_t reach = values.size() / 200;
  std::vector<double> sums(1, 0.0);
  for (const double value : values) {
    sums.push_back(sums.back() + value);
  }
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t first = i < reach ? 0 : i - reach;
    const std::size_t last = std::min(i + reach + 1, values.size());
    result.push_back(
        (sums[last] - sums[first]) / static_cast<double>(last - first));
  }
  return result;
}

}  // namespace

RunLog::RunLog(
    const fs::path& folder,
    const Schedule& schedule,
    double lr,
    std::int64_t steps)
    : folder_(make_folder(folder)),
      epoch_table_(
          (folder / "log.csv").string(),
          {"epoch",
           "step",
           "lr",
           "train_loss",
           "train_accuracy",
           "test_loss",
           "test_accuracy",
           "images_per_second"}),
      step_table_(
          (folder / "steps.csv").string(), {"step", "lr", "train_loss"}) {
  remove_picture(folder / "loss.svg");
  remove_picture(folder / "accuracy.svg");
  draw_plan(folder / "lr.svg", schedule, lr, steps);
}

void RunLog::add(const StepResult& result) {
  step_table_.row({result.step, result.lr, result.loss});
  steps_.push_back(result);
}

void RunLog::add(const EpochResult& result) {
  epoch_table_.row(
      {result.epoch,
       result.step,
       result.lr,
       result.train_loss,
       result.train_accuracy,
       result.test_loss,
       result.test_accuracy,
       result.images_per_second});
  epochs_.push_back(result);
}

void RunLog::draw() const {
  std::vector<double> step;
  std::vector<double> loss;
  for (const auto& result : steps_) {
    step.push_back(static_cast<double>(result.step));
    loss.push_back(result.loss);
  }
  std::vector<double> end;
  std::vector<double> test_loss;
  std::vector<double> train_accuracy;
  std::vector<double> test_accuracy;
  constexpr double kPercent = 100;
  for (const auto& result : epochs_) {
    end.push_back(static_cast<double>(result.step));
    test_loss.push_back(result.test_loss);
    train_accuracy.push_back(kPercent * result.train_accuracy);
    test_accuracy.push_back(kPercent * result.test_accuracy);
  }

  LinePlot losses("Loss");
  losses.x_label("update").y_label("cross-entropy").y_log();
  losses.line("training", step, smooth(loss));
  losses.line("test", end, test_loss).points("test", end, test_loss);
  write_svg((folder_ / "loss.svg").string(), losses);

  LinePlot accuracies("Accuracy");
  accuracies.x_label("update").y_label("%");
  accuracies.line("training", end, train_accuracy)
      .points("training", end, train_accuracy)
      .line("test", end, test_accuracy)
      .points("test", end, test_accuracy);
  write_svg((folder_ / "accuracy.svg").string(), accuracies);
}

}  // namespace stepsize::trainer
