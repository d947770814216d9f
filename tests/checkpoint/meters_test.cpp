// What has a state() and no operators goes into a checkpoint number by number.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/lr_scheduler/curvature_lr.h>  // with SharpnessTracker
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/tune/noise_scale.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

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

TEST(CheckpointMeters, AScalerIsAState) {
  const test::TemporaryFolder folder;
  const auto w = test::leaf({1});
  torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.1));
  GradScaler scaler(GradScalerOptions().init_scale(64));
  Checkpoint checkpoint;
  checkpoint.state("scaler", scaler);
  w.mutable_grad() = test::vector_of({test::kNaN});
  scaler.step(sgd);
  EXPECT_NE(
      test::message_of([&] {
        save_checkpoint(folder.file("run"), checkpoint);
      }).find("GradScaler: a save must not come between step()"),
      std::string::npos);
  scaler.update();
  save_checkpoint(folder.file("run"), checkpoint);
  scaler.update(2);

  load_checkpoint(folder.file("run"), checkpoint);
  EXPECT_EQ(scaler.scale(), 32);
  EXPECT_EQ(scaler.skipped_steps(), 1);

  GradScaler other(GradScalerOptions().init_scale(16).growth_interval(7));
  Checkpoint of_other;
  of_other.state("scaler", other);
  const LoadResult result = load_checkpoint(
      folder.file("run"),
      of_other,
      LoadOptions().options_from(OptionsFrom::kFile));
  EXPECT_TRUE(result.complete());
  EXPECT_EQ(other.scale(), 32);
  EXPECT_EQ(other.options().growth_interval(), 2000);
}

}  // namespace
}  // namespace stepsize
