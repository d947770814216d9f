#include "examples/trainer/loop/choose_lr.h"

#include <stepsize/tune/batch_scaling.h>
#include <stepsize/tune/lr_range_test.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/search_lr.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/run/progress.h"
#include "examples/trainer/run/run_log.h"

namespace stepsize::trainer {
namespace {

LRRangeTestResult range_test(
    ImageModel& model,
    OptimizerChoice choice,
    BatchSource& source,
    LRRangeTestOptions options) {
  const auto& row = optimizer_row(choice.name);
  TORCH_CHECK(
      row.finds_rate.empty(),
      "find_rate: ",
      choice.name,
      " ",
      row.finds_rate,
      ", there is none to find");
  if (!row.range_test.empty()) {
    choice.name = row.range_test;
    choice.rho.reset();
  }
  choice.micro_batch = 0;
  const auto optimizer = make_optimizer(model, choice);
  model.train();
  const auto next = [&source] {
    auto batch = source.next();
    if (!batch) {
      source.start_epoch();
      batch = source.next();
    }
    return std::move(*batch);
  };
  const auto closure = [&] {
    const Batch batch = next();
    const auto loss = [&] {
      const auto autocast = model.autocast(batch.images);
      return loss_part(
          model.forward(batch.images), batch, batch.size(), choice.ranks.get());
    }();
    if (!row.wants_graph) {
      loss.backward();
    }
    return loss;
  };
  if (row.wants_graph) {
    options.closure(LRClosure::kReturnsGraph);
  }
  return lr_range_test(
      model, optimizer->inner(), closure, options.reduction(choice.ranks));
}

double median(
    std::vector<double>::const_iterator first,
    std::vector<double>::const_iterator last) {
  std::vector<double> values(first, last);
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

LRRangeTestResult find_rate(
    ImageModel& model,
    const OptimizerChoice& choice,
    BatchSource& source,
    std::int64_t accumulate,
    const RangeProgress& progress) {
  constexpr double kFirst = 1e-5;
  constexpr double kLast = 10;
  constexpr std::int64_t kUpdates = 300;
  // Far enough beyond what is usual.
  const double last =
      std::max({kLast, choice.lr, 10 * optimizer_row(choice.name).lr});
  auto from = choice;
  from.lr = kFirst;
  return range_test(
      model,
      from,
      source,
      LRRangeTestOptions()
          .start_lr(kFirst)
          .end_lr(last)
          .num_iterations(kUpdates)
          .accumulation_steps(accumulate)
          .progress([&](std::int64_t i, double lr, double loss) {
            return progress(i + 1, kUpdates, lr, loss);
          }));
}

bool does_harm(
    ImageModel& model,
    const OptimizerChoice& choice,
    BatchSource& source,
    std::int64_t accumulate,
    std::int64_t updates,
    const std::function<bool()>& should_stop) {
  const auto result = range_test(
      model,
      choice,
      source,
      LRRangeTestOptions()
          .start_lr(choice.lr / static_cast<double>(updates))
          .end_lr(choice.lr)
          .spacing(LRSpacing::kLinear)
          .num_iterations(updates)
          .accumulation_steps(accumulate)
          .progress([&](std::int64_t, double, double) {
            return !should_stop || !should_stop();
          }));
  if (went_wrong(result)) {
    return true;
  }
  // A rise alone is no harm: many a network comes back from it. Nor is a loss
  // that stays where it was, as at a rate that is too small.
  constexpr double kRisen = 1.5;
  constexpr double kNotFallen = 0.9;
  const auto& losses = result.losses;
  if (static_cast<std::int64_t>(losses.size()) < kLeastUpdates) {
    return false;
  }
  const double start = losses.front();
  const auto third = static_cast<std::ptrdiff_t>(losses.size() / 3);
  double highest = start;
  for (auto at = losses.begin(); losses.end() - at >= kLeastUpdates / 2; ++at) {
    highest = std::max(highest, median(at, at + kLeastUpdates / 2));
  }
  return highest > kRisen * start &&
         median(losses.end() - third, losses.end()) > kNotFallen * start;
}

bool went_wrong(const LRRangeTestResult& result) {
  return result.status == LRRangeStatus::kDiverged ||
         result.status == LRRangeStatus::kNonFinite;
}
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

OptimizerChoice optimizer_choice(
    const TrainOptions& options,
    double lr,
    const std::shared_ptr<Reduction>& ranks) {
  OptimizerChoice choice;
  choice.ranks = ranks;
  choice.name = options.optimizer;
  choice.lr = lr;
  choice.momentum = options.momentum;
  choice.weight_decay = options.weight_decay;
  choice.max_norm = options.max_norm;
  choice.safety = options.safety;
  choice.policy = options.policy;
  choice.rho = options.rho;
  choice.state_type = options.state_type;
  if (options.accumulate > 1 || options.batch_schedule > 0) {
    choice.micro_batch = options.batch_size;
  }
  return choice;
}

std::optional<double> choose_lr(
    const TrainOptions& options,
    const RunSchedule& run_schedule,
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
  if (options.search > 0) {
    return search_lr(
        options, run_schedule, model, source, should_stop, out, bar);
  }
  const double lr = scaled_lr(options);
  const auto choice = optimizer_choice(options, lr, ranks);
  if (options.lr_auto || options.lr_find) {
    auto images = source();
    const auto result = find_rate(
        model,
        choice,
        images,
        options.accumulate,
        [&](std::int64_t done, std::int64_t all, double rate, double loss) {
          if (bar) {
            const std::string text = format(
                "range test %lld/%lld  lr %.3g  loss %.3g",
                static_cast<long long>(done),
                static_cast<long long>(all),
                rate,
                loss);
            out << '\r' << progress_line(text, "", "", terminal_columns())
                << "\x1b[K" << std::flush;
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
    const double taken =
        result.suggestion(run_schedule.factor, run_schedule.updates);
    out << format(
        "  %-10s %-8.3g %s\n", "taken", taken, "for this run's schedule");
    return taken;
  }
  constexpr std::int64_t kUpdates = 30;
  const bool asked_for = options.lr_given || options.base_batch_size > 0;
  if (asked_for && options.lr_check &&
      optimizer_row(options.optimizer).is_tried_first() &&
      run_schedule.updates >= kLeastUpdates) {
    out << "trying " << rate_text(options, lr)
        << " first (--no-lr-check leaves this out)\n"
        << std::flush;
    auto images = source();
    const bool harmful = does_harm(
        model,
        choice,
        images,
        options.accumulate,
        std::min(kUpdates, run_schedule.updates),
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
