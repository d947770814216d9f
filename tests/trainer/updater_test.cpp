#include "examples/trainer/updater.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "examples/trainer/make_updater.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kWeight = 0.25;

// The pixels are the logits, times one weight. Remembers what it was given and
// the logits that it answered.
class OneWeightModel : public ImageModel {
 public:
  OneWeightModel() {
    weight_ = register_parameter("weight", torch::full({1}, kWeight));
  }

  torch::Tensor forward(torch::Tensor images) override {
    seen.push_back(images);
    answers.push_back(images.flatten(1) * weight_);
    return answers.back();
  }

  double weight() const { return weight_.item<double>(); }

  std::vector<torch::Tensor> seen;
  std::vector<torch::Tensor> answers;

 private:
  torch::Tensor weight_;
};

// Three images of three pixels, one a class. The loss has its minimum at a
// weight between 0 and 1.
Batch pixels() {
  const auto images =
      torch::tensor({4.0F, 1.0F, 0.0F, 2.0F, 3.0F, 0.0F, 1.0F, 0.0F, 2.0F});
  return {images.view({3, 1, 1, 3}), torch::tensor({0, 0, 2}, torch::kInt64)};
}

struct Derivatives {
  double loss = 0;
  double first = 0;
  double second = 0;
};

// Of the mean cross-entropy by the weight w, written out: with p = softmax(w x)
// the loss of an image is -log p_label, and its derivatives are the mean of x
// under p less x_label, and the variance of x under p.
Derivatives by_hand(double w) {
  Derivatives result;
  const std::vector<std::vector<double>> images{
      {4, 1, 0}, {2, 3, 0}, {1, 0, 2}};
  const std::vector<std::size_t> labels{0, 0, 2};
  for (std::size_t i = 0; i < images.size(); ++i) {
    double sum = 0;
    double mean = 0;
    double square = 0;
    for (const double x : images[i]) {
      sum += std::exp(w * x);
      mean += x * std::exp(w * x);
      square += x * x * std::exp(w * x);
    }
    mean /= sum;
    square /= sum;
    const double right = images[i][labels[i]];
    result.loss += (std::log(sum) - w * right) / 3;
    result.first += (mean - right) / 3;
    result.second += (square - mean * mean) / 3;
  }
  return result;
}

OptimizerSettings settings_of(const std::string& name, double lr) {
  OptimizerSettings settings;
  settings.name = name;
  settings.lr = lr;
  if (name == "clipped-sgd" || name == "clipped-adamw") {
    settings.max_norm = 1e6;
  }
  if (name == "power-sgd") {
    settings.safety = 0.5;
  }
  return settings;
}

// Numbers are single precision.
constexpr double kTolerance = 1e-5;

TEST(Updater, TellsLossNormAnswersAndRateOfEveryOptimizer) {
  const auto wanted = by_hand(kWeight);
  for (const auto* name :
       {"sgd",
        "adam",
        "adamw",
        "rmsprop",
        "clipped-sgd",
        "clipped-adamw",
        "rollback-sgd",
        "power-sgd"}) {
    SCOPED_TRACE(name);
    OneWeightModel model;
    const auto updater = make_updater(model, settings_of(name, 0.01));
    PhaseTimer timer;
    const Update update = updater->make({pixels()}, timer);
    EXPECT_NEAR(update.loss.item<double>(), wanted.loss, kTolerance);
    EXPECT_NEAR(
        update.grad_norm.item<double>(), std::abs(wanted.first), kTolerance);
    // The second image has its label's pixel second.
    EXPECT_EQ(update.right.item<std::int64_t>(), 2);
    EXPECT_FALSE(update.loss.requires_grad());
    EXPECT_FALSE(update.noise_scale);
    EXPECT_FALSE(update.rolled_back);
    EXPECT_LT(by_hand(model.weight()).loss, wanted.loss);
    if (std::string(name) != "power-sgd") {
      EXPECT_DOUBLE_EQ(update.lr, 0.01);
      EXPECT_FALSE(update.sharpness);
    }
  }
}

TEST(Updater, StepsPlainOptimizersAsTheyStepThemselves) {
  const double gradient = by_hand(kWeight).first;
  for (const auto* name : {"sgd", "clipped-sgd", "rollback-sgd"}) {
    OneWeightModel model;
    const auto updater = make_updater(model, settings_of(name, 0.5));
    PhaseTimer timer;
    updater->make({pixels()}, timer);
    EXPECT_NEAR(model.weight(), kWeight - 0.5 * gradient, kTolerance) << name;
    EXPECT_EQ(model.seen.size(), 1U) << name;
  }
}

