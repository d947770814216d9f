#include "csrc/tune/gaussian_process.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/optim/lbfgs.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <tuple>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr double kLog2Pi = 1.8378770664093453;

at::Tensor inverse_lengths(const KernelNumbers& numbers) {
  return at::tensor(numbers.lengths, at::kDouble).reciprocal();
}

// (x_j - x'_j)^2 / l_j^2, [n, m, d].
at::Tensor scaled_squares(
    const at::Tensor& a, const at::Tensor& b, const KernelNumbers& numbers) {
  const at::Tensor scale = inverse_lengths(numbers);
  return ((a * scale).unsqueeze(1) - (b * scale).unsqueeze(0)).square();
}

// Of sqrt(5) r.
at::Tensor matern(const at::Tensor& t, double variance) {
  return variance * (1 + t + t.square() / 3) * (-t).exp();
}

at::Tensor distance(const at::Tensor& squares) {
  return (5 * squares.sum(-1)).sqrt();
}

// The lower factor; undefined where the matrix is not positive definite even
// with some millionths more on its diagonal.
at::Tensor lower_factor(const at::Tensor& matrix) {
  const double scale = matrix.diagonal().mean().item<double>();
  for (double jitter = 0; jitter <= 1e-4;
       jitter = std::max(10 * jitter, 1e-12)) {
    at::Tensor tried = matrix.clone();
    tried.diagonal().add_(jitter * scale);
    const auto [factor, info] = at::linalg_cholesky_ex(tried);
    if (info.item<int64_t>() == 0 && at::isfinite(factor).all().item<bool>()) {
      return factor;
    }
  }
  return {};
}

at::Tensor solved(const at::Tensor& factor, const at::Tensor& vector) {
  return at::cholesky_solve(vector.unsqueeze(1), factor).squeeze(1);
}

double likelihood_of(
    const at::Tensor& factor,
    const at::Tensor& targets,
    const at::Tensor& weights) {
  const double fit = targets.dot(weights).item<double>();
  const double volume = factor.diagonal().log().sum().item<double>();
  return -0.5 * fit - volume -
         0.5 * kLog2Pi * static_cast<double>(targets.size(0));
}

// A normal prior of a logarithm.
struct LogPrior {
  double mean;
  double deviation;

  double density(double value) const {
    const double z = (value - mean) / deviation;
    return -0.5 * z * z;
  }
  double slope(double value) const {
    return -(value - mean) / (deviation * deviation);
  }
};

std::vector<LogPrior> priors(std::size_t dimensions) {
  std::vector<LogPrior> all = {{0, 1}, {std::log(1e-3), 1.5}};
  const double length = 0.3 * std::sqrt(static_cast<double>(dimensions));
  all.resize(2 + dimensions, LogPrior{std::log(length), 0.8});
  return all;
}

KernelNumbers numbers_of(const std::vector<double>& logs) {
  KernelNumbers numbers;
  numbers.signal_variance = std::exp(logs[0]);
  numbers.noise_variance = std::exp(logs[1]);
  for (std::size_t j = 2; j < logs.size(); ++j) {
    numbers.lengths.push_back(std::exp(logs[j]));
  }
  return numbers;
}

std::vector<double> doubles_of(const at::Tensor& tensor) {
  const at::Tensor values = tensor.contiguous();
  const auto* first = values.data_ptr<double>();
  return {first, first + values.numel()};
}

}  // namespace

Likelihood marginal_likelihood(
    const at::Tensor& points,
    const at::Tensor& targets,
    const at::Tensor& variances,
    const KernelNumbers& numbers) {
  const c10::AutoGradMode no_grad(false);
  const std::size_t count = 2 + numbers.lengths.size();
  const at::Tensor squares = scaled_squares(points, points, numbers);
  const at::Tensor t = distance(squares);
  const at::Tensor kernel = matern(t, numbers.signal_variance);
  at::Tensor covariance = kernel.clone();
  covariance.diagonal().add_(variances + numbers.noise_variance);
  const at::Tensor factor = lower_factor(covariance);
  if (!factor.defined()) {
    return {
        -std::numeric_limits<double>::infinity(),
        std::vector<double>(count, 0.0)};
  }
  const at::Tensor weights = solved(factor, targets);
  // The slope by the covariance (equation 5.9).
  const at::Tensor by_covariance =
      (at::outer(weights, weights) - at::cholesky_inverse(factor)) / 2;
  Likelihood result;
  result.value = likelihood_of(factor, targets, weights);
  result.gradient = {
      (by_covariance * kernel).sum().item<double>(),
      by_covariance.diagonal().sum().item<double>() * numbers.noise_variance};
  // d k / d ln l_j, by the chain rule without a division by r.
  const at::Tensor by_length = by_covariance * (5.0 / 3) *
                               numbers.signal_variance * (1 + t) * (-t).exp();
  const auto lengths = doubles_of(
      (by_length.unsqueeze(-1) * squares).sum(at::IntArrayRef{0, 1}));
  result.gradient.insert(result.gradient.end(), lengths.begin(), lengths.end());
  return result;
}

