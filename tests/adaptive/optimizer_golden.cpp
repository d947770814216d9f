#include "tests/adaptive/optimizer_golden.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

namespace stepsize::test {
namespace {

torch::Tensor counted(
    torch::IntArrayRef shape,
    int64_t first,
    torch::Dtype type,
    const std::function<double(int64_t)>& function) {
  auto values = torch::empty(shape, torch::kFloat64);
  double* const data = values.data_ptr<double>();
  for (int64_t i = 0; i < values.numel(); ++i) data[i] = function(first + i);
  return values.to(type);
}

}  // namespace

GoldenProblem::GoldenProblem(torch::Dtype type) : type_(type) {
  const std::vector<std::vector<int64_t>> shapes{
      {4, 3}, {5}, {2, 3, 2, 2}, {1}};
  int64_t first = 0;
  for (const auto& shape : shapes) {
    const auto make = [&](const std::function<double(int64_t)>& function) {
      return counted(shape, first, type, function);
    };
    first_.push_back(first);
    parameters_.push_back(make([](int64_t i) {
                            return static_cast<double>((3 * i) % 17 - 8) / 16;
                          }).requires_grad_(true));
    curvature_.push_back(make(
        [](int64_t i) { return static_cast<double>(1 + (7 * i) % 11) / 8; }));
    lowest_.push_back(make(
        [](int64_t i) { return static_cast<double>((5 * i) % 13 - 6) / 8; }));
    first += parameters_.back().numel();
  }
}

torch::Tensor GoldenProblem::push(std::size_t index) const {
  return counted(
      parameters_[index].sizes(), first_[index], type_, [this](int64_t i) {
        return 0.25 *
               std::cos(
                   0.7 * static_cast<double>(step_) + static_cast<double>(i));
      });
}

void GoldenProblem::set_gradients() {
  const torch::NoGradGuard no_grad;
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    parameters_[k].mutable_grad() =
        curvature_[k] * (parameters_[k].detach() - lowest_[k]) + push(k);
  }
}

torch::Tensor GoldenProblem::loss() const {
  torch::Tensor total = torch::zeros({}, type_);
  for (std::size_t k = 0; k < parameters_.size(); ++k) {
    const auto far = parameters_[k] - lowest_[k];
    total = total + (curvature_[k] / 2 * far * far).sum();
    total = total + (push(k) * parameters_[k]).sum();
  }
  return total;
}

std::vector<double> GoldenProblem::values() const {
  std::vector<double> all;
  for (const auto& parameter : parameters_) {
    const auto wide = parameter.detach().to(torch::kFloat64).contiguous();
    const double* const data = wide.data_ptr<double>();
    all.insert(all.end(), data, data + wide.numel());
  }
  return all;
}

OptimizerGolden read_optimizer_golden(const std::string& name) {
  const std::string path =
      std::string(STEPSIZE_OPTIMIZER_GOLDENS) + "/" + name + ".txt";
  std::ifstream file(path);
  TORCH_CHECK(file.good(), "cannot open ", path);
  OptimizerGolden golden;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "source") {
      std::getline(words >> std::ws, golden.source);
      continue;
    }
    std::string type;
    std::string number;
    int64_t step = 0;
    words >> type;
    if (kind == "number") words >> number;
    words >> step;
    double value = 0;
    while (words >> value) {
      if (kind == "number") {
        golden.numbers[{type, step}][number] = value;
      } else {
        golden.values[{type, step}].push_back(value);
      }
    }
    TORCH_CHECK(words.eof(), path, " has a line that is none: ", line);
  }
  return golden;
}

void expect_follows_golden(
    const std::string& name,
    const std::function<GoldenRun(const std::vector<torch::Tensor>&)>& make,
    double slack) {
  const OptimizerGolden golden = read_optimizer_golden(name);
  constexpr int64_t kSteps = 200;
  for (const auto& [type, type_name, width] :
       {std::make_tuple(torch::kFloat32, "float32", 1e-6),
        std::make_tuple(torch::kFloat64, "float64", 1e-12)}) {
    GoldenProblem problem(type);
    const GoldenRun run = make(problem.parameters());
    int compared = 0;
    for (int64_t t = 1; t <= kSteps; ++t) {
      problem.set_step(t);
      run.step(problem);
      const auto expected = golden.values.find({type_name, t});
      if (expected == golden.values.end()) continue;
      ++compared;
      const auto got = problem.values();
      ASSERT_EQ(got.size(), expected->second.size());
      double largest = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        // Not by std::max, which would pass a NaN over.
        const double difference = std::abs(got[i] - expected->second[i]);
        if (!(difference <= largest)) largest = difference;
      }
      EXPECT_LE(largest, slack * width)
          << name << ", " << type_name << ", update " << t;
      const auto numbers = golden.numbers.find({type_name, t});
      if (numbers == golden.numbers.end()) continue;
      for (const auto& [number, value] : numbers->second) {
        EXPECT_NEAR(
            run.number(number), value, slack * width * std::abs(value) * 10)
            << name << ", " << type_name << ", " << number << ", update " << t;
      }
    }
    EXPECT_GE(compared, 4) << name << ", " << type_name;
  }
}

}  // namespace stepsize::test