TEST(Updater, TakesMicroBatchesAsOneBatch) {
  const Batch whole = pixels();
  // Parts of two images and of one.
  const MicroBatches parts{
      {whole.images.narrow(0, 0, 2), whole.labels.narrow(0, 0, 2)},
      {whole.images.narrow(0, 2, 1), whole.labels.narrow(0, 2, 1)}};
  for (const auto* name :
       {"sgd", "adamw", "clipped-sgd", "rollback-sgd", "power-sgd"}) {
    SCOPED_TRACE(name);
    OneWeightModel one;
    OneWeightModel two;
    const auto updater_one = make_updater(one, settings_of(name, 0.01));
    const auto updater_two = make_updater(two, settings_of(name, 0.01));
    PhaseTimer timer;
    for (int i = 0; i < 3; ++i) {
      const Update expected = updater_one->make({whole}, timer);
      const Update update = updater_two->make(parts, timer);
      EXPECT_NEAR(
          update.loss.item<double>(), expected.loss.item<double>(), kTolerance);
      EXPECT_NEAR(
          update.grad_norm.item<double>(),
          expected.grad_norm.item<double>(),
          kTolerance);
      EXPECT_TRUE(torch::equal(update.right, expected.right));
    }
    EXPECT_NEAR(two.weight(), one.weight(), kTolerance);
  }
}

TEST(Updater, MeasuresTheNoiseScaleOfFullMicroBatches) {
  // By hand, with one weight: gradients a and b of single images.
  const Batch whole = pixels();
  const auto part = [&](std::int64_t i) {
    return Batch{whole.images.narrow(0, i, 1), whole.labels.narrow(0, i, 1)};
  };
  const auto gradient = [&](std::int64_t i) {
    OneWeightModel model;
    const Batch batch = part(i);
    torch::nn::functional::cross_entropy(
        model.forward(batch.images), batch.labels)
        .backward();
    return model.parameters()[0].grad().item<double>();
  };
  const double a = gradient(0);
  const double b = gradient(2);
  const double mean = (a + b) / 2;
  const double noise = (a * a + b * b) / 2 - mean * mean;  // times 1 - 1/2
  const double signal = 2 * mean * mean - (a * a + b * b) / 2;
  ASSERT_GT(signal, 0);
  for (const auto* name : {"sgd", "clipped-sgd", "rollback-sgd"}) {
    OneWeightModel model;
    auto settings = settings_of(name, 0.01);
    settings.micro_batch = 1;
    const auto updater = make_updater(model, settings);
    PhaseTimer timer;
    const Update update = updater->make({part(0), part(2)}, timer);
    ASSERT_TRUE(update.noise_scale) << name;
    EXPECT_NEAR(*update.noise_scale, 2 * noise / signal, 1e-3) << name;
    EXPECT_THAT(
        updater->summary().back(), HasSubstr("at batch 2: twice the batch"));
    // Not of full ones: the noise scale stays what it was.
    const Update uneven = updater->make({part(0), whole}, timer);
    EXPECT_EQ(uneven.noise_scale, update.noise_scale) << name;
  }
}

TEST(Updater, TakesTheMeasuredShareOfTheLimit) {
  const auto wanted = by_hand(kWeight);
  OneWeightModel model;
  auto settings = settings_of("power-sgd", 0.75);
  settings.safety = 0.25;
  const auto updater = make_updater(model, settings);
  PhaseTimer timer;
  const Update update = updater->make({pixels()}, timer);
  ASSERT_TRUE(update.sharpness);
  EXPECT_NEAR(*update.sharpness, wanted.second, kTolerance);
  EXPECT_NEAR(
      update.lr, 0.75 * 2 * 0.25 / wanted.second, kTolerance / wanted.second);
  EXPECT_NEAR(model.weight(), kWeight - update.lr * wanted.first, kTolerance);
  EXPECT_THAT(
      updater->summary(),
      ElementsAre(HasSubstr(" Hessian product"), HasSubstr("sharpness ")));
}

TEST(Updater, CountsClippedUpdates) {
  OneWeightModel model;
  auto settings = settings_of("clipped-sgd", 0.5);
  // Half the first gradient, which shrinks from there.
  const double first = std::abs(by_hand(kWeight).first);
  settings.max_norm = first / 2;
  const auto updater = make_updater(model, settings);
  PhaseTimer timer;
  const Update update = updater->make({pixels()}, timer);
  EXPECT_NEAR(update.grad_norm.item<double>(), first, kTolerance);
  EXPECT_NEAR(std::abs(model.weight() - kWeight), 0.5 * first / 2, kTolerance);
  EXPECT_THAT(updater->summary(), ElementsAre("clipped 1 of 1 updates (100%)"));
}