GaussianProcess::GaussianProcess(
    at::Tensor points, const at::Tensor& targets, const at::Tensor& variances)
    : points_(std::move(points)) {
  const c10::AutoGradMode no_grad(false);
  scale(targets, variances);
  choose_numbers();
  solve();
}

GaussianProcess::GaussianProcess(
    at::Tensor points,
    const at::Tensor& targets,
    const at::Tensor& variances,
    const KernelNumbers& numbers)
    : points_(std::move(points)), numbers_(numbers) {
  const c10::AutoGradMode no_grad(false);
  scale(targets, variances);
  solve();
}

void GaussianProcess::scale(
    const at::Tensor& targets, const at::Tensor& variances) {
  TORCH_INTERNAL_ASSERT(
      points_.dim() == 2 && points_.size(0) >= 1 &&
      targets.numel() == points_.size(0) &&
      variances.numel() == points_.size(0));
  centre_ = targets.mean().item<double>();
  const double spread =
      (targets - centre_).square().mean().sqrt().item<double>();
  // Targets that are all the same have none.
  deviation_ = spread > 0 && std::isfinite(spread) ? spread : 1;
  targets_ = (targets - centre_) / deviation_;
  variances_ = variances / (deviation_ * deviation_);
}

void GaussianProcess::choose_numbers() {
  const auto dimensions = static_cast<std::size_t>(points_.size(1));
  const std::vector<LogPrior> prior = priors(dimensions);
  const auto count = static_cast<int64_t>(prior.size());
  const auto density = [&](const std::vector<double>& logs) {
    Likelihood found =
        marginal_likelihood(points_, targets_, variances_, numbers_of(logs));
    for (std::size_t i = 0; i < prior.size(); ++i) {
      found.value += prior[i].density(logs[i]);
      found.gradient[i] += prior[i].slope(logs[i]);
    }
    return found;
  };
  double best = -std::numeric_limits<double>::infinity();
  // The density may have several peaks: wiggles, and a smooth curve with noise.
  constexpr std::array<double, 3> kLengths = {0.15, 0.4, 1.2};
  constexpr std::array<double, 3> kNoises = {1e-4, 1e-3, 1e-1};
  for (std::size_t start = 0; start < kLengths.size(); ++start) {
    std::vector<double> first(prior.size(), std::log(kLengths[start]));
    first[0] = 0;
    first[1] = std::log(kNoises[start]);
    at::Tensor logs = at::tensor(first, at::kDouble).requires_grad_(true);
    torch::optim::LBFGS search(
        {logs},
        torch::optim::LBFGSOptions(1)
            .max_iter(40)
            .tolerance_grad(1e-5)
            .tolerance_change(1e-9)
            .line_search_fn("strong_wolfe"));
    const auto closure = [&] {
      const c10::AutoGradMode quiet(false);
      // Far from the priors the matrix overflows, and nothing is there.
      const std::vector<double> at = doubles_of(logs.detach().clamp(-20, 20));
      const Likelihood found = density(at);
      const bool is_finite = std::isfinite(found.value);
      if (is_finite && found.value > best) {
        best = found.value;
        numbers_ = numbers_of(at);
      }
      logs.mutable_grad() =
          at::tensor(found.gradient, at::kDouble).view({count}).neg();
      constexpr double kNowhere = 1e10;
      return at::scalar_tensor(
          is_finite ? -found.value : kNowhere, at::kDouble);
    };
    search.step(closure);
  }
  if (numbers_.lengths.empty()) {  // no density was finite
    std::vector<double> logs;
    for (const LogPrior& one : prior) logs.push_back(one.mean);
    numbers_ = numbers_of(logs);
  }
}

void GaussianProcess::solve() {
  at::Tensor covariance = matern(
      distance(scaled_squares(points_, points_, numbers_)),
      numbers_.signal_variance);
  covariance.diagonal().add_(variances_ + numbers_.noise_variance);
  factor_ = lower_factor(covariance);
  TORCH_CHECK(
      factor_.defined(),
      "GaussianProcess: the covariance must be positive definite");
  weights_ = solved(factor_, targets_);
  log_likelihood_ = likelihood_of(factor_, targets_, weights_);
}

GaussianProcess::Posterior GaussianProcess::at(const at::Tensor& points) const {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor across = matern(
      distance(scaled_squares(points, points_, numbers_)),
      numbers_.signal_variance);
  const at::Tensor mean = across.matmul(weights_);
  const at::Tensor half = at::linalg_solve_triangular(
      factor_,
      across.t(),
      /*upper=*/false,
      /*left=*/true,
      /*unitriangular=*/false);
  const at::Tensor variance =
      (numbers_.signal_variance - half.square().sum(0)).clamp_min(0);
  return {mean * deviation_ + centre_, variance * (deviation_ * deviation_)};
}

}  // namespace stepsize::detail
