#include "lr_choice.h"

#include <stepsize/tune/batch_scaling.h>

#include <algorithm>
#include <filesystem>
#include <string>

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
      options.whole_batch() * options.accumulate,
      options.lr_scaling == "sqrt" ? BatchRule::square_root()
                                   : BatchRule::linear());
}

// "--lr 8", or "--lr 2 at batch 4, 8 at batch 16".
std::string rate_text(const TrainOptions& options, double lr) {
  std::string text = format("--lr %.4g", options.lr);
  if (options.base_batch_size > 0) {
    text += format(
        " at batch %lld, %.4g at batch %lld,",
        static_cast<long long>(options.base_batch_size),
        lr,
        static_cast<long long>(options.whole_batch() * options.accumulate));
  }
  return text;
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
  if (options.rank == 0) {
    make_run_folder(options.out);
    result.write_csv(range_file(options, "csv").string());
    result.write_svg(range_file(options, "svg").string());
  }
  out << "range test: " << counted(result.lrs.size(), "update") << ", lr "
      << result.lrs.front() << " to " << result.lrs.back() << ":\n  "
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
  line(
      "peak",
      found.peak,
      "for a schedule that is near its peak for a short time");
}

}  // namespace

OptimizerSettings optimizer_settings(
    const TrainOptions& options,
    double lr,
    const std::shared_ptr<Reduction>& ranks) {
  OptimizerSettings settings;
  settings.ranks = ranks;
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
    const Course& course,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    const std::shared_ptr<Reduction>& ranks,
    const std::function<bool()>& should_stop,
    std::ostream& out,
    std::ostream& err,
    bool bar) {
  if (options.rank == 0) {
    std::filesystem::remove(range_file(options, "csv"));
    std::filesystem::remove(range_file(options, "svg"));
  }
  const double lr = scaled_lr(options);
  const auto settings = optimizer_settings(options, lr, ranks);
  if (options.lr_auto || options.lr_find) {
    auto images = source();
    const auto result = find_rate(
        model,
        settings,
        images,
        options.accumulate,
        [&](std::int64_t done, std::int64_t all, double rate, double loss) {
          if (bar) {
            out << format(
                       "\rrange test %lld/%lld  lr %.3g  loss %.3g\x1b[K",
                       static_cast<long long>(done),
                       static_cast<long long>(all),
                       rate,
                       loss)
                << std::flush;
          }
          return !should_stop();
        });
    if (bar) {
      out << "\r\x1b[K";
    }
    if (should_stop()) {
      return std::nullopt;
    }
    if (options.lr_find) {
      out << result.to_terminal() << '\n';
    }
    report_range_test(options, result, out);
    if (options.lr_find) {
      if (options.lr_given && went_wrong(result) && lr >= result.lrs.back()) {
        err << "warning: " << rate_text(options, lr)
            << " is past the rate where the loss diverged\n";
      }
      out << "files: " << range_file(options, "csv").string() << ", "
          << range_file(options, "svg").string() << '\n';
      return std::nullopt;
    }
    TORCH_CHECK(
        result.has_suggestion(),
        "--lr auto found no rate: ",
        result.reason,
        ". A larger --batch-size or --accumulate has less noise, and --lr "
        "names "
        "a rate");
    const double taken = result.suggestion(course.factor, course.updates);
    out << format(
        "  %-10s %-8.3g %s\n", "taken", taken, "for this run's schedule");
    return taken;
  }
  constexpr std::int64_t kUpdates = 30;
  const bool asked_for = options.lr_given || options.base_batch_size > 0;
  const bool can_diverge =
      options.optimizer != "rollback-sgd" && options.optimizer != "power-sgd";
  if (asked_for && options.lr_check && can_diverge &&
      course.updates >= kLeastUpdates) {
    out << "trying " << rate_text(options, lr)
        << " first (--no-lr-check leaves this out)\n"
        << std::flush;
    auto images = source();
    const bool harmful = does_harm(
        model,
        settings,
        images,
        options.accumulate,
        std::min(kUpdates, course.updates),
        should_stop);
    if (should_stop()) {
      return std::nullopt;
    }
    if (harmful) {
      err << "warning: " << rate_text(options, lr)
          << " is likely to diverge: in a short test the loss rose and did "
             "not come down again\n";
    }
  }
  return lr;
}

}  // namespace stepsize::trainer
