#include <stepsize/adaptive/averaged_model.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "csrc/kernels/dispatch.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

constexpr double kAveragedWidth = 1e-14;  // of float64, for values of about 1

// Weights that a run passes, by their number from 1.
double point_at(int64_t n) {
  return std::cos(1.3 * static_cast<double>(n)) + 0.01 * static_cast<double>(n);
}

// A parameter that a run moves.
class AveragedRun {
 public:
  explicit AveragedRun(const AveragedModelOptions& options)
      : parameter(leaf({0, 0})), averaged({parameter}, options) {}

  bool update() {
    const torch::NoGradGuard no_grad;
    ++calls;
    parameter[0].fill_(point_at(calls));
    parameter[1].fill_(-2 * point_at(calls));
    return averaged.update();
  }

  void expect_average(double value) const {
    const auto& average = averaged.averages().at(0);
    EXPECT_NEAR(average[0].item<double>(), value, kAveragedWidth) << calls;
    EXPECT_NEAR(average[1].item<double>(), -2 * value, 2 * kAveragedWidth);
  }

  torch::Tensor parameter;
  AveragedModel averaged;
  int64_t calls = 0;
};

double mean_of_points(int64_t first, int64_t last) {
  double sum = 0;
  for (int64_t n = first; n <= last; ++n) sum += point_at(n);
  return sum / static_cast<double>(last - first + 1);
}

TEST(AveragedModel, IsTheMeanOfAllUpdates) {
  AveragedRun run(AveragedModelOptions{});
  for (int64_t n = 1; n <= 100; ++n) {
    EXPECT_TRUE(run.update());
    run.expect_average(mean_of_points(1, n));
    EXPECT_EQ(run.averaged.covered(), n);
  }
}

TEST(AveragedModel, IsAGeometricSum) {
  constexpr double kDecay = 0.9;
  AveragedRun run(
      AveragedModelOptions().mode(AveragingMode::kExponential).decay(kDecay));
  for (int64_t n = 1; n <= 60; ++n) {
    run.update();
    double sum = std::pow(kDecay, n - 1) * point_at(1);
    for (int64_t j = 2; j <= n; ++j) {
      sum += (1 - kDecay) * std::pow(kDecay, n - j) * point_at(j);
    }
    run.expect_average(sum);
  }
}

TEST(AveragedModel, WarmsTheDecayUp) {
  AveragedRun run(AveragedModelOptions()
                      .mode(AveragingMode::kExponential)
                      .decay(0.5)
                      .warm_up_decay(true));
  run.update();
  double expected = point_at(1);
  run.expect_average(expected);
  for (int64_t n = 1; n <= 20; ++n) {
    // 2/11, 3/12, ...: the decay itself from n = 8 on.
    const double decay =
        n < 8 ? static_cast<double>(1 + n) / static_cast<double>(10 + n) : 0.5;
    run.update();
    expected = decay * expected + (1 - decay) * point_at(n + 1);
    run.expect_average(expected);
  }
}

// The promise: the mean over the last m updates exactly, m in a range.
void expect_tail(
    const AveragedModelOptions& options,
    const std::function<double(double n)>& least,
    const std::function<double(double n)>& most) {
  AveragedRun run(options);
  bool varies = false;
  for (int64_t n = 1; n <= 500; ++n) {
    run.update();
    const int64_t m = run.averaged.covered();
    EXPECT_GE(static_cast<double>(m), least(static_cast<double>(n))) << n;
    EXPECT_LE(static_cast<double>(m), most(static_cast<double>(n))) << n;
    varies = varies || m < n;
    run.expect_average(mean_of_points(n - m + 1, n));
  }
  EXPECT_EQ(varies, options.tail_fraction() < 1);
}

TEST(AveragedModel, AveragesTheLastShareOfTheUpdates) {
  for (const double f : {0.05, 0.3, 0.5, 0.9, 1.0}) {
    expect_tail(
        AveragedModelOptions().mode(AveragingMode::kTail).tail_fraction(f),
        [f](double n) { return f * n; },
        [f](double n) { return (2 - f) * f * n + 2; });
  }
}