TEST(Updater, EvaluatesTheSameBatchAgainToTakeAStepBack) {
  OneWeightModel model;
  constexpr double kRate = 200;
  const auto updater = make_updater(model, settings_of("rollback-sgd", kRate));
  PhaseTimer timer;
  // Images of two batches, in turn.
  const Batch first = pixels();
  const Batch second{first.images.flip(0), first.labels.flip(0)};
  bool rolled_back = false;
  double scale = 1;
  for (int i = 0; i < 100; ++i) {
    const Batch& batch = i % 2 == 0 ? first : second;
    model.seen.clear();
    model.answers.clear();
    const double here = model.weight();
    const Update update = updater->make({batch}, timer);
    for (const auto& images : model.seen) {
      EXPECT_TRUE(torch::equal(images, batch.images));
    }
    // In the first evaluation, wherever the update was made from.
    const auto right = model.answers.front().argmax(1).eq(batch.labels).sum();
    EXPECT_TRUE(torch::equal(update.right, right));
    EXPECT_NEAR(
        update.grad_norm.item<double>(),
        std::abs(by_hand(here).first),
        kTolerance);
    if (update.rolled_back) {
      rolled_back = true;
      scale /= 2;
      EXPECT_EQ(model.seen.size(), 2U);
      // The loss where the update was made from.
      EXPECT_LT(update.loss.item<double>(), by_hand(here).loss);
    }
    EXPECT_DOUBLE_EQ(update.lr, kRate * scale);
  }
  EXPECT_TRUE(rolled_back);
  EXPECT_THAT(updater->summary().front(), HasSubstr(" of the schedule's"));
  // Where plain SGD is thrown far off by a rate like this.
  OneWeightModel thrown;
  const auto plain = make_updater(thrown, settings_of("sgd", kRate));
  plain->make({first}, timer);
  EXPECT_GT(by_hand(thrown.weight()).loss, 10 * by_hand(kWeight).loss);
  EXPECT_LT(by_hand(model.weight()).loss, 2 * by_hand(kWeight).loss);
}

template <typename Options>
const Options& options_of(Updater& updater) {
  return dynamic_cast<const Options&>(
      updater.optimizer().param_groups().front().options());
}

// What an updater saves.
std::string saved_updater(const Updater& updater) {
  torch::serialize::OutputArchive out;
  updater.save(out);
  std::ostringstream bytes;
  out.save_to(bytes);
  return bytes.str();
}

void load_updater(Updater& updater, const std::string& saved) {
  std::istringstream bytes(saved);
  torch::serialize::InputArchive in;
  in.load_from(bytes);
  updater.load(in);
}

// An optimizer on two micro-batches of two images an update.
OptimizerSettings settings_for_saving(const std::string& name) {
  OptimizerSettings settings;
  settings.name = name;
  settings.lr = name == "power-sgd" ? 1 : 0.1;
  settings.momentum = 0.5;
  if (name == "clipped-sgd") {
    settings.max_norm = 1e-3;
  }
  if (name == "power-sgd") {
    settings.safety = 0.5;
  } else {
    settings.micro_batch = 2;
  }
  return settings;
}

TEST(Updater, SavesWhatItsSummaryGoesBy) {
  for (const std::string name :
       {"sgd", "clipped-sgd", "rollback-sgd", "power-sgd"}) {
    OneWeightModel model;
    const auto settings = settings_for_saving(name);
    const auto updater = make_updater(model, settings);
    const MicroBatches batches{
        {torch::tensor({1.F, 2.F, 0.F, 1.F, 0.F, 3.F}).view({2, 1, 1, 3}),
         torch::tensor({0, 2}, torch::kInt64)},
        {torch::tensor({2.F, 2.F, 1.F, 4.F, 0.F, 0.F}).view({2, 1, 1, 3}),
         torch::tensor({1, 0}, torch::kInt64)}};
    PhaseTimer timer;
    for (int i = 0; i < 5; ++i) {
      updater->make(batches, timer);
    }
    const auto saved = saved_updater(*updater);
    const auto other = make_updater(model, settings);
    ASSERT_NE(saved_updater(*other), saved) << name;
    load_updater(*other, saved);
    EXPECT_EQ(saved_updater(*other), saved) << name;
  }
}

