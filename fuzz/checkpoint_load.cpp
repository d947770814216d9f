// A whole load_checkpoint() of files that LibTorch can read and whose checksums
// are right, but with entries that are missing or say something else. Either
// all is loaded, or all is as it was, bit for bit.

#include <ATen/CPUGeneratorImpl.h>
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
#include <vector>

#include "csrc/checkpoint/container.h"
#include "csrc/checkpoint/tensors.h"
#include "fuzz/archive_edit.h"
#include "fuzz/checkpoint_bytes.h"
#include "fuzz/memory_file.h"
#include "fuzz/require.h"

namespace {

using stepsize::fuzz::require;
using torch::serialize::OutputArchive;

/// A small training run and what belongs to it.
class Run {
 public:
  Run() {
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
    for (int i = 0; i < 3; ++i) train();
  }

  stepsize::Checkpoint& checkpoint() { return checkpoint_; }

  /// All that a load could change.
  std::string bytes() {
    return stepsize::detail::archive_bytes([this](OutputArchive& archive) {
             archive.write("mean", mean_);
             model_->save(archive);
           }) +
           bytes_of(sgd_) + bytes_of(adamw_) + bytes_of(rollback_) +
           bytes_of(schedule_) + rates() + std::to_string(step_) + '|' +
           std::to_string(best_) + '|' + note_ + '|' +
           checkpoint_.values()["lr"] +
           std::to_string(checkpoint_.values().size()) + random_state();
  }

 private:
  template <typename Owner>
  static std::string bytes_of(const Owner& owner) {
    std::ostringstream stream;
    torch::save(owner, stream);
    return stream.str();
  }

  static std::string random_state() {
    const torch::Tensor state =
        at::detail::getDefaultCPUGenerator().get_state();
    return {
        static_cast<const char*>(state.data_ptr()),
        static_cast<std::size_t>(state.numel())};
  }

  std::string rates() {
    std::ostringstream text;
    for (torch::optim::Optimizer* optimizer :
         {static_cast<torch::optim::Optimizer*>(&sgd_),
          static_cast<torch::optim::Optimizer*>(&adamw_),
          static_cast<torch::optim::Optimizer*>(&rollback_)}) {
      text << optimizer->param_groups()[0].options().get_lr() << '|';
    }
    return text.str();
  }

  void train() {
    for (torch::optim::Optimizer* optimizer :
         {static_cast<torch::optim::Optimizer*>(&sgd_),
          static_cast<torch::optim::Optimizer*>(&adamw_),
          static_cast<torch::optim::Optimizer*>(&rollback_)}) {
      optimizer->step([&] {
        model_->zero_grad();
        const auto loss = model_->forward(torch::eye(2)).square().mean();
        loss.backward();
        return loss;
      });
    }
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

struct Good {
  std::string file;
  std::string index;
  std::string data;
  std::string state;
};

Run& the_run() {
  static Run run;
  return run;
}

Good good_file() {
  std::string folder =
      (std::filesystem::temp_directory_path() / "stepsize-XXXXXX").string();
  require(mkdtemp(folder.data()) != nullptr, "no temporary folder");
  const std::string path = folder + "/run.ckpt";
  Good good;
  stepsize::save_checkpoint(path, the_run().checkpoint());
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  std::filesystem::remove_all(folder);
  good.file = text.str();
  stepsize::detail::CheckpointHead head;
  const std::string fault = stepsize::detail::read_checkpoint_head(
      good.file.data(), good.file.size(), good.file.size(), head);
  require(fault.empty(), "a sound checkpoint was refused");
  const std::size_t index_at = stepsize::detail::checkpoint_head_size(head);
  good.index = good.file.substr(index_at, head.index_size);
  good.data = good.file.substr(index_at + head.index_size);
  good.state = the_run().bytes();
  return good;
}

// Whether the file was loaded.
bool load(const std::string& bytes) {
  const stepsize::fuzz::MemoryFile file({bytes.begin(), bytes.end()});
  try {
    stepsize::load_checkpoint(file.path(), the_run().checkpoint());
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
  const bool loaded = load(stepsize::fuzz::checkpoint_bytes(
      index, stepsize::fuzz::edited_archive(good.data, input)));
  if (loaded) {
    require(load(good.file), "the sound checkpoint is refused after another");
  }
  require(the_run().bytes() == good.state, "something has changed");
  return 0;
}
