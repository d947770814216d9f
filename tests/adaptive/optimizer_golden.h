#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace stepsize::test {

/// A quadratic in several parameters whose lowest point moves about, which
/// scripts/make_optimizer_goldens.py has too. For the i-th element of all:
///
///   f = a (p - b)^2 / 2 + p cos(0.7 t + i) / 4
class GoldenProblem {
 public:
  explicit GoldenProblem(torch::Dtype type);

  /// Of shapes {4, 3}, {5}, {2, 3, 2, 2} and {1}.
  const std::vector<torch::Tensor>& parameters() const { return parameters_; }

  /// The number of the coming update, from 1.
  void set_step(int64_t step) { step_ = step; }
  /// Sets the gradients by the formula.
  void set_gradients();
  /// The loss with its graph.
  torch::Tensor loss() const;

  /// All elements.
  std::vector<double> values() const;

 private:
  torch::Tensor push(std::size_t index) const;

  torch::Dtype type_;
  std::vector<torch::Tensor> parameters_;
  std::vector<torch::Tensor> curvature_;
  std::vector<torch::Tensor> lowest_;
  std::vector<int64_t> first_;
  int64_t step_ = 0;
};

/// What a reference implementation did on that problem.
struct OptimizerGolden {
  std::string source;
  /// By type, "float32" or "float64", and update.
  std::map<std::pair<std::string, int64_t>, std::vector<double>> values;
  /// By type and update, by name.
  std::map<std::pair<std::string, int64_t>, std::map<std::string, double>>
      numbers;
};

/// Reads tests/adaptive/goldens/NAME.txt; throws c10::Error where it is none.
OptimizerGolden read_optimizer_golden(const std::string& name);

/// Steps an optimizer of the problem once.
using GoldenStep = std::function<void(GoldenProblem& problem)>;
/// The optimizer's number of this name.
using GoldenNumber = std::function<double(const std::string& name)>;
struct GoldenRun {
  GoldenStep step;
  GoldenNumber number;
};

/// Expects that an optimizer goes where the reference went: within 1e-6 in
/// float32 and 1e-12 in float64, elements of about 1, or those times `slack`,
/// for which the test says why.
void expect_follows_golden(
    const std::string& name,
    const std::function<GoldenRun(const std::vector<torch::Tensor>&)>& make,
    double slack = 1);

/// The same of what steps by gradients that are there.
template <typename Optimizer, typename Options>
void expect_follows_golden(
    const std::string& name, const Options& options, double slack = 1) {
  expect_follows_golden(
      name,
      [&](const std::vector<torch::Tensor>& parameters) {
        const auto optimizer = std::make_shared<Optimizer>(parameters, options);
        return GoldenRun{
            [optimizer](GoldenProblem& problem) {
              problem.set_gradients();
              optimizer->step();
            },
            nullptr};
      },
      slack);
}

}  // namespace stepsize::test
