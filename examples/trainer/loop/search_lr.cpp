#include "examples/trainer/loop/search_lr.h"

#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/tune/lr_search.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/choose_lr.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/run/progress.h"
#include "examples/trainer/run/run_log.h"

namespace stepsize::trainer {
namespace {

constexpr double kSearchLow = 1e-5;
constexpr double kSearchHigh = 10;
// Rows of the table that is printed.
constexpr std::size_t kShown = 5;

// A signal, on its way out of a trial that is to be done again.
struct SearchEnded {};

// The weights as they were, for each trial and at the end.
class StartingWeights {
 public:
  explicit StartingWeights(ImageModel& model) : model_(model) {
    for (const auto& tensor : tensors()) {
      copies_.push_back(tensor.detach().clone());
    }
  }
  ~StartingWeights() { put_back(); }
  StartingWeights(const StartingWeights&) = delete;
  StartingWeights& operator=(const StartingWeights&) = delete;

  void put_back() const {
    const torch::NoGradGuard no_grad;
    const auto all = tensors();
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].detach().copy_(copies_[i]);
    }
    for (const auto& parameter : model_.parameters()) {
      parameter.mutable_grad().reset();
    }
  }

 private:
  std::vector<torch::Tensor> tensors() const {
    auto all = model_.parameters();
    const auto buffers = model_.buffers();
    all.insert(all.end(), buffers.begin(), buffers.end());
    return all;
  }

  ImageModel& model_;
  std::vector<torch::Tensor> copies_;
};

MicroBatches batches_of_update(BatchSource& source, std::int64_t count) {
  MicroBatches batches;
  while (static_cast<std::int64_t>(batches.size()) < count) {
    auto batch = source.next();
    if (!batch) {
      // The last update of an epoch has what is left.
      if (!batches.empty()) break;
      source.start_epoch();
      batch = source.next();
    }
    batches.push_back(std::move(*batch));
  }
  return batches;
}

// What the trials depend on, for the journal.
std::string search_label(const TrainOptions& options, std::int64_t updates) {
  std::string label = std::to_string(updates) + " updates";
  for (const auto& [flag, value] : option_values(options)) {
    // Where the data lies, how long the run is beyond its schedule, and what it
    // is computed on; and how many trials there are.
    if (flag == "--search" || flag == "--data-dir" || flag == "--device" ||
        flag == "--threads" || flag == "--early-stop" ||
        flag == "--checkpoint-every") {
      continue;
    }
    label += ' ' + flag + ' ' + value;
  }
  return label;
}

}  // namespace

std::optional<double> search_lr(
    const TrainOptions& options,
    const RunSchedule& run_schedule,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    const std::function<bool()>& should_stop,
    std::ostream& out,
    bool bar) {
  const std::int64_t updates = std::min(run_schedule.updates, kTrialUpdates);
  const auto last_ones =
      static_cast<std::size_t>(std::max<std::int64_t>(updates / 10, 1));
  const bool is_stretched = std::isfinite(run_schedule.factor.length()) &&
                            updates < run_schedule.updates;
  const Schedule factor =
      is_stretched
          ? run_schedule.factor.stretch_to(
                run_schedule.factor.length() * static_cast<double>(updates) /
                static_cast<double>(run_schedule.updates))
          : run_schedule.factor;
  const StartingWeights weights(model);
  const auto train = [&](Trial& trial) {
    weights.put_back();
    model.train();
    BatchSource images = source();
    const auto optimizer =
        make_optimizer(model, optimizer_choice(options, trial.lr()));
    ScheduleLR scheduler(optimizer->inner(), factor);
    PhaseTimer timer;
    std::deque<double> losses;
    double mean = 0;
    for (std::int64_t update = 1; update <= updates; ++update) {
      if (should_stop()) throw SearchEnded();
      const auto made = make_update(
          *optimizer, batches_of_update(images, options.accumulate), timer);
      scheduler.step();
      losses.push_back(made.loss.item<double>());
      if (losses.size() > last_ones) losses.pop_front();
      mean = 0;
      for (const double loss : losses) {
        mean += loss / static_cast<double>(losses.size());
      }
      if (bar) {
        const std::string text = format(
            "search %lld/%lld  lr %.3g  loss %.3g",
            static_cast<long long>(trial.number() + 1),
            static_cast<long long>(options.search),
            trial.lr(),
            mean);
        out << '\r' << progress_line(text, "", "", terminal_columns())
            << "\x1b[K" << std::flush;
      }
      if (!trial.report(update, mean)) break;
    }
    return mean;
  };
  make_run_folder(options.out);
  const auto file = [&](const char* ending) {
    return (options.out / (std::string("lr_search.") + ending)).string();
  };
  const auto end_bar = [&] {
    if (bar) out << "\r\x1b[K";
  };
  std::error_code none;
  if (std::filesystem::file_size(file("jsonl"), none) > 0 && !none) {
    out << "search: goes on with the trials in " << file("jsonl") << '\n';
  }
  try {
    const auto result = lr_search(
        train,
        LRSearchOptions(kSearchLow, kSearchHigh)
            .trials(options.search)
            .seed(static_cast<std::int64_t>(options.seed))
            .journal(file("jsonl"))
            .label(search_label(options, updates)));
    end_bar();
    result.write_csv(file("csv"));
    result.write_svg(file("svg"));
    out << "search: " << counted(result.trials.size(), "trial") << " of "
        << counted(updates, "update") << ", lr " << kSearchLow << " to "
        << kSearchHigh
        << (result.trials.size() > kShown
                ? ", the best " + std::to_string(kShown) + " of them:"
                : ":")
        << '\n';
    TORCH_CHECK(
        result.has_best(),
        "--search found no rate: none of its trials came to an end");
    out << result.table(kShown)
        << format("  %-10s %-8.3g\n", "taken", result.best("lr"));
    return result.best("lr");
  } catch (const SearchEnded&) {
    end_bar();
    return std::nullopt;
  }
}

}  // namespace stepsize::trainer