TEST(AveragedModel, AveragesTheLastUpdates) {
  for (const int64_t tail : {1, 7, 40}) {
    const auto last = static_cast<double>(tail);
    expect_tail(
        AveragedModelOptions().mode(AveragingMode::kTail).tail_updates(tail),
        [last](double n) { return std::min(n, last); },
        [last](double n) { return std::min(n, 2 * last - 1); });
  }
}

TEST(AveragedModel, UpdatesAtEverySoManyCalls) {
  AveragedRun run(AveragedModelOptions().update_every(3));
  std::vector<bool> were;
  for (int i = 0; i < 9; ++i) were.push_back(run.update());
  EXPECT_THAT(
      were,
      testing::ElementsAre(
          false, false, true, false, false, true, false, false, true));
  EXPECT_EQ(run.averaged.updates(), 3);
  run.expect_average((point_at(3) + point_at(6) + point_at(9)) / 3);
}

// A module of the golden's parameters, and its buffer.
class GoldenModel : public torch::nn::Module {
 public:
  explicit GoldenModel(const std::vector<torch::Tensor>& parameters) {
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      all.push_back(register_parameter("p" + std::to_string(k), parameters[k]));
    }
    sum = register_buffer("sum", parameters[0].detach().sum());
  }
  std::vector<torch::Tensor> all;
  torch::Tensor sum;
};

TEST(AveragedModel, FollowsPython) {
  expect_follows_golden(
      "averaged_model", [](const std::vector<torch::Tensor>& parameters) {
        struct Parts {
          explicit Parts(const std::vector<torch::Tensor>& all)
              : model(std::make_shared<GoldenModel>(all)),
                mean(model),
                decayed(
                    model,
                    AveragedModelOptions()
                        .mode(AveragingMode::kExponential)
                        .decay(0.95)
                        .average_buffers(true)),
                sgd(all, torch::optim::SGDOptions(0.4).momentum(0.5)) {}
          std::shared_ptr<GoldenModel> model;
          AveragedModel mean;
          AveragedModel decayed;
          torch::optim::SGD sgd;
        };
        const auto parts = std::make_shared<Parts>(parameters);
        return GoldenRun{
            [parts](GoldenProblem& problem) {
              problem.set_gradients();
              parts->sgd.step();
              parts->model->sum.copy_(parts->model->all[0].detach().sum());
              parts->mean.update();
              parts->decayed.update();
            },
            [parts](const std::string& name) {
              if (name == "buffer") {
                return parts->decayed.averages().at(4).item<double>();
              }
              const auto& all =
                  (name[0] == 'm' ? parts->mean : parts->decayed).averages();
              return all.at(name.back() - '0')
                  .to(torch::kFloat64)
                  .norm()
                  .item<double>();
            }};
      });
}

struct AveragedNetImpl : torch::nn::Module {
  AveragedNetImpl() {
    first = register_module("first", torch::nn::Linear(3, 4));
    norm = register_module("norm", torch::nn::BatchNorm1d(4));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return norm->forward(first->forward(x));
  }
  torch::nn::Linear first{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
};
TORCH_MODULE(AveragedNet);

std::vector<torch::Tensor> averaged_copy(torch::nn::Module& module) {
  std::vector<torch::Tensor> all;
  for (const auto& tensors : {module.parameters(), module.buffers()}) {
    for (const auto& tensor : tensors) all.push_back(tensor.detach().clone());
  }
  return all;
}

bool averaged_equal(
    const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return torch::equal(x, y);
      });
}

class AveragedNetTest : public testing::Test {
 protected:
  AveragedNetTest() {
    torch::manual_seed(7);
    net = AveragedNet();
  }
  void move() {
    const torch::NoGradGuard no_grad;
    net->forward(torch::randn({8, 3}) + 1);
    for (auto& parameter : net->parameters()) {
      parameter.add_(torch::randn_like(parameter), 0.1);
    }
  }

  AveragedNet net{nullptr};
};

