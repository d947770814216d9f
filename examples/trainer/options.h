#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace stepsize::trainer {

/// What a run is asked to do, every default filled in.
struct TrainOptions {
  std::string dataset = "fashion-mnist";
  std::filesystem::path data_dir;
  std::string model = "cnn";
  std::string augment;
  std::string optimizer = "sgd";
  double lr = 0;
  double momentum = 0;
  double weight_decay = 0;
  /// Of the optimizers that have it; nothing for the others.
  std::optional<double> max_norm;
  std::optional<double> safety;
  std::string schedule = "warmup 10% > cosine 90%";
  std::int64_t epochs = 0;
  std::int64_t batch_size = 128;
  std::uint64_t seed = 1;
  /// 0: as many as LibTorch takes by itself.
  int threads = 0;
  std::string device = "cpu";
  /// Train on the first so many images; 0: on all.
  std::int64_t limit_train = 0;
  std::filesystem::path out = "stepsize-run";
  bool profile = false;
};

/// What the command line came to: options for a run, or the exit status of a
/// program that has nothing left to do, as after --help or a bad option.
struct CommandLine {
  TrainOptions options;
  std::optional<int> exit_status;
};

/// Exit status of a command line that cannot be understood.
constexpr int kBadCommandLine = 2;

/// Reads the command line of stepsize-train. Prints the help to stdout and
/// what is wrong with an option to stderr.
CommandLine parse_command_line(int argc, const char* const* argv);

}  // namespace stepsize::trainer
