#include "run_text.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <csignal>

#include "progress.h"
#include "text.h"

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
    const Course& course,
    std::ostream& out) {
  const std::int64_t batch = options.whole_batch() * options.accumulate;
  out << options.optimizer << ": lr " << lr
      << (options.safety ? " of the measured rate" : "");
  if (options.base_batch_size > 0) {
    out << " (" << options.lr << " at batch " << options.base_batch_size << ", "
        << options.lr_scaling << ')';
  }
  out << ", momentum " << options.momentum << ", weight decay "
      << options.weight_decay;
  if (options.max_norm) {
    out << ", max norm " << *options.max_norm;
  }
  if (options.safety) {
    out << ", safety " << *options.safety;
  }
  out << '\n' << counted(course.updates, "update") << " of ";
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
      << "augmentation: " << options.augment << '\n'
      << "schedule: " << course.text << '\n'
      << "log and plots: " << options.out.string() << "\n\n"
      << std::flush;
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

std::string signal_name(int signal) {
  return signal == SIGINT ? "Ctrl-C" : "SIGTERM";
}

}  // namespace stepsize::trainer
