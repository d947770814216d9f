// --amp bf16: which losses are computed by autocast, and what stays float32.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/ramp.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/choose_lr.h"
#include "examples/trainer/loop/tested_weights.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/run/machine.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "sample_files.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kAmpPixels = 9;
constexpr std::int64_t kAmpClasses = 3;
constexpr std::int64_t kAmpImages = 8;

// A matrix and BatchNorm. Remembers what its products came out as.
class TypedModel : public ImageModel {
 public:
  TypedModel() {
    torch::manual_seed(2);
    matrix =
        register_module("matrix", torch::nn::Linear(kAmpPixels, kAmpClasses));
    norm_ = register_module("norm", torch::nn::BatchNorm1d(kAmpClasses));
  }

  torch::Tensor forward(torch::Tensor images) override {
    const auto product = matrix->forward(images.flatten(1));
    types.push_back(product.scalar_type());
    return norm_->forward(product);
  }

  torch::nn::Linear matrix{nullptr};
  std::vector<at::ScalarType> types;

 private:
  torch::nn::BatchNorm1d norm_{nullptr};
};

BatchSource amp_images() {
  torch::manual_seed(3);
  ImageSet set{
      torch::randint(256, {kAmpImages, 1, 3, 3}).to(torch::kUInt8),
      torch::arange(kAmpImages) % kAmpClasses};
  BatchSourceOptions options;
  options.batch_size = kAmpImages;
  return {set, {{1.0F / 255}, {0}}, options, torch::kCPU};
}

Batch amp_batch() {
  auto source = amp_images();
  source.start_epoch();
  return *source.next();
}

OptimizerChoice choice_of_amp_test(const std::string& name) {
  OptimizerChoice choice;
  choice.name = name;
  choice.lr = 0.01;
  choice.momentum = 0.9;
  return choice;
}

// The matrix alone.
class OneMatrixModel : public ImageModel {
 public:
  OneMatrixModel() {
    torch::manual_seed(4);
    matrix =
        register_module("matrix", torch::nn::Linear(kAmpPixels, kAmpClasses));
  }

  torch::Tensor forward(torch::Tensor images) override {
    return matrix->forward(images.flatten(1));
  }

  torch::nn::Linear matrix{nullptr};
};

Update first_amp_update(OneMatrixModel& model, const Batch& batch) {
  const auto optimizer = make_optimizer(model, choice_of_amp_test("sgd"));
  PhaseTimer timer;
  return make_update(*optimizer, {batch}, timer);
}

TEST(Amp, ChangesALossByNoMoreThanItsTypeRounds) {
  const auto batch = amp_batch();
  OneMatrixModel whole;
  OneMatrixModel half;
  half.set_autocast(torch::kBFloat16);
  // bfloat16 rounds a number by 2^-9 of it at most: a product's two factors,
  // its sum, and, where they add up in it, each of the terms.
  const auto largest = [&] {
    const torch::NoGradGuard no_grad;
    const auto images = batch.images.flatten(1).abs();
    return (images.matmul(whole.matrix->weight.abs().t()) +
            whole.matrix->bias.abs())
        .max()
        .item<double>();
  }();
  const double of_logit = std::ldexp(1.0, -9) * (kAmpPixels + 4) * largest;
  const auto by_float = first_amp_update(whole, batch);
  const auto by_half = first_amp_update(half, batch);
  const double difference =
      by_half.loss.item<double>() - by_float.loss.item<double>();
  EXPECT_NE(difference, 0);
  // A cross-entropy moves by twice what its logits do, at most.
  EXPECT_LT(std::abs(difference), 2 * of_logit);
  EXPECT_EQ(by_half.loss.scalar_type(), torch::kFloat32);
  for (const auto& parameter : half.parameters()) {
    EXPECT_EQ(parameter.scalar_type(), torch::kFloat32);
    EXPECT_EQ(parameter.grad().scalar_type(), torch::kFloat32);
  }
  EXPECT_FALSE(torch::equal(half.matrix->weight, whole.matrix->weight));
}

