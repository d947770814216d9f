#include "examples/trainer/loop/optimizer_table.h"
#include "examples/trainer/loop/train.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/dog.h>
#include <stepsize/adaptive/hypergradient_adam.h>
#include <stepsize/adaptive/hypergradient_sgd.h>
#include <stepsize/adaptive/lamb.h>
#include <stepsize/adaptive/lars.h>
#include <stepsize/adaptive/muon.h>
#include <stepsize/adaptive/prodigy.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <stepsize/adaptive/sophia_h.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "examples/trainer/cli/optimizer_options.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr double kWeight = 0.25;

// The pixels are the logits, times one weight. Remembers what it was given and
// the logits that it answered.
class OneWeightModel : public ImageModel {
 public:
  OneWeightModel() {
    // A matrix, for optimizers that step those in a way of their own.
    weight_ = register_parameter("weight", torch::full({1, 1}, kWeight));
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

OptimizerChoice choice_of(const std::string& name, double lr) {
  OptimizerChoice choice;
  choice.name = name;
  choice.lr = lr;
  const auto& row = optimizer_row(name);
  if (row.max_norm) {
    choice.max_norm = 1e6;
  }
  if (row.safety) {
    choice.safety = 0.5;
    choice.policy = "sharpness";
  }
  choice.rho = row.rho;
  // Without a momentum, where the optimizer bears that: it makes one step.
  if (row.averages) {
    choice.momentum = *row.momentum;
  }
  return choice;
}

// Numbers are single precision.
constexpr double kTolerance = 1e-5;

TEST(TrainedOptimizer, TellsLossNormAnswersAndRateOfEveryOptimizer) {
  const auto wanted = by_hand(kWeight);
  for (const std::string& name : optimizer_names()) {
    SCOPED_TRACE(name);
    OneWeightModel model;
    const auto optimizer = make_optimizer(model, choice_of(name, 0.01));
    PhaseTimer timer;
    const Update update = make_update(*optimizer, {pixels()}, timer);
    EXPECT_NEAR(update.loss.item<double>(), wanted.loss, kTolerance);
    EXPECT_NEAR(
        update.grad_norm.item<double>(), std::abs(wanted.first), kTolerance);
    // The second image has its label's pixel second.
    EXPECT_EQ(update.right.item<std::int64_t>(), 2);
    EXPECT_FALSE(update.loss.requires_grad());
    EXPECT_FALSE(update.noise_scale);
    EXPECT_FALSE(update.rolled_back);
    EXPECT_LT(by_hand(model.weight()).loss, wanted.loss);
    if (optimizer_row(name).finds_rate.empty()) {
      EXPECT_DOUBLE_EQ(update.lr, 0.01);
    }
    EXPECT_EQ(update.sharpness.has_value(), name == "power-sgd");
  }
}

TEST(TrainedOptimizer, StepsPlainOptimizersAsTheyStepThemselves) {
  const double gradient = by_hand(kWeight).first;
  for (const auto* name : {"sgd", "clipped-sgd", "rollback-sgd"}) {
    OneWeightModel model;
    const auto optimizer = make_optimizer(model, choice_of(name, 0.5));
    PhaseTimer timer;
    make_update(*optimizer, {pixels()}, timer);
    EXPECT_NEAR(model.weight(), kWeight - 0.5 * gradient, kTolerance) << name;
    EXPECT_EQ(model.seen.size(), 1U) << name;
  }
}

TEST(TrainedOptimizer, TakesMicroBatchesAsOneBatch) {
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
    const auto optimizer_one = make_optimizer(one, choice_of(name, 0.01));
    const auto optimizer_two = make_optimizer(two, choice_of(name, 0.01));
    PhaseTimer timer;
    for (int i = 0; i < 3; ++i) {
      const Update expected = make_update(*optimizer_one, {whole}, timer);
      const Update update = make_update(*optimizer_two, parts, timer);
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

TEST(TrainedOptimizer, MeasuresTheNoiseScaleOfFullMicroBatches) {
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
    auto choice = choice_of(name, 0.01);
    choice.micro_batch = 1;
    const auto optimizer = make_optimizer(model, choice);
    PhaseTimer timer;
    const Update update = make_update(*optimizer, {part(0), part(2)}, timer);
    ASSERT_TRUE(update.noise_scale) << name;
    EXPECT_NEAR(*update.noise_scale, 2 * noise / signal, 1e-3) << name;
    EXPECT_THAT(
        optimizer->summary().back(), HasSubstr("at batch 2: twice the batch"));
    // Not of full ones: the noise scale stays what it was.
    const Update uneven = make_update(*optimizer, {part(0), whole}, timer);
    EXPECT_EQ(uneven.noise_scale, update.noise_scale) << name;
  }
}

TEST(TrainedOptimizer, TakesTheMeasuredShareOfTheLimit) {
  const auto wanted = by_hand(kWeight);
  OneWeightModel model;
  auto choice = choice_of("power-sgd", 0.75);
  choice.safety = 0.25;
  const auto optimizer = make_optimizer(model, choice);
  PhaseTimer timer;
  const Update update = make_update(*optimizer, {pixels()}, timer);
  ASSERT_TRUE(update.sharpness);
  EXPECT_NEAR(*update.sharpness, wanted.second, kTolerance);
  EXPECT_NEAR(
      update.lr, 0.75 * 2 * 0.25 / wanted.second, kTolerance / wanted.second);
  EXPECT_NEAR(model.weight(), kWeight - update.lr * wanted.first, kTolerance);
  EXPECT_THAT(
      optimizer->summary(),
      ElementsAre(HasSubstr(" Hessian product"), HasSubstr("sharpness ")));
}

// In one dimension the gradient's curvature is the second derivative.
TEST(TrainedOptimizer, TakesItsShareOfTheEdge) {
  const auto wanted = by_hand(kWeight);
  for (const std::string policy :
       {"edge", "averaged-vector", "secant", "polyak"}) {
    OneWeightModel model;
    auto choice = choice_of("power-sgd", 0.75);
    choice.safety = 0.25;
    choice.policy = policy;
    const auto optimizer = make_optimizer(model, choice);
    PhaseTimer timer;
    const Update update = make_update(*optimizer, {pixels()}, timer);
    EXPECT_FALSE(update.sharpness);
    EXPECT_NEAR(model.weight(), kWeight - update.lr * wanted.first, kTolerance);
    const double rate = policy == "polyak"
                            ? wanted.loss / (2 * wanted.first * wanted.first)
                            : (policy == "secant" ? 0.25
                               : policy == "edge" ? 0.45
                                                  : 0.5) /
                                  wanted.second;
    // The loss is no quadratic, and a probe goes a third of a step.
    EXPECT_NEAR(update.lr, 0.75 * rate, 0.1 * rate) << policy;
    EXPECT_THAT(
        optimizer->summary(),
        ElementsAre(HasSubstr("rate "), HasSubstr(" besides those of the ")));
  }
}

// What it says at the end.
std::string said_by(const TrainedOptimizer& optimizer) {
  std::string text;
  for (const auto& line : optimizer.summary()) text += line + '\n';
  return text;
}

TEST(TrainedOptimizer, TellsTheRateThatIsEstimated) {
  OneWeightModel model;
  const auto optimizer = make_optimizer(model, choice_of("prodigy", 0.5));
  PhaseTimer timer;
  // lr d0, and then lr d of an estimate that grows.
  const double first = make_update(*optimizer, {pixels()}, timer).lr;
  EXPECT_DOUBLE_EQ(first, 0.5 * ProdigyOptions().d0());
  make_update(*optimizer, {pixels()}, timer);
  const double before = dynamic_cast<const Prodigy&>(optimizer->inner()).d();
  const double third = make_update(*optimizer, {pixels()}, timer).lr;
  EXPECT_GT(third, first);
  EXPECT_DOUBLE_EQ(third, 0.5 * before);
  EXPECT_THAT(said_by(*optimizer), HasSubstr("rate 5e-07 .. "));
}

// Distance over gradients by hand: the first distance is 1e-4 (1 + |w|).
TEST(TrainedOptimizer, TellsTheRateOfDistanceOverGradients) {
  OneWeightModel model;
  const auto optimizer = make_optimizer(model, choice_of("dog", 0.5));
  PhaseTimer timer;
  const Update update = make_update(*optimizer, {pixels()}, timer);
  const double gradient = by_hand(kWeight).first;
  const double wanted = 0.5 * 1e-4 * (1 + kWeight) /
                        std::sqrt(gradient * gradient + DoGOptions().eps());
  EXPECT_NEAR(update.lr, wanted, 1e-5 * wanted);
}

// The second update's gradient lies along the first one's step: the rate grows
// by the whole share.
TEST(TrainedOptimizer, TellsTheRateThatIsLearned) {
  OneWeightModel model;
  const auto optimizer =
      make_optimizer(model, choice_of("hypergradient-sgd", 0.01));
  PhaseTimer timer;
  EXPECT_DOUBLE_EQ(make_update(*optimizer, {pixels()}, timer).lr, 0.01);
  const double second = make_update(*optimizer, {pixels()}, timer).lr;
  EXPECT_NEAR(second, 0.01 * 1.02, 1e-7);
}

TEST(TrainedOptimizer, GoesUphillForItsGradients) {
  OneWeightModel model;
  auto choice = choice_of("sam-sgd", 0.5);
  choice.rho = 0.125;
  const auto optimizer = make_optimizer(model, choice);
  PhaseTimer timer;
  const Update update = make_update(*optimizer, {pixels()}, timer);
  const auto here = by_hand(kWeight);
  const double uphill = kWeight + std::copysign(0.125, here.first);
  // Told of where the update began, and made with the gradient of uphill.
  EXPECT_NEAR(update.loss.item<double>(), here.loss, kTolerance);
  EXPECT_NEAR(
      update.grad_norm.item<double>(), std::abs(here.first), kTolerance);
  EXPECT_NEAR(
      model.weight(), kWeight - 0.5 * by_hand(uphill).first, kTolerance);
}

// In one dimension the curvature is measured exactly: 1 / f'' at rate 1.
TEST(TrainedOptimizer, DividesByTheCurvatureThatItMeasures) {
  const auto here = by_hand(kWeight);
  OneWeightModel model;
  const auto optimizer = make_optimizer(model, choice_of("adahessian", 0.5));
  PhaseTimer timer;
  const Update update = make_update(*optimizer, {pixels()}, timer);
  EXPECT_NEAR(
      model.weight(),
      kWeight - 0.5 * here.first / (here.second + AdaHessianOptions().eps()),
      1e-4);
  EXPECT_NEAR(
      update.grad_norm.item<double>(), std::abs(here.first), kTolerance);
  EXPECT_THAT(said_by(*optimizer), HasSubstr("1 Hessian product\n"));
}

TEST(TrainedOptimizer, CountsClippedUpdates) {
  OneWeightModel model;
  auto choice = choice_of("clipped-sgd", 0.5);
  // Half the first gradient, which shrinks from there.
  const double first = std::abs(by_hand(kWeight).first);
  choice.max_norm = first / 2;
  const auto optimizer = make_optimizer(model, choice);
  PhaseTimer timer;
  const Update update = make_update(*optimizer, {pixels()}, timer);
  EXPECT_NEAR(update.grad_norm.item<double>(), first, kTolerance);
  EXPECT_NEAR(std::abs(model.weight() - kWeight), 0.5 * first / 2, kTolerance);
  EXPECT_THAT(
      optimizer->summary(), ElementsAre("clipped 1 of 1 updates (100%)"));
}

TEST(TrainedOptimizer, EvaluatesTheSameBatchAgainToTakeAStepBack) {
  OneWeightModel model;
  constexpr double kRate = 200;
  const auto optimizer =
      make_optimizer(model, choice_of("rollback-sgd", kRate));
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
    const Update update = make_update(*optimizer, {batch}, timer);
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
  EXPECT_THAT(optimizer->summary().front(), HasSubstr(" of the schedule's"));
  // Where plain SGD is thrown far off by a rate like this.
  OneWeightModel thrown;
  const auto plain = make_optimizer(thrown, choice_of("sgd", kRate));
  make_update(*plain, {first}, timer);
  EXPECT_GT(by_hand(thrown.weight()).loss, 10 * by_hand(kWeight).loss);
  EXPECT_LT(by_hand(model.weight()).loss, 2 * by_hand(kWeight).loss);
}

template <typename Options>
const Options& options_of(TrainedOptimizer& optimizer) {
  return dynamic_cast<const Options&>(
      optimizer.inner().param_groups().front().options());
}

// What an optimizer saves.
std::string saved_state(const TrainedOptimizer& optimizer) {
  torch::serialize::OutputArchive out;
  optimizer.save(out);
  std::ostringstream bytes;
  out.save_to(bytes);
  return bytes.str();
}

void load_state(TrainedOptimizer& optimizer, const std::string& saved) {
  std::istringstream bytes(saved);
  torch::serialize::InputArchive in;
  in.load_from(bytes);
  optimizer.load(in);
}

// An optimizer on two micro-batches of two images an update.
OptimizerChoice choice_for_saving(const std::string& name) {
  OptimizerChoice choice;
  choice.name = name;
  choice.lr = optimizer_row(name).finds_rate.empty() ? 0.1 : 1;
  choice.momentum = 0.5;
  if (name == "clipped-sgd") {
    choice.max_norm = 1e-3;
  }
  if (name == "power-sgd") {
    choice.safety = 0.5;
    choice.policy = "sharpness";
  } else {
    choice.micro_batch = 2;
  }
  return choice;
}

TEST(TrainedOptimizer, SavesWhatItsSummaryGoesBy) {
  for (const std::string name :
       {"sgd",
        "clipped-sgd",
        "rollback-sgd",
        "power-sgd",
        "prodigy",
        "dog",
        "adahessian",
        "hypergradient-sgd"}) {
    OneWeightModel model;
    const auto choice = choice_for_saving(name);
    const auto optimizer = make_optimizer(model, choice);
    const MicroBatches batches{
        {torch::tensor({1.F, 2.F, 0.F, 1.F, 0.F, 3.F}).view({2, 1, 1, 3}),
         torch::tensor({0, 2}, torch::kInt64)},
        {torch::tensor({2.F, 2.F, 1.F, 4.F, 0.F, 0.F}).view({2, 1, 1, 3}),
         torch::tensor({1, 0}, torch::kInt64)}};
    PhaseTimer timer;
    for (int i = 0; i < 5; ++i) {
      make_update(*optimizer, batches, timer);
    }
    const auto saved = saved_state(*optimizer);
    const auto other = make_optimizer(model, choice);
    ASSERT_NE(saved_state(*other), saved) << name;
    load_state(*other, saved);
    EXPECT_EQ(saved_state(*other), saved) << name;
  }
}

TEST(TrainedOptimizer, RefusesTheStateOfAnother) {
  OneWeightModel model;
  auto choice = choice_for_saving("clipped-sgd");
  const auto measures = make_optimizer(model, choice);
  choice.micro_batch = 0;
  const auto plain = make_optimizer(model, choice);
  const auto sgd = make_optimizer(model, choice_for_saving("sgd"));
  const auto refusal = [](TrainedOptimizer& optimizer,
                          const TrainedOptimizer& saved) {
    return message_of([&] { load_state(optimizer, saved_state(saved)); });
  };
  EXPECT_THAT(
      refusal(*plain, *measures), HasSubstr("has a gradient noise scale"));
  EXPECT_THAT(
      refusal(*measures, *plain), HasSubstr("has no gradient noise scale"));
  EXPECT_THAT(refusal(*measures, *sgd), HasSubstr("no 'clipped_updates'"));
}

TEST(MakeOptimizer, PassesTheNumbersOn) {
  OneWeightModel model;
  const auto make = [&](const std::string& name) {
    auto choice = choice_of(name, 0.5);
    choice.momentum = 0.7;
    choice.weight_decay = 0.25;
    if (choice.max_norm) {
      choice.max_norm = 3;
    }
    if (choice.safety) {
      choice.safety = 0.8;
    }
    return make_optimizer(model, choice);
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
  check_betas(options_of<LionOptions>(*make("lion")));
  check(options_of<torch::optim::SGDOptions>(*make("sam-sgd")));
  check(options_of<LARSOptions>(*make("lars")));
  check(options_of<HypergradientSGDOptions>(*make("hypergradient-sgd")));
  check(options_of<ScheduleFreeSGDOptions>(*make("schedule-free-sgd")));
  check(options_of<MuonOptions>(*make("muon")));
  check_betas(options_of<LAMBOptions>(*make("lamb")));
  check_betas(
      options_of<HypergradientAdamOptions>(*make("hypergradient-adam")));
  check_betas(
      options_of<ScheduleFreeAdamWOptions>(*make("schedule-free-adamw")));
  check_betas(options_of<ProdigyOptions>(*make("prodigy")));
  check_betas(options_of<DAdaptAdamOptions>(*make("dadapt-adam")));
  check_betas(options_of<AdaHessianOptions>(*make("adahessian")));
  check_betas(options_of<SophiaHOptions>(*make("sophia-h")));
  const auto dog = make("dog");
  EXPECT_EQ(options_of<DoGOptions>(*dog).lr(), 0.5);
  EXPECT_EQ(options_of<DoGOptions>(*dog).weight_decay(), 0.25);
  EXPECT_EQ(options_of<ClippedSGDOptions>(*make("clipped-sgd")).max_norm(), 3);
  EXPECT_EQ(
      options_of<ClippedAdamWOptions>(*make("clipped-adamw")).max_norm(), 3);
  const auto power = make("power-sgd");
  EXPECT_EQ(options_of<PowerMethodSGDOptions>(*power).tracker().safety(), 0.8);
}

TEST(MakeOptimizer, GivesTheBuffersToThoseThatPutThemBack) {
  const auto model = make_model("cnn", {1, 28, 28, 10});
  const auto buffers = model->buffers();
  ASSERT_FALSE(buffers.empty());
  const auto is_same = [&](const std::vector<torch::Tensor>& given) {
    ASSERT_EQ(given.size(), buffers.size());
    for (std::size_t i = 0; i < given.size(); ++i) {
      EXPECT_TRUE(given[i].is_same(buffers[i]));
    }
  };
  const auto rollback = make_optimizer(*model, choice_of("rollback-sgd", 1));
  is_same(options_of<RollbackSGDOptions>(*rollback).rollback().buffers());
  // SAM has them too, and shows them by what it does: the running statistics
  // are those of its first evaluation.
  const auto sgd = make_model("cnn", {1, 28, 28, 10});
  const auto sam = make_model("cnn", {1, 28, 28, 10});
  sgd->train();
  sam->train();
  torch::nn::init::constant_(sgd->parameters().front(), 0.1);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    sam->buffers()[i].copy_(sgd->buffers()[i]);
  }
  for (std::size_t i = 0; i < sgd->parameters().size(); ++i) {
    sam->parameters()[i].copy_(sgd->parameters()[i]);
  }
  const c10::AutoGradMode grad(true);
  const Batch images{
      torch::rand({4, 1, 28, 28}), torch::tensor({0, 1, 2, 3}, torch::kInt64)};
  PhaseTimer timer;
  const auto by_sgd = make_optimizer(*sgd, choice_of("sgd", 0.1));
  const auto by_sam = make_optimizer(*sam, choice_of("sam-sgd", 0.1));
  make_update(*by_sgd, {images}, timer);
  make_update(*by_sam, {images}, timer);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_TRUE(torch::equal(sam->buffers()[i], sgd->buffers()[i])) << i;
  }
  const auto power = make_optimizer(*model, choice_of("power-sgd", 1));
  is_same(options_of<PowerMethodSGDOptions>(*power).buffers());
  auto choice = choice_of("power-sgd", 1);
  choice.policy = "edge";
  const auto at_the_edge = make_optimizer(*model, choice);
  is_same(options_of<AutoSGDOptions>(*at_the_edge).buffers());
}

TEST(MakeOptimizer, RefusesUnknownNamesAndNumbersOfOthers) {
  OneWeightModel model;
  const auto refusal = [&](const OptimizerChoice& choice) {
    return message_of([&] { make_optimizer(model, choice); });
  };
  auto choice = choice_of("sgd", 0.1);
  choice.name = "adagrad";
  EXPECT_THAT(
      refusal(choice),
      AllOf(HasSubstr("one of sgd, adam, "), HasSubstr("got adagrad")));
  choice = choice_of("sgd", 0.1);
  choice.max_norm = 1;
  EXPECT_THAT(refusal(choice), HasSubstr("sgd has no use for a max_norm"));
  choice = choice_of("clipped-sgd", 0.1);
  choice.safety = 1;
  EXPECT_THAT(refusal(choice), HasSubstr("no use for a safety"));
  choice = choice_of("clipped-adamw", 0.1);
  choice.max_norm.reset();
  EXPECT_THAT(refusal(choice), HasSubstr("wants a max_norm"));
  choice = choice_of("power-sgd", 0.1);
  choice.safety.reset();
  EXPECT_THAT(refusal(choice), HasSubstr("wants a safety"));
  choice = choice_of("power-sgd", 0.1);
  choice.policy.reset();
  EXPECT_THAT(refusal(choice), HasSubstr("wants a policy"));
  choice.policy = "hope";
  EXPECT_THAT(refusal(choice), HasSubstr("secant or polyak, got hope"));
  choice = choice_of("sgd", 0.1);
  choice.policy = "edge";
  EXPECT_THAT(refusal(choice), HasSubstr("no use for a policy"));
  choice = choice_of("sgd", 0.1);
  choice.rho = 0.05;
  EXPECT_THAT(refusal(choice), HasSubstr("no use for a rho"));
  choice = choice_of("sam-sgd", 0.1);
  choice.rho.reset();
  EXPECT_THAT(refusal(choice), HasSubstr("wants a rho"));
  choice = choice_of("sgd", 0.1);
  choice.state_type = "8bit";
  EXPECT_THAT(refusal(choice), HasSubstr("no use for a state type, got 8bit"));
  choice = choice_of("lion", 0.1);
  choice.state_type = "4bit";
  EXPECT_THAT(refusal(choice), HasSubstr("bfloat16 or 8bit, got 4bit"));
}

}  // namespace
}  // namespace stepsize::trainer
