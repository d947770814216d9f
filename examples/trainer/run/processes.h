#pragma once

#include <stepsize/distributed/reduction.h>
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/results.h"
#include "examples/trainer/run/resume.h"
#include "examples/trainer/run/run_log.h"
#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {

/// Throws std::invalid_argument where --rank or --master do not fit
/// --world-size.
void check_processes(const TrainOptions& options);

/// Where this process computes: with several on GPUs that are not told apart by
/// name, each takes one of its own.
torch::Device device_of_process(
    const torch::Device& device, const TrainOptions& options);

/// Meets the other processes; null where there are none. Throws c10::Error
/// where they do not come in time, or were started with other options or from
/// other checkpoints: on all.
std::shared_ptr<Reduction> meet_processes(
    const RunRequest& request, const torch::Device& device);

/// Throws c10::Error on all processes, naming one that differs and both values,
/// unless all have read the same images; `data` is data_text() of them.
void check_same_data(Reduction* ranks, const std::string& data);

/// Runs `work`, which throws on all processes where it throws on one.
void together(Reduction* ranks, const std::function<void()>& work);

/// Keeps the log's last rows on a process that does not write it: where that of
/// rank 0 is lost they may be missing there.
class LastRows {
 public:
  /// As RunLog has them.
  void start_at(const LogPlace& place) { place_ = place; }
  void add(const StepResult& result);
  void add(const EpochResult& result);

  /// Opens the log that rank 0 has left and adds the rows that are missing.
  /// Throws std::runtime_error where more are missing than were kept.
  RunLog complete(
      const std::filesystem::path& folder, const RunPlan& plan) const;

 private:
  LogPlace place_;
  std::vector<StepResult> steps_;
  std::vector<EpochResult> epochs_;
};

}  // namespace stepsize::trainer