TEST(Amp, IsForUpdatesAndTestsAndNotForTheMonitor) {
  TypedModel model;
  model.set_autocast(torch::kBFloat16);
  const auto optimizer = make_optimizer(model, choice_of_amp_test("sgd"));
  ScheduleLR scheduler(optimizer->inner(), constant());
  auto images = amp_images();
  auto tested = amp_images();
  PhaseTimer timer;
  CurvatureMonitor monitor(model.parameters());
  TrainingState state;
  train(
      {model,
       *optimizer,
       scheduler,
       images,
       tested,
       /*statistics=*/nullptr,
       timer,
       kAmpClasses,
       /*epochs=*/1,
       nullptr,
       nullptr,
       0,
       nullptr,
       &monitor},
      state,
      {});
  ASSERT_GE(model.types.size(), 3U);
  EXPECT_EQ(model.types.front(), torch::kBFloat16);
  EXPECT_EQ(model.types.back(), torch::kBFloat16);
  const std::vector<at::ScalarType> watched(
      model.types.begin() + 1, model.types.end() - 1);
  EXPECT_THAT(watched, Each(torch::kFloat32));
  // No guard is left.
  EXPECT_EQ(
      model.matrix->forward(torch::ones({1, kAmpPixels})).scalar_type(),
      torch::kFloat32);
}

TEST(Amp, IsForTheRangeTest) {
  for (const bool with : {false, true}) {
    TypedModel model;
    if (with) model.set_autocast(torch::kBFloat16);
    auto images = amp_images();
    find_rate(
        model,
        choice_of_amp_test("sgd"),
        images,
        /*accumulate=*/1,
        [](std::int64_t done, std::int64_t, double, double) {
          return done < 3;
        });
    ASSERT_FALSE(model.types.empty());
    EXPECT_THAT(model.types, Each(with ? torch::kBFloat16 : torch::kFloat32));
  }
}

TEST(Amp, IsForTheStatisticsOfAMean) {
  TypedModel model;
  model.set_autocast(torch::kBFloat16);
  const auto optimizer =
      make_optimizer(model, choice_of_amp_test("schedule-free-sgd"));
  auto images = amp_images();
  const TestedWeights tested(*optimizer, &images);
  ASSERT_FALSE(model.types.empty());
  EXPECT_THAT(model.types, Each(torch::kBFloat16));
}

TEST(FindAmp, WantsADeviceWithAutocast) {
  EXPECT_EQ(find_amp("off", torch::kCPU), std::nullopt);
  EXPECT_EQ(find_amp("bf16", torch::kCPU), torch::kBFloat16);
  EXPECT_THAT(
      message_of([] { find_amp("bf16", torch::kMeta); }),
      HasSubstr("--amp bf16: LibTorch has no autocast for --device meta"));
}

class AmpRunTest : public TrainProgramTest {};

TEST_F(AmpRunTest, IsInTheRecordAndNotInTheWeights) {
  const auto weights = folder_ / "weights.pt";
  const auto plain = train("");
  ASSERT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, Not(HasSubstr("amp")));
  const auto steps = read_text(out() / "steps.csv");
  std::ostringstream err;
  EXPECT_EQ(read_record(out(), err).options.count("--amp"), 0U);

  const auto run =
      train("--amp bf16 --overwrite --export '" + weights.string() + "'");
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("\namp: bf16\n"));
  EXPECT_NE(read_text(out() / "steps.csv"), steps);
  EXPECT_EQ(read_record(out(), err).options.at("--amp"), "bf16");
  auto model = make_model("cnn", {1, kBarsSide, kBarsSide, 10});
  torch::load(model, weights.string());
  for (const auto& parameter : model->parameters()) {
    EXPECT_EQ(parameter.scalar_type(), torch::kFloat32);
  }

  // What is tested later is what was tested in the run.
  const auto checkpoint = out() / "checkpoints/checkpoint-0000000008.ckpt";
  const auto evaluated = start("--evaluate '" + checkpoint.string() + "'");
  const double loss = std::stod(column(out() / "log.csv", "test_loss").back());
  EXPECT_THAT(evaluated.out, HasSubstr("loss " + format("%.4f", loss)));

  const auto resumed =
      start("--resume --amp off --epochs 3 --out '" + out().string() + "'");
  expect_refusal(resumed, 1);
  EXPECT_THAT(
      resumed.err, AllOf(HasSubstr("--amp off"), HasSubstr("has --amp bf16")));
}

}  // namespace
}  // namespace stepsize::trainer