TEST_F(AveragedNetTest, CopiesBuffersOrAveragesThem) {
  AveragedModel copied(net);
  AveragedModel averaged(net, AveragedModelOptions().average_buffers(true));
  auto mean = torch::zeros({4});
  for (int i = 0; i < 4; ++i) {
    move();
    mean += net->norm->running_mean / 4;
    copied.update();
    averaged.update();
  }
  // After first.weight, first.bias, norm.weight and norm.bias.
  EXPECT_TRUE(torch::equal(copied.averages()[4], net->norm->running_mean));
  EXPECT_TRUE(torch::allclose(averaged.averages()[4], mean, 1e-5, 1e-6));
  EXPECT_FALSE(torch::allclose(mean, net->norm->running_mean, 1e-3, 1e-4));
  // The number of batches is no number to be averaged.
  EXPECT_EQ(averaged.averages()[6].item<int64_t>(), 4);
}

TEST_F(AveragedNetTest, AGuardPutsAllBackBitForBit) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16}) {
    net->to(type);
    AveragedModel averaged(net);
    for (int i = 0; i < 3; ++i) {
      const torch::NoGradGuard no_grad;
      for (auto& parameter : net->parameters()) parameter.add_(0.1 * (i + 1));
      averaged.update();
    }
    const auto before = averaged_copy(*net);
    {
      const AveragedWeights guard(averaged);
      const auto& average = averaged.averages()[0];
      EXPECT_EQ(average.scalar_type(), torch::kFloat32);
      EXPECT_TRUE(torch::equal(net->first->weight, average.to(type)));
      EXPECT_FALSE(torch::equal(net->first->weight, before[0]));
      EXPECT_THAT(
          message_of([&] { averaged.update(); }),
          HasSubstr("AveragedModel: the module holds its averages"));
      EXPECT_THROW(AveragedWeights{averaged}, c10::Error);
    }
    EXPECT_TRUE(averaged_equal(averaged_copy(*net), before));
    EXPECT_THROW(
        {
          const AveragedWeights guard(averaged);
          throw std::runtime_error("no data");
        },
        std::runtime_error);
    EXPECT_TRUE(averaged_equal(averaged_copy(*net), before));
    EXPECT_TRUE(averaged.update());
    averaged.write_to_model();
    EXPECT_TRUE(
        torch::equal(net->first->weight, averaged.averages()[0].to(type)));
  }
}

TEST_F(AveragedNetTest, RenewsTheStatisticsOfTheAverages) {
  AveragedModel averaged(net);
  for (int i = 0; i < 3; ++i) {
    move();
    averaged.update();
  }
  const auto before = averaged_copy(*net);
  const auto data = torch::randn({16, 3});
  averaged.renew_batch_norm(*net, [&] { net->forward(data); });
  EXPECT_TRUE(averaged_equal(averaged_copy(*net), before));
  {
    const AveragedWeights guard(averaged);
    const auto mean = net->first->forward(data).mean(0).detach();
    EXPECT_TRUE(torch::allclose(net->norm->running_mean, mean, 1e-5, 1e-6));
    EXPECT_EQ(net->norm->num_batches_tracked.item<int64_t>(), 1);
  }
  EXPECT_THROW(
      averaged.renew_batch_norm(
          *net, [] { throw std::runtime_error("no data"); }),
      std::runtime_error);
  EXPECT_TRUE(averaged_equal(averaged_copy(*net), before));
  AveragedNet other;
  EXPECT_THAT(
      message_of([&] { averaged.renew_batch_norm(*other, [] {}); }),
      HasSubstr("of another module"));
}

