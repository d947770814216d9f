// A whole load_checkpoint() of files that LibTorch can read and whose checksums
// are right, but with entries that are missing or say something else. Either
// all is loaded, so that a run that was elsewhere ends at the same place, or
// all is as it was, bit for bit.

#include <fuzzer/FuzzedDataProvider.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "csrc/checkpoint/container.h"
#include "fuzz/archive_edit.h"
#include "fuzz/checkpoint_bytes.h"
#include "fuzz/memory_file.h"
#include "fuzz/require.h"

namespace {

using stepsize::fuzz::require;

/// A small training run and what belongs to it.
class Run {
 public:
  explicit Run(int steps) {
    checkpoint_.module("model", *model_)
        .optimizer("sgd", sgd_)
        .optimizer("adamw", adamw_)
        .optimizer("rollback", rollback_)
        .state("schedule", schedule_)
        .counter("step", step_)
        .number("best", best_)
        .text("note", note_)
        .tensor("mean", mean_);
    checkpoint_.values()["lr"] = "0.1";
    for (int i = 0; i < steps; ++i) train();
  }

  stepsize::Checkpoint& checkpoint() { return checkpoint_; }

  /// The file that a save writes: all that a load could change, bit for bit.
  std::string bytes() const {
    std::string folder =
        (std::filesystem::temp_directory_path() / "stepsize-XXXXXX").string();
    require(mkdtemp(folder.data()) != nullptr, "no temporary folder");
    const std::string path = folder + "/run.ckpt";
    stepsize::save_checkpoint(path, checkpoint_);
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    std::filesystem::remove_all(folder);
    return text.str();
  }

 private:
  void train() {
    const auto step = [this](torch::optim::Optimizer& optimizer) {
      optimizer.step([this] {
        model_->zero_grad();
        const auto loss = model_->forward(torch::eye(2)).square().mean();
        loss.backward();
        return loss;
      });
    };
    step(sgd_);
    step(adamw_);
    step(rollback_);
    static_cast<torch::optim::LRScheduler&>(schedule_).step();
    ++step_;
  }

  torch::nn::Sequential model_{
      torch::nn::Linear(2, 2), torch::nn::BatchNorm1d(2)};
  torch::optim::SGD sgd_{
      model_->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9)};
  stepsize::ClippedAdamW adamw_{
      model_->parameters(), stepsize::ClippedAdamWOptions(0.01).amsgrad(true)};
  stepsize::RollbackSGD rollback_{
      model_->parameters(), stepsize::RollbackSGDOptions(0.1).momentum(0.5)};
  stepsize::OneCycleLR schedule_{
      sgd_, stepsize::OneCycleLROptions(0.2).total_steps(20)};
  int64_t step_ = 0;
  double best_ = 0.5;
  std::string note_ = "a note";
  torch::Tensor mean_ = torch::ones({2});
  stepsize::Checkpoint checkpoint_;
};

// Two runs that are at different places: what a load leaves alone shows.
Run& the_run() {
  static Run run(3);
  return run;
}
Run& another_run() {
  static Run run(5);
  return run;
}

struct Good {
  std::string file;
  std::string index;
  std::string data;
};

Good good_file() {
  Good good;
  good.file = the_run().bytes();
  stepsize::detail::CheckpointHead head;
  const std::string fault = stepsize::detail::read_checkpoint_head(
      good.file.data(), good.file.size(), good.file.size(), head);
  require(fault.empty(), "a sound checkpoint was refused");
  const std::size_t index_at = stepsize::detail::checkpoint_head_size(head);
  good.index = good.file.substr(index_at, head.index_size);
  good.data = good.file.substr(index_at + head.index_size);
  return good;
}

// Whether the file was loaded.
bool load(const std::string& bytes, Run& run) {
  const stepsize::fuzz::MemoryFile file({bytes.begin(), bytes.end()});
  try {
    stepsize::load_checkpoint(file.path(), run.checkpoint());
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  static const Good good = good_file();
  FuzzedDataProvider input(data, size);
  const std::string index =
      input.ConsumeBool() ? stepsize::fuzz::edited_archive(good.index, input)
                          : good.index;
  const std::string file = stepsize::fuzz::checkpoint_bytes(
      index, stepsize::fuzz::edited_archive(good.data, input));
  if (load(file, the_run())) {
    const std::string loaded = the_run().bytes();
    require(
        load(file, another_run()), "a file is loaded once and refused then");
    require(another_run().bytes() == loaded, "not all has been loaded");
    require(load(good.file, the_run()), "the sound file is refused then");
  }
  require(the_run().bytes() == good.file, "something has changed");
  return 0;
}
