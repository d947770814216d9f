#include "lr_choice.h"

#include <stepsize/tune/batch_scaling.h>

#include <filesystem>
#include <string>

#include "course.h"
#include "rate_finder.h"
#include "run_log.h"
#include "text.h"

namespace stepsize::trainer {
namespace {

// What the schedule multiplies, where it is not to be found first.
double scaled_lr(const TrainOptions& options) {
  if (options.base_batch_size == 0) {
    return options.lr;
  }
  return scale_lr(
      options.lr,
      options.base_batch_size,
      first_batch(options),
      options.lr_scaling == "sqrt" ? BatchRule::square_root()
                                   : BatchRule::linear());
}

void warn_of_rate(double lr, double diverged, std::ostream& err) {
  err << "warning: --lr: in a range test the loss diverged at "
      << format("%.3g", diverged) << ", and the rate asked for is " << lr
      << "; --lr auto finds one\n";
}

std::filesystem::path range_file(
    const TrainOptions& options, const std::string& ending) {
  return options.out / ("lr_range." + ending);
}

// Lines on a range test, and its files.
void report_range_test(
    const TrainOptions& options,
    const LRRangeTestResult& result,
    std::ostream& out) {
  make_run_folder(options.out);
  result.write_csv(range_file(options, "csv").string());
  result.write_svg(range_file(options, "svg").string());
  out << "range test: " << counted(result.lrs.size(), "update") << ", lr "
      << result.lrs.front() << " to " << result.lrs.back() << "; "
      << result.reason << '\n';
  const auto& found = result.suggestions;
  const auto line =
      [&](const char* name, std::optional<double> rate, const char* meaning) {
        if (rate) {
          out << format("  %-10s %-8.3g %s\n", name, *rate, meaning);
        }
      };
  line("low", found.low, "the loss has begun to fall");
  line("steepest", found.steepest, "it falls fastest");
  line("suggested", found.suggested, "for a constant rate");
  line("maximal", found.maximal, "it is lowest");
  line("peak", found.peak, "for a schedule that warms up and decays");
}

}  // namespace

OptimizerSettings optimizer_settings(const TrainOptions& options, double lr) {
  OptimizerSettings settings;
  settings.name = options.optimizer;
  settings.lr = lr;
  settings.momentum = options.momentum;
  settings.weight_decay = options.weight_decay;
  settings.max_norm = options.max_norm;
  settings.safety = options.safety;
  if (options.accumulate > 1 || options.batch_schedule > 0) {
    settings.micro_batch = options.batch_size;
  }
  return settings;
}

std::optional<double> choose_lr(
    const TrainOptions& options,
    bool has_peak,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    std::ostream& out,
    std::ostream& err) {
  std::filesystem::remove(range_file(options, "csv"));
  std::filesystem::remove(range_file(options, "svg"));
  const double lr = scaled_lr(options);
  const auto settings = optimizer_settings(options, lr);
  if (options.lr_auto || options.lr_find) {
    auto images = source();
    const auto result = find_rate(model, settings, images, options.accumulate);
    if (options.lr_find) {
      out << result.to_terminal() << '\n';
    }
    report_range_test(options, result, out);
    if (options.lr_find && options.lr_given && went_wrong(result) &&
        lr >= result.lrs.back()) {
      warn_of_rate(lr, result.lrs.back(), err);
    }
    if (options.lr_find) {
      out << "files: " << range_file(options, "csv").string() << ", "
          << range_file(options, "svg").string() << '\n';
      return std::nullopt;
    }
    // Throws where there is none.
    const double suggested = result.suggestion();
    return has_peak ? result.suggestions.peak : suggested;
  }
  const bool can_diverge =
      options.optimizer != "rollback-sgd" && options.optimizer != "power-sgd";
  if (options.lr_given && options.lr_check && can_diverge) {
    auto images = source();
    const auto result = try_rate(model, settings, images, options.accumulate);
    if (went_wrong(result)) {
      warn_of_rate(lr, result.lrs.back(), err);
    }
  }
  return lr;
}

}  // namespace stepsize::trainer
