// GradScaler and Autocast beside Python's: scripts/make_scaler_goldens.py has
// written where those go.

#include <gtest/gtest.h>
#include <stepsize/optim/autocast.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// As strtod reads them: "inf" and "nan" too.
double number_of(const std::string& word) {
  return std::strtod(word.c_str(), nullptr);
}

std::vector<std::vector<std::string>> lines_of(const std::string& name) {
  std::ifstream file(std::string(STEPSIZE_OPTIM_FILES) + "/" + name);
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(words_of(line));
  }
  return lines;
}

torch::Tensor counted(
    int64_t first, int64_t count, const std::function<double(int64_t)>& f) {
  std::vector<float> values;
  for (int64_t i = first; i < first + count; ++i) {
    values.push_back(static_cast<float>(f(i)));
  }
  return torch::tensor(values);
}

// The two parts of the script's loss.
struct TwoParts {
  TwoParts() {
    int64_t first = 0;
    for (const int64_t count : {4, 2}) {
      parameters.push_back(counted(first, count, [](int64_t i) {
                             return static_cast<double>((3 * i) % 17 - 8) / 16;
                           }).set_requires_grad(true));
      curvature.push_back(counted(first, count, [](int64_t i) {
        return static_cast<double>(1 + 7 * i % 11) / 8;
      }));
      lowest.push_back(counted(first, count, [](int64_t i) {
        return static_cast<double>(5 * i % 13 - 6) / 8;
      }));
      first += count;
    }
  }

  torch::Tensor loss(double factor_a, double factor_b, double all) const {
    torch::Tensor sum = torch::zeros({});
    const double factors[] = {factor_a, factor_b};
    for (std::size_t k = 0; k < 2; ++k) {
      parameters[k].mutable_grad() = torch::Tensor();
      const auto far = parameters[k] - lowest[k];
      sum = sum + (curvature[k] / 2 * far * far).sum() * all * factors[k];
    }
    return sum;
  }

  std::vector<torch::Tensor> parameters;
  std::vector<torch::Tensor> curvature;
  std::vector<torch::Tensor> lowest;
};

using Optimizer = torch::optim::Optimizer;
using MakeOptimizer =
    std::function<std::unique_ptr<Optimizer>(std::vector<torch::Tensor>)>;

std::unique_ptr<Optimizer> libtorch_sgd(std::vector<torch::Tensor> parameters) {
  return std::make_unique<torch::optim::SGD>(
      std::move(parameters), torch::optim::SGDOptions(0.1).momentum(0.9));
}

std::unique_ptr<Optimizer> libtorch_adam(
    std::vector<torch::Tensor> parameters) {
  return std::make_unique<torch::optim::Adam>(
      std::move(parameters), torch::optim::AdamOptions(0.05));
}

MakeOptimizer clipped_sgd(double max_norm) {
  return [max_norm](std::vector<torch::Tensor> parameters) {
    return std::make_unique<ClippedSGD>(
        std::move(parameters),
        ClippedSGDOptions(0.1).momentum(0.9).max_norm(max_norm));
  };
}

std::unique_ptr<Optimizer> clipped_adam(std::vector<torch::Tensor> parameters) {
  return std::make_unique<ClippedAdamW>(
      std::move(parameters),
      ClippedAdamWOptions(0.05).weight_decay(0).max_norm(kInfinity));
}

void clip(const torch::Tensor& parameter, double max_norm) {
  const double norm = parameter.grad().to(torch::kDouble).norm().item<double>();
  if (std::isfinite(norm) && norm > max_norm) {
    parameter.grad().mul_(max_norm / norm);
  }
}

// How often a case's line was met. `clips`: A is clipped by hand.
int expect_goes_with_python(
    const MakeOptimizer& make_a,
    const MakeOptimizer& make_b,
    bool clips,
    const std::function<bool(double max_norm)>& takes) {
  int steps = 0;
  std::unique_ptr<TwoParts> parts;
  std::unique_ptr<GradScaler> scaler;
  std::unique_ptr<Optimizer> a;
  std::unique_ptr<Optimizer> b;
  std::string name;
  double max_norm = 0;
  for (const auto& line : lines_of("grad_scaler.txt")) {
    if (line[0] == "case") {
      name = line[1];
      max_norm = number_of(line[6]);
      scaler = std::make_unique<GradScaler>(
          GradScalerOptions()
              .init_scale(number_of(line[2]))
              .growth_factor(number_of(line[3]))
              .backoff_factor(number_of(line[4]))
              .growth_interval(std::stoll(line[5])));
      parts = std::make_unique<TwoParts>();
      a = make_a({parts->parameters[0]});
      b = make_b({parts->parameters[1]});
    }
    if (line[0] != "step" || !takes(max_norm)) continue;
    ++steps;
    const auto loss = parts->loss(
        number_of(line[1]),
        number_of(line[2]),
        name == "largest" ? 0x1p-10 : 1);
    scaler->scale(loss).backward();
    if (clips) {
      scaler->unscale_(*a);
      clip(parts->parameters[0], max_norm);
    }
    scaler->step(*a);
    scaler->step(*b);
    scaler->update();
    SCOPED_TRACE(name + ", line " + std::to_string(steps));
    EXPECT_EQ(scaler->scale(), number_of(line[3]));
    EXPECT_EQ(scaler->growth_tracker(), std::stoll(line[4]));
    EXPECT_EQ(scaler->skipped_steps(*a), std::stoll(line[5]));
    EXPECT_EQ(scaler->skipped_steps(*b), std::stoll(line[6]));
    EXPECT_EQ(
        scaler->skipped_steps(), std::stoll(line[5]) + std::stoll(line[6]));
    const auto values = torch::cat(parts->parameters).to(torch::kDouble);
    for (int64_t i = 0; i < 6; ++i) {
      // Of about 1, in float32, over 30 updates.
      EXPECT_NEAR(
          values[i].item<double>(),
          number_of(line[static_cast<std::size_t>(7 + i)]),
          2e-6);
    }
  }
  return steps;
}

