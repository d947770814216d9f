#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// What a run is asked to do, every default filled in.
struct TrainOptions {
  std::string dataset = "fashion-mnist";
  std::filesystem::path data_dir;
  std::string model = "cnn";
  std::string augment;
  std::string optimizer = "sgd";
  double lr = 0;
  /// Whether `lr` was named, and is no default.
  bool lr_given = false;
  /// Find the rate by a range test before training; `lr` is then 0.
  bool lr_auto = false;
  /// Do the range test and no more.
  bool lr_find = false;
  /// Find the rate by a search of so many short trials; `lr_auto` is then true.
  /// 0: not so.
  std::int64_t search = 0;
  /// Look before training whether a rate that was asked for is too high.
  bool lr_check = true;
  /// The batch that `lr` is meant for; 0: for that of the run.
  std::int64_t base_batch_size = 0;
  /// linear or sqrt.
  std::string lr_scaling;
  double momentum = 0;
  double weight_decay = 0;
  /// Of the optimizers that have it; nothing for the others.
  std::optional<double> max_norm;
  std::optional<double> safety;
  std::optional<double> rho;
  std::string state_type = "float32";
  /// How power-sgd finds its rate; nothing for the others.
  std::optional<std::string> policy;
  std::string schedule = "warmup 10% > cosine 90%";
  std::int64_t epochs = 0;
  /// Of each process.
  std::int64_t batch_size = 128;
  /// Micro-batches of batch_size images in an update.
  std::int64_t accumulate = 1;
  /// Images in an update that the batch may grow to instead of a decay of the
  /// rate; 0: it does not grow.
  std::int64_t batch_schedule = 0;
  /// Epochs without a lower test loss until the run ends; 0: it does not.
  std::int64_t early_stop = 0;
  /// Snapshots of the run, one at the end of each cycle of the rate, that are
  /// tested together at its end; 0: none.
  std::int64_t ensemble = 0;
  std::uint64_t seed = 1;
  /// 0: as many as LibTorch takes by itself.
  int threads = 0;
  std::string device = "cpu";
  /// off, or bf16: what the loss is computed in by autocast.
  std::string amp = "off";
  /// Processes that train one model, and which of them this is.
  std::int64_t world_size = 1;
  std::int64_t rank = 0;
  /// Which it is on its machine, where its launcher has said so.
  std::optional<std::int64_t> local_rank;
  /// HOST:PORT of process 0, where there are several.
  std::string master;
  /// How long one waits for another, in seconds.
  double timeout = 60;
  /// Train on the first so many images; 0: on all.
  std::int64_t limit_train = 0;
  /// Empty: a folder of its own for each run, see run_folder.h.
  std::filesystem::path out;
  /// Where the trained weights go; empty: nowhere.
  std::filesystem::path export_file;
  /// Where events for TensorBoard go; empty: nowhere.
  std::filesystem::path tensorboard;
  bool profile = false;
  /// What is watched besides: curvature; empty: nothing.
  std::string monitor;
  /// Updates between two of its measurements.
  std::int64_t monitor_every = 100;
  /// Percent of the training's time that they may take; 0: no bound.
  double monitor_budget = 0;
  /// Updates between checkpoints, besides the one after each epoch, which is
  /// all that there are where this is nothing; 0: none at all.
  std::optional<std::int64_t> checkpoint_every;

  /// Images of all processes in a micro-batch.
  std::int64_t whole_batch() const { return batch_size * world_size; }
};

/// Options as they stand on a command line: "--model" and "cnn".
using OptionValues = std::map<std::string, std::string>;

/// What the command line came to: options for a run, or the exit status of a
/// program that has nothing left to do, as after --help or a bad option.
struct CommandLine {
  /// Where `resume` is true, only what belongs to one start says something,
  /// such as `out`, `profile` and `tensorboard`: the rest is the checkpoint's,
  /// which `given` may change or contradict.
  TrainOptions options;
  /// Go on with the run in options.out.
  bool resume = false;
  /// Replace the run in options.out, if there is one.
  bool overwrite = false;
  /// Compare the runs in these folders, and do no more.
  std::vector<std::string> compare;
  /// Test the model of this checkpoint, and do no more.
  std::filesystem::path evaluate;
  /// Those that were given.
  OptionValues given;
  std::optional<int> exit_status;
};

/// Exit status of a command line that cannot be understood.
constexpr int kBadCommandLine = 2;

/// Whether the variables of a launcher say which of several processes this is,
/// where no option does.
enum class Launchers : std::uint8_t { kRead, kIgnored };

/// Reads the command line of stepsize-train. Prints the help to stdout and
/// what is wrong with an option to stderr.
CommandLine parse_command_line(
    int argc, const char* const* argv, Launchers launchers = Launchers::kRead);

}  // namespace stepsize::trainer
