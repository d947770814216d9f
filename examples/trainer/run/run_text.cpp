#include "examples/trainer/run/run_text.h"

#include <ATen/Parallel.h>
#include <stepsize/report/csv_writer.h>

#include <algorithm>
#include <csignal>
#include <stdexcept>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/optimizer_table.h"
#include "examples/trainer/run/progress.h"
#include "examples/trainer/run/run_checkpoints.h"

namespace stepsize::trainer {

void describe_data(
    const TrainOptions& options,
    const TrainTestSets& sets,
    const ImageModel& model,
    std::ostream& out) {
  const auto& images = sets.train.images;
  out << options.dataset << ": " << sets.train.size() << " training and "
      << sets.test.size() << " test images, " << images.size(1) << "x"
      << images.size(2) << "x" << images.size(3) << ", " << sets.classes
      << " classes\n"
      << options.model << ": " << parameter_count(model) << " parameters\n"
      << std::flush;
}

void describe_run(
    const TrainOptions& options,
    double lr,
    const RunSchedule& run_schedule,
    std::ostream& out) {
  const std::int64_t batch = options.whole_batch() * options.accumulate;
  const auto& row = optimizer_row(options.optimizer);
  out << options.optimizer << ": lr " << lr
      << (row.finds_rate.empty() ? "" : " of the rate that is found");
  if (options.base_batch_size > 0) {
    out << " (" << options.lr << " at batch " << options.base_batch_size << ", "
        << options.lr_scaling << ')';
  }
  if (row.momentum) {
    out << ", momentum " << options.momentum;
  }
  out << ", weight decay " << options.weight_decay;
  if (options.max_norm) {
    out << ", max norm " << *options.max_norm;
  }
  if (options.rho) {
    out << ", rho " << *options.rho;
  }
  if (options.state_type != "float32") {
    out << ", state " << options.state_type;
  }
  if (options.safety) {
    out << ", policy " << *options.policy << ", safety " << *options.safety;
  }
  out << '\n' << counted(run_schedule.updates, "update") << " of ";
  if (options.batch_schedule > 0) {
    out << batch << " to ";
  }
  out << counted(std::max(batch, options.batch_schedule), "image") << " in "
      << counted(options.epochs, "epoch") << " on " << options.device << " ("
      << (options.world_size > 1
              ? std::to_string(options.world_size) + " processes of "
              : "")
      << counted(at::get_num_threads(), "thread") << "), seed " << options.seed
      << '\n'
      << "augmentation: " << options.augment << '\n';
  if (options.amp != "off") {
    out << "amp: " << options.amp << '\n';
  }
  out << "schedule: " << run_schedule.text << '\n';
  if (!options.monitor.empty()) {
    out << "monitor: " << options.monitor << ", every "
        << counted(options.monitor_every, "update");
    if (options.monitor_budget > 0) {
      out << ", in " << options.monitor_budget << "% of the time";
    }
    out << '\n';
  }
  out << "log and plots: " << options.out.string() << "\n\n" << std::flush;
}

void report_result(
    const std::vector<EpochResult>& epochs,
    std::size_t kept,
    bool stopped_early,
    double seconds,
    std::ostream& out) {
  out << '\n';
  if (stopped_early || kept + 1 != epochs.size()) {
    out << (stopped_early ? "stopped early after " : "after ")
        << counted(epochs.back().epoch, "epoch")
        << ": the test loss was lowest in epoch " << epochs[kept].epoch
        << ", which is the result\n";
  }
  out << "test accuracy " << 100 * epochs[kept].test_accuracy << "% after "
      << clock_text(seconds) << '\n';
}

bool report_ensemble(
    const std::vector<EnsembleRow>& rows,
    const std::filesystem::path& folder,
    const Console& console) {
  if (rows.empty()) {
    return false;
  }
  constexpr double kPercent = 100;
  console.out << '\n'
              << format(
                     "%-28s %10s %9s\n", "ensemble", "test loss", "accuracy");
  for (const auto& [name, result] : rows) {
    console.out << format(
        "%-28s %10.4g %8.2f%%\n",
        name.c_str(),
        result.loss,
        kPercent * result.accuracy);
  }
  try {
    CsvWriter table(
        (folder / "ensemble.csv").string(),
        {"model", "test_loss", "test_accuracy"});
    for (const auto& [name, result] : rows) {
      table.row({name, result.loss, result.accuracy});
    }
  } catch (const std::runtime_error& error) {
    console.err << "warning: " << error.what() << '\n';
  }
  return true;
}

void report_summary(
    const std::vector<EpochResult>& epochs,
    const std::filesystem::path& folder,
    std::ostream& out) {
  constexpr double kPercent = 100;
  const auto best = std::min_element(
      epochs.begin(),
      epochs.end(),
      [](const EpochResult& a, const EpochResult& b) {
        return a.test_loss < b.test_loss;
      });
  out << format(
      "best epoch %lld of %lld: test loss %.4g, accuracy %.2f%%\n",
      static_cast<long long>(best->epoch),
      static_cast<long long>(epochs.back().epoch),
      best->test_loss,
      kPercent * best->test_accuracy);
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& below : {folder, checkpoint_folder(folder)}) {
    std::vector<std::string> here;
    for (const auto& entry :
         std::filesystem::directory_iterator(below, error)) {
      const auto ending = entry.path().extension();
      if (ending == ".csv" || ending == ".svg" || ending == ".html" ||
          ending == ".ckpt") {
        here.push_back(entry.path().lexically_relative(folder).string());
      }
    }
    std::sort(here.begin(), here.end());
    names.insert(names.end(), here.begin(), here.end());
  }
  out << "files in " << folder.string() << ":\n  ";
  constexpr std::size_t kColumns = 79;
  std::size_t column = 2;
  for (const auto& name : names) {
    if (column > 2 && column + 1 + name.size() > kColumns) {
      out << "\n  ";
      column = 2;
    }
    out << (column > 2 ? " " : "") << name;
    column += name.size() + (column > 2 ? 1 : 0);
  }
  out << '\n';
}

std::string signal_name(int signal) {
  return signal == SIGINT ? "Ctrl-C" : "SIGTERM";
}

}  // namespace stepsize::trainer