TEST(Updater, RefusesTheStateOfAnother) {
  OneWeightModel model;
  auto settings = settings_for_saving("clipped-sgd");
  const auto measures = make_updater(model, settings);
  settings.micro_batch = 0;
  const auto plain = make_updater(model, settings);
  const auto sgd = make_updater(model, settings_for_saving("sgd"));
  const auto refusal = [](Updater& updater, const Updater& saved) {
    return message_of([&] { load_updater(updater, saved_updater(saved)); });
  };
  EXPECT_THAT(
      refusal(*plain, *measures), HasSubstr("has a gradient noise scale"));
  EXPECT_THAT(
      refusal(*measures, *plain), HasSubstr("has no gradient noise scale"));
  EXPECT_THAT(refusal(*measures, *sgd), HasSubstr("no 'clipped_updates'"));
}

TEST(MakeUpdater, PassesTheNumbersOn) {
  OneWeightModel model;
  const auto make = [&](const std::string& name) {
    auto settings = settings_of(name, 0.5);
    settings.momentum = 0.7;
    settings.weight_decay = 0.25;
    if (settings.max_norm) {
      settings.max_norm = 3;
    }
    if (settings.safety) {
      settings.safety = 0.8;
    }
    return make_updater(model, settings);
  };
  const auto check = [](const auto& options) {
    EXPECT_EQ(options.lr(), 0.5);
    EXPECT_EQ(options.momentum(), 0.7);
    EXPECT_EQ(options.weight_decay(), 0.25);
  };
  check(options_of<torch::optim::SGDOptions>(*make("sgd")));
  check(options_of<torch::optim::RMSpropOptions>(*make("rmsprop")));
  check(options_of<ClippedSGDOptions>(*make("clipped-sgd")));
  check(options_of<RollbackSGDOptions>(*make("rollback-sgd")));
  check(options_of<PowerMethodSGDOptions>(*make("power-sgd")));
  const auto check_betas = [](const auto& options) {
    EXPECT_EQ(options.lr(), 0.5);
    EXPECT_EQ(std::get<0>(options.betas()), 0.7);
    EXPECT_EQ(options.weight_decay(), 0.25);
  };
  check_betas(options_of<torch::optim::AdamOptions>(*make("adam")));
  check_betas(options_of<torch::optim::AdamWOptions>(*make("adamw")));
  check_betas(options_of<ClippedAdamWOptions>(*make("clipped-adamw")));
  EXPECT_EQ(options_of<ClippedSGDOptions>(*make("clipped-sgd")).max_norm(), 3);
  EXPECT_EQ(
      options_of<ClippedAdamWOptions>(*make("clipped-adamw")).max_norm(), 3);
  const auto power = make("power-sgd");
  EXPECT_EQ(options_of<PowerMethodSGDOptions>(*power).tracker().safety(), 0.8);
}

TEST(MakeUpdater, GivesTheBuffersToThoseThatPutThemBack) {
  const auto model = make_model("cnn", {1, 28, 28, 10});
  const auto buffers = model->buffers();
  ASSERT_FALSE(buffers.empty());
  const auto is_same = [&](const std::vector<torch::Tensor>& given) {
    ASSERT_EQ(given.size(), buffers.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      EXPECT_TRUE(given[i].is_same(buffers[i]));
    }
  };
  const auto rollback = make_updater(*model, settings_of("rollback-sgd", 1));
  is_same(options_of<RollbackSGDOptions>(*rollback).rollback().buffers());
  const auto power = make_updater(*model, settings_of("power-sgd", 1));
  is_same(options_of<PowerMethodSGDOptions>(*power).buffers());
}

TEST(MakeUpdater, RefusesUnknownNamesAndNumbersOfOthers) {
  OneWeightModel model;
  const auto refusal = [&](const OptimizerSettings& settings) {
    return message_of([&] { make_updater(model, settings); });
  };
  EXPECT_THAT(refusal(settings_of("lion", 0.1)), HasSubstr("lion"));
  auto settings = settings_of("sgd", 0.1);
  settings.max_norm = 1;
  EXPECT_THAT(refusal(settings), HasSubstr("sgd has no use for a max_norm"));
  settings = settings_of("clipped-sgd", 0.1);
  settings.safety = 1;
  EXPECT_THAT(refusal(settings), HasSubstr("no use for a safety"));
  settings = settings_of("clipped-adamw", 0.1);
  settings.max_norm.reset();
  EXPECT_THAT(refusal(settings), HasSubstr("wants a max_norm"));
  settings = settings_of("power-sgd", 0.1);
  settings.safety.reset();
  EXPECT_THAT(refusal(settings), HasSubstr("wants a safety"));
}

}  // namespace
}  // namespace stepsize::trainer
