#include "option_flags.h"

#include <CLI/CLI.hpp>

#include <limits>
#include <sstream>
#include <vector>

#include "option_checks.h"
#include "option_defaults.h"

namespace stepsize::trainer {
namespace {

// No run is longer, and products of two such numbers can be counted.
constexpr std::uint64_t kMost = 1000000000;

template <typename Value>
std::string always(const Value& value) {
  std::ostringstream text;
  text << " [" << value << "]";
  return text.str();
}

void add_data_options(CLI::App& app, TrainOptions& options, OpenOptions& open) {
  const auto& defaults = dataset_defaults();
  app.add_option(
         "--dataset",
         options.dataset,
         "fashion-mnist, mnist, kmnist, qmnist, cifar10,\n"
         "cifar100, emnist-balanced, -byclass, -bymerge, -digits,\n"
         "-letters or -mnist" +
             always(options.dataset))
      ->check(one_of(names(defaults)))
      ->type_name("NAME")
      ->group("Data");
  app.add_option(
         "--data-dir",
         open.data_dir,
         "Folder with its files, or CIFAR's .tar.gz\n[fashion-mnist: " +
             defaults.at("fashion-mnist").data_dir +
             ",\nof Debian's package dataset-fashion-mnist]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Data");
  app.add_option(
         "--augment",
         open.augment,
         "Change training images at random: none, flip (mirror\n"
         "half of them), or crop-flip (also move them by up to 4\n"
         "pixels)\n" +
             by_name(defaults, &DatasetDefaults::augment, "none"))
      ->check(one_of({"none", "flip", "crop-flip"}))
      ->type_name("NAME")
      ->group("Data");
  app.add_option(
         "--limit-train",
         options.limit_train,
         "Train on the first N images only [all]")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Data");
}

void add_optimizer_options(
    CLI::App& app, TrainOptions& options, OpenOptions& open) {
  const auto& defaults = optimizer_defaults();
  app.add_option(
         "--optimizer",
         options.optimizer,
         "LibTorch's sgd, adam, adamw or rmsprop; clipped-sgd,\n"
         "clipped-adamw: with a longest gradient; rollback-sgd:\n"
         "takes back steps that went wrong, with a lower rate;\n"
         "power-sgd: finds the rate by measuring curvature" +
             always(options.optimizer))
      ->check(one_of(names(defaults)))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--lr",
         open.lr,
         "The rate that the schedule multiplies, or auto: found\n"
         "by a range test; for power-sgd a factor of the rate\n"
         "that it measures\n" +
             by_name(defaults, &OptimizerDefaults::lr))
      ->check(number_or(kAuto, "> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--momentum",
         open.momentum,
         "Momentum; for adam, adamw and clipped-adamw, beta1\n" +
             by_name(defaults, &OptimizerDefaults::momentum))
      ->check(number("in [0, 1)", [](double x) { return x >= 0 && x < 1; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--weight-decay",
         open.weight_decay,
         "Weight decay (decoupled from the gradient in adamw and\n"
         "clipped-adamw)\n" +
             by_name(defaults, &OptimizerDefaults::weight_decay))
      // LibTorch multiplies in single precision.
      ->check(number(
          ">= 0 and < 1e30", [](double x) { return x >= 0 && x < 1e30; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--max-norm",
         open.max_norm,
         "Longest gradient that is not clipped\n" +
             by_name(defaults, &OptimizerDefaults::max_norm))
      ->check(number("> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--safety",
         open.safety,
         "Share of the largest stable rate that is taken; above 1\n"
         "the loss grows\n" +
             by_name(defaults, &OptimizerDefaults::safety))
      ->check(number("> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
}

void add_rate_options(CLI::App& app, TrainOptions& options, OpenOptions& open) {
  app.add_flag(
         "--lr-find",
         options.lr_find,
         "Do the range test only: draw it, say which rates it\n"
         "suggests, and write lr_range.csv and lr_range.svg")
      ->group("Rate and batch");
  app.add_flag(
         "--no-lr-check",
         open.no_lr_check,
         "Do not try, in 30 updates that are undone, whether the\n"
         "loss bears a rate that --lr names")
      ->group("Rate and batch");
  app.add_option(
         "--base-batch-size",
         options.base_batch_size,
         "The batch that --lr is meant for: it is scaled to that\n"
         "of the run")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
  app.add_option(
         "--lr-scaling",
         open.lr_scaling,
         "How: linear or sqrt\n" +
             by_name(optimizer_defaults(), &OptimizerDefaults::lr_scaling))
      ->check(one_of({"linear", "sqrt"}))
      ->type_name("NAME")
      ->group("Rate and batch");
  app.add_option(
         "--accumulate",
         options.accumulate,
         "Micro-batches of --batch-size images in an update; the\n"
         "gradient noise scale is measured from 2 on" +
             always(options.accumulate))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
  app.add_option(
         "--batch-schedule",
         options.batch_schedule,
         "Let the batch grow to up to N images, in micro-batches,\n"
         "where the schedule would lower the rate")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
}

void add_training_options(
    CLI::App& app, TrainOptions& options, OpenOptions& open) {
  app.add_option(
         "--model",
         options.model,
         "cnn: three convolutions with BatchNorm; resnet20: the\n"
         "CIFAR form of He et al. 2016; resnet18: ResNet-18 with\n"
         "a 3x3 stem" +
             always(options.model))
      ->check(one_of({"cnn", "resnet20", "resnet18"}))
      ->type_name("NAME")
      ->group("Training");
  add_optimizer_options(app, options, open);
  app.add_option(
         "--schedule",
         options.schedule,
         "What multiplies the rate over the run, see below\n[" +
             options.schedule + "]")
      ->type_name("TEXT")
      ->group("Training");
  app.add_option(
         "--epochs",
         open.epochs,
         "Passes over the training images\n" +
             by_name(dataset_defaults(), &DatasetDefaults::epochs, 2))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--batch-size",
         options.batch_size,
         "Images in an update, or in a micro-batch of it" +
             always(options.batch_size))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--early-stop",
         options.early_stop,
         "End after N epochs without a lower test loss; the\n"
         "result is then that of the best epoch")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--seed",
         options.seed,
         "Seed of the weights and of all chance" + always(options.seed))
      // More bits than these LibTorch's generator of a CPU does not look at.
      ->check(whole_number(0, std::numeric_limits<std::uint32_t>::max()))
      ->type_name("N")
      ->group("Training");
}

void add_machine_options(CLI::App& app, TrainOptions& options) {
  constexpr std::uint64_t kMostThreads = 4096;
  app.add_option(
         "--threads",
         options.threads,
         "Threads of the CPU [LibTorch's choice; one a core if\n"
         "that is 1 and OMP_NUM_THREADS is not set]")
      ->check(whole_number(1, kMostThreads))
      ->type_name("N")
      ->group("Machine");
  app.add_option(
         "--device",
         options.device,
         "cpu, cuda, cuda:1, ..." + always(options.device))
      ->type_name("NAME")
      ->group("Machine");
  app.add_option(
         "--out",
         options.out,
         "Folder for log, plots and checkpoints [runs/NAME-N, a\n"
         "new one for each run]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Machine");
  app.add_flag(
         "--profile",
         options.profile,
         "Say at the end which share of the time went where")
      ->group("Machine");
}

void add_process_options(CLI::App& app, TrainOptions& options) {
  constexpr std::uint64_t kMostProcesses = 4096;
  app.add_option(
         "--world-size",
         options.world_size,
         "Processes that train one model, each on its share of\n"
         "every batch; --batch-size is that of each. All are\n"
         "started with the same options" +
             always(options.world_size))
      ->check(whole_number(1, kMostProcesses))
      ->type_name("N")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--rank",
         options.rank,
         "Which of them this is, from 0. Process 0 writes files\n"
         "and terminal" +
             always(options.rank))
      ->check(whole_number(0, kMostProcesses - 1))
      ->type_name("N")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--master",
         options.master,
         "HOST:PORT at which process 0 can be reached")
      ->check(not_empty())
      ->type_name("TEXT")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--timeout",
         options.timeout,
         "Seconds to wait for another process before it counts\n"
         "as lost" +
             always(options.timeout))
      ->check(
          number("> 0 and <= 1e9", [](double x) { return x > 0 && x <= 1e9; }))
      ->type_name("X")
      ->group("Processes (see scripts/launch.sh)");
}

void add_checkpoint_options(CLI::App& app, CommandLine& command) {
  app.add_option(
         "--checkpoint-every",
         command.options.checkpoint_every,
         "Save the run every N updates too; 0: never [after every\n"
         "epoch]")
      ->check(whole_number(0, kMost))
      ->type_name("N")
      ->group("Checkpoints");
  app.add_flag(
         "--resume",
         command.resume,
         "Go on with the run in --out [the last one in runs/].\n"
         "Its options need not be given again; a larger --epochs\n"
         "makes it longer, if its rate is not 0 by then")
      ->group("Checkpoints");
  app.add_flag(
         "--overwrite",
         command.overwrite,
         "Replace the run in --out, its checkpoints too; without\n"
         "this a new run does not begin where there are any")
      ->group("Checkpoints");
}

void add_result_options(CLI::App& app, CommandLine& command) {
  app.add_option(
         "--compare",
         command.compare,
         "Do not train: draw these runs in one picture,\n"
         "compare.svg in --out or here, and show a table")
      ->check(not_empty())
      ->type_name("DIR")
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Results");
  app.add_option(
         "--evaluate",
         command.evaluate,
         "Do not train: test the model of a checkpoint, such as\n"
         "runs/NAME-N/checkpoints/best.ckpt")
      ->check(not_empty())
      ->type_name("CHECKPOINT")
      ->group("Results");
  app.add_option(
         "--export",
         command.options.export_file,
         "Write the trained weights, or with --evaluate those of\n"
         "the checkpoint, for torch::load()")
      ->check(not_empty())
      ->type_name("FILE")
      ->group("Results");
}

}  // namespace

void add_options(CLI::App& app, CommandLine& command, OpenOptions& open) {
  TrainOptions& options = command.options;
  add_data_options(app, options, open);
  add_training_options(app, options, open);
  add_rate_options(app, options, open);
  add_machine_options(app, options);
  add_process_options(app, options);
  add_checkpoint_options(app, command);
  add_result_options(app, command);
}

}  // namespace stepsize::trainer