TEST(AveragedModel, GoesOnBitForBitAfterALoad) {
  for (const auto mode :
       {AveragingMode::kMean,
        AveragingMode::kExponential,
        AveragingMode::kTail}) {
    const auto options =
        AveragedModelOptions().mode(mode).decay(0.9).update_every(2);
    AveragedRun run(options);
    for (int i = 0; i < 25; ++i) run.update();
    std::stringstream file;
    torch::save(run.averaged, file);
    AveragedRun resumed(options);
    torch::load(resumed.averaged, file);
    resumed.calls = run.calls;
    for (int i = 0; i < 25; ++i) {
      EXPECT_EQ(run.update(), resumed.update());
    }
    EXPECT_EQ(resumed.averaged.updates(), 25);
    EXPECT_EQ(resumed.averaged.covered(), run.averaged.covered());
    EXPECT_TRUE(torch::equal(
        resumed.averaged.averages()[0], run.averaged.averages()[0]));
  }
}

TEST(AveragedModel, ARefusedLoadChangesNothing) {
  const auto options =
      AveragedModelOptions().mode(AveragingMode::kExponential).decay(0.9);
  AveragedRun run(options);
  run.update();
  run.update();
  const auto before = run.averaged.averages()[0].clone();
  const auto expect_refused = [&](const AveragedModel& written,
                                  OptionsFrom from,
                                  const std::string& text) {
    torch::serialize::OutputArchive output;
    output << written;
    std::stringstream file;
    output.save_to(file);
    torch::serialize::InputArchive input;
    input.load_from(file);
    EXPECT_THAT(
        message_of([&] { run.averaged.load(input, from); }), HasSubstr(text));
    EXPECT_TRUE(torch::equal(run.averaged.averages()[0], before));
    EXPECT_EQ(run.averaged.updates(), 2);
    EXPECT_EQ(run.averaged.options().decay(), 0.9);
  };
  AveragedRun other(AveragedModelOptions(options).decay(0.5));
  other.update();
  expect_refused(
      other.averaged,
      OptionsFrom::kMustAgree,
      "AveragedModel: decay is 0.5 in the file, 0.9 here");
  AveragedRun mean(AveragedModelOptions{});
  mean.update();
  expect_refused(mean.averaged, OptionsFrom::kProgram, "of another mode");
  AveragedModel wide({leaf({1, 2, 3})}, options);
  wide.update();
  expect_refused(
      wide, OptionsFrom::kMustAgree, "average 0 of the archive does not fit");
  AveragedModel two({leaf({1, 2}), leaf({1})}, options);
  two.update();
  expect_refused(two, OptionsFrom::kMustAgree, "2 averages, the model 1");
}

TEST(AveragedModel, TakesTheOptionsThatAreToHold) {
  const auto options =
      AveragedModelOptions().mode(AveragingMode::kExponential).decay(0.9);
  AveragedRun run(options);
  run.update();
  for (const auto from : {OptionsFrom::kProgram, OptionsFrom::kFile}) {
    torch::serialize::OutputArchive output;
    output << run.averaged;
    std::stringstream file;
    output.save_to(file);
    torch::serialize::InputArchive input;
    input.load_from(file);
    AveragedRun other(AveragedModelOptions(options).decay(0.5));
    const auto put_back = other.averaged.keep_options();
    EXPECT_THAT(
        other.averaged.load(input, from),
        testing::ElementsAre("decay is 0.9 in the file, 0.5 here"));
    EXPECT_EQ(
        other.averaged.options().decay(),
        from == OptionsFrom::kFile ? 0.9 : 0.5);
    other.expect_average(point_at(1));
    put_back();
    EXPECT_EQ(other.averaged.options().decay(), 0.5);
  }
}

TEST(AveragedModel, RefusesWhatItCannotAverage) {
  AveragedRun run(AveragedModelOptions{});
  EXPECT_THAT(
      message_of([&] { run.averaged.write_to_model(); }),
      HasSubstr("no average before the first update()"));
  EXPECT_THROW(AveragedWeights{run.averaged}, c10::Error);
  run.update();
  {
    const torch::NoGradGuard no_grad;
    run.parameter.set_data(torch::zeros({3}, torch::kFloat64));
  }
  EXPECT_THAT(
      message_of([&] { run.averaged.update(); }),
      HasSubstr("weight 0 must keep shape, type and device"));
  EXPECT_EQ(run.averaged.updates(), 1);
  run.expect_average(point_at(1));
  EXPECT_THROW(AveragedModel(std::vector<torch::Tensor>{}), c10::Error);
  EXPECT_THROW(AveragedModel(std::vector<torch::Tensor>(1)), c10::Error);
  const std::shared_ptr<torch::nn::Module> null;
  EXPECT_THROW(AveragedModel{null}, c10::Error);
}

