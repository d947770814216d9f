// What has a state() and no operators goes into a checkpoint number by number.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/curvature_lr.h>  // with SharpnessTracker
#include <stepsize/tune/noise_scale.h>
#include <torch/types.h>

#include <vector>

#include "tests/checkpoint/temporary_folder.h"

namespace stepsize {
namespace {

TEST(CheckpointMeters, AStateOfNumbersGoesInAsATensor) {
  const test::TemporaryFolder folder;
  SharpnessTracker whole;
  for (const double sharpness : {4.0, 5.0, 3.0}) {
    whole.measure(sharpness);
    whole.next_rate();
  }
  torch::Tensor numbers = torch::tensor(whole.state(), torch::kFloat64);
  Checkpoint checkpoint;
  checkpoint.tensor("tracker", numbers);
  save_checkpoint(folder.file("run"), checkpoint);
  whole.measure(8);

  numbers = torch::Tensor();
  load_checkpoint(folder.file("run"), checkpoint);
  const auto* first = numbers.data_ptr<double>();
  SharpnessTracker resumed;
  resumed.restore(std::vector<double>(first, first + numbers.numel()));
  resumed.measure(8);
  EXPECT_EQ(resumed.next_rate(), whole.next_rate());
  EXPECT_EQ(resumed.state(), whole.state());
}

TEST(CheckpointMeters, AStateOfFieldsGoesInFieldByField) {
  const test::TemporaryFolder folder;
  NoiseScaleAverage whole(0.9);
  for (const double trace : {8.0, 6.0, 9.0, 7.0}) whole.add({2, trace});
  NoiseScaleAverage::State state = whole.state();
  Checkpoint checkpoint;
  checkpoint.counter("count", state.count)
      .number("weight", state.weight)
      .number("square weight", state.square_weight)
      .number("gradient square", state.mean.gradient_square)
      .number("noise trace", state.mean.noise_trace)
      .number("gradient variance", state.gradient_variance)
      .number("noise variance", state.noise_variance)
      .number("covariance", state.covariance);
  save_checkpoint(folder.file("run"), checkpoint);
  whole.add({3, 5});

  state = {};
  load_checkpoint(folder.file("run"), checkpoint);
  NoiseScaleAverage resumed(0.9);
  resumed.set_state(state);
  resumed.add({3, 5});
  EXPECT_EQ(resumed.value().value, whole.value().value);
  EXPECT_EQ(resumed.value().standard_error, whole.value().standard_error);
  EXPECT_EQ(resumed.value().updates, 5);
}

}  // namespace
}  // namespace stepsize
