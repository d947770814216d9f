#pragma once

#include <torch/torch.h>

#include <vector>

#include "examples/trainer/loop/train.h"

namespace stepsize::trainer {

/// Some operations give NaN a sign, which tells a reader nothing.
double without_sign_of_nan(double value);

/// What the updates of an epoch have left on the device, read back some dozens
/// at a time, since each reading waits for an accelerator. Tells the listener
/// of each update, adds to the state's sums, and throws DivergedError where
/// train() says so.
class UpdateReader {
 public:
  /// All three must outlive this.
  UpdateReader(
      const TrainingSetup& setup,
      const TrainingListener& listener,
      TrainingState& state);

  /// Of `update` its tensors are taken; all else is in `result`.
  void add(const StepResult& result, const Update& update);
  /// Of the loss that was read last.
  bool was_hopeless() const { return was_hopeless_; }
  /// Leaves nothing on the device.
  void read();

 private:
  void read_losses();

  const TrainingSetup& setup_;
  const TrainingListener& listener_;
  TrainingState& state_;
  std::vector<StepResult> waiting_;
  std::vector<torch::Tensor> losses_;
  std::vector<torch::Tensor> norms_;
  torch::Tensor right_;
  double lr_before_;
  bool was_hopeless_ = false;
};

}  // namespace stepsize::trainer