bool takes_unclipped(double max_norm) { return std::isinf(max_norm); }
bool takes_all(double /*max_norm*/) { return true; }

TEST(GradScalerAgainstPython, GoesWithItByLibTorchsOptimizers) {
  EXPECT_EQ(
      expect_goes_with_python(
          libtorch_sgd, libtorch_adam, false, takes_unclipped),
      150);
  EXPECT_EQ(
      expect_goes_with_python(libtorch_sgd, libtorch_adam, true, takes_all),
      180);
}

TEST(GradScalerAgainstPython, GoesWithItByTheClippedOptimizers) {
  EXPECT_EQ(
      expect_goes_with_python(
          clipped_sgd(kInfinity), clipped_adam, false, takes_unclipped),
      150);
  EXPECT_EQ(
      expect_goes_with_python(
          clipped_sgd(kInfinity), clipped_adam, true, takes_all),
      180);
}

// What Python does in three passes: unscale, norm, and the clipped gradient.
TEST(GradScalerAgainstPython, ClipsAndUnscalesByOneFactor) {
  EXPECT_EQ(
      expect_goes_with_python(
          clipped_sgd(0.25),
          clipped_adam,
          false,
          [](double max_norm) { return max_norm == 0.25; }),
      30);
}

torch::Tensor wave(torch::IntArrayRef shape, int64_t first, double size) {
  int64_t count = 1;
  for (const int64_t length : shape) count *= length;
  return counted(
             first,
             count,
             [size](int64_t i) {
               return size * std::sin(1.3 * static_cast<double>(i) + 0.1);
             })
      .reshape(shape);
}

TEST(AutocastAgainstPython, HasTheSameLossAndGradients) {
  torch::nn::Linear first(8, 16);
  torch::nn::Linear second(16, 4);
  const std::vector<torch::Tensor> parameters = {
      first->weight, first->bias, second->weight, second->bias};
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      parameters[k].copy_(
          wave(parameters[k].sizes(), 100 * static_cast<int64_t>(k), 0.5));
    }
  }
  const auto inputs = wave({5, 8}, 7, 1);
  const auto targets = wave({5, 4}, 11, 1);
  const auto loss = [&] {
    return torch::mse_loss(
        second->forward(torch::tanh(first->forward(inputs))), targets);
  };
  torch::Tensor value;
  {
    const Autocast autocast(torch::kCPU);
    EXPECT_EQ(first->forward(inputs).scalar_type(), torch::kBFloat16);
    value = loss();
  }
  value.backward();
  std::size_t next = 0;
  for (const auto& line : lines_of("autocast.txt")) {
    if (line[0] == "plain") {
      EXPECT_NEAR(loss().item<double>(), number_of(line[1]), 1e-6);
      // The one is told from the other.
      EXPECT_GT(std::abs(value.item<double>() - number_of(line[1])), 5e-4);
    } else if (line[0] == "type") {
      EXPECT_EQ(line[1], "bfloat16");
    } else if (line[0] == "loss") {
      EXPECT_EQ(line[1], "float32");
      EXPECT_EQ(value.scalar_type(), torch::kFloat);
      // A bfloat16 has 8 bits; LibTorch's versions sum in other orders.
      EXPECT_NEAR(value.item<double>(), number_of(line[2]), 0x1p-9);
    } else if (line[0] == "grad") {
      const auto grad = parameters[next++].grad().flatten();
      ASSERT_EQ(grad.numel(), static_cast<int64_t>(line.size()) - 1);
      for (int64_t i = 0; i < grad.numel(); ++i) {
        EXPECT_NEAR(
            grad[i].item<double>(),
            number_of(line[static_cast<std::size_t>(i + 1)]),
            0x1p-7 * grad.abs().max().item<double>());
      }
    }
  }
  EXPECT_EQ(next, 4U);
}

}  // namespace
}  // namespace stepsize