// Weights that no vector divides, and one whose memory has gaps, which the loop
// does not take.
std::vector<torch::Tensor> loop_averages(
    const AveragedModelOptions& options, torch::Dtype type, bool strided) {
  const auto wave = [](int64_t n) {
    return torch::sin(
        torch::arange(1037, torch::kFloat64) * 0.7 + static_cast<double>(n));
  };
  torch::Tensor weight = strided ? torch::zeros({1037, 2}, type).select(1, 0)
                                 : torch::zeros({1037}, type);
  AveragedModel averaged({weight}, options);
  torch::Tensor exact;
  for (int64_t n = 0; n < 9; ++n) {
    weight.copy_(wave(n));
    averaged.update();
    const double share = options.mode() == AveragingMode::kMean
                             ? 1 / static_cast<double>(n + 1)
                             : 1 - options.decay();
    const auto now = weight.to(torch::kFloat64).clone();
    exact = n == 0 ? now : exact + share * (now - exact);
  }
  return {averaged.averages()[0].clone(), exact};
}

TEST(AveragedModel, UpdatesByItsLoopAsItShould) {
  const CPUCapability used = cpu_capability();
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kHalf}) {
    const double width = type == torch::kFloat64 ? 1e-15 : 5e-7;
    for (const auto& options :
         {AveragedModelOptions(),
          // A share of the new weight above and below a half.
          AveragedModelOptions().mode(AveragingMode::kExponential).decay(0.3),
          AveragedModelOptions()
              .mode(AveragingMode::kExponential)
              .decay(0.8)}) {
      detail::use_capability(CPUCapability::kBase);
      const auto base = loop_averages(options, type, false);
      EXPECT_LT(
          (base[0].to(torch::kFloat64) - base[1]).abs().max().item<double>(),
          width)
          << type;
      const auto strided = loop_averages(options, type, true);
      EXPECT_LT((base[0] - strided[0]).abs().max().item<double>(), 2 * width)
          << type;
      for (const auto capability :
           {CPUCapability::kAVX2, CPUCapability::kAVX512}) {
        if (capability > detail::supported_capability()) continue;
        detail::use_capability(capability);
        EXPECT_TRUE(
            torch::equal(loop_averages(options, type, false)[0], base[0]))
            << type;
      }
    }
  }
  detail::use_capability(used);
}

// Autograd must hear of the one and not of the other.
TEST(AveragedModel, WritesTheAverageAlone) {
  auto weight = torch::ones({70000});
  AveragedModel averaged({weight});
  averaged.update();
  const auto before = weight._version();
  const auto kept = averaged.averages()[0];
  const auto version = kept._version();
  averaged.update();
  EXPECT_EQ(weight._version(), before);
  EXPECT_EQ(kept._version(), version + 1);
}

// The first average, of inference mode, may not be written outside of it: by no
// loop, and nothing else is before that is found out.
TEST(AveragedModel, RefusesAveragesOfInferenceMode) {
  auto parameter = leaf({1, 2});
  auto other = leaf({3});
  AveragedModel averaged({parameter, other});
  {
    const c10::InferenceMode inference;
    averaged.update();
  }
  {
    const torch::NoGradGuard no_grad;
    parameter.fill_(5);
  }
  EXPECT_THAT(
      message_of([&] { averaged.update(); }),
      HasSubstr("AveragedModel: average 0 was made in inference mode"));
  EXPECT_EQ(averaged.averages()[0][0].item<double>(), 1);
  {
    const c10::InferenceMode inference;
    averaged.update();
  }
  EXPECT_EQ(averaged.averages()[0][0].item<double>(), 3);
}

}  // namespace
}  // namespace stepsize::test
