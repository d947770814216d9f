// All eigenvalues of a trained network's Hessian, twice: by stochastic Lanczos
// quadrature, which only needs products, and from the dense matrix, which a
// network this small allows.
//
//   hessian_spectrum [OUT_DIR]
//
// A 64-8-10 tanh network (610 parameters), trained on 500 images of
// Fashion-MNIST in 8 x 8 pixels. Most eigenvalues are next to zero, and a few
// stand out (Sagun et al. 2016, arXiv:1611.07476).

#include <ATen/CPUGeneratorImpl.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/spectral_density.h>
#include <stepsize/report/line_plot.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "images.h"
#include "lab.h"

namespace {

// The matrix itself, one product a column.
torch::Tensor dense(const stepsize::HessianOperator& hessian) {
  const auto identity = torch::eye(hessian.dimension(), torch::kDouble);
  std::vector<int64_t> sizes;
  for (const auto& part : hessian.like()) sizes.push_back(part.numel());
  std::vector<torch::Tensor> columns;
  for (const auto& row : identity.unbind()) {
    auto unit = row.split_with_sizes(sizes);
    for (std::size_t i = 0; i < unit.size(); ++i) {
      unit[i] = unit[i].view(hessian.like()[i].sizes());
    }
    std::vector<torch::Tensor> column;
    for (const auto& part : hessian.apply(unit)) {
      column.push_back(part.flatten());
    }
    columns.push_back(torch::cat(column));
  }
  return torch::stack(columns);
}

double gauss(double distance, double sigma) {
  constexpr double kRootOfTwoPi = 2.5066282746310002;
  const double z = distance / sigma;
  return std::exp(-z * z / 2) / (sigma * kRootOfTwoPi);
}

// The density that the exact eigenvalues have, smeared by the same Gaussian.
std::vector<double> smeared(
    const std::vector<double>& eigenvalues,
    const std::vector<double>& grid,
    double sigma) {
  std::vector<double> density;
  for (const double point : grid) {
    double sum = 0;
    for (const double value : eigenvalues) sum += gauss(point - value, sigma);
    density.push_back(sum / static_cast<double>(eigenvalues.size()));
  }
  return density;
}

// Half the area between two densities: the share of eigenvalues that stand in
// another place.
double misplaced(
    const std::vector<double>& grid,
    const std::vector<double>& left,
    const std::vector<double>& right) {
  double sum = 0;
  for (std::size_t i = 1; i < grid.size(); ++i) {
    sum += std::abs(left[i] - right[i]) * (grid[i] - grid[i - 1]);
  }
  return sum / 2;
}

void experiment(stepsize::lab::Lab& lab) {
  const auto images = stepsize::lab::small_images(500);
  torch::manual_seed(0);
  using torch::nn::Linear, torch::nn::Tanh;
  torch::nn::Sequential net(Linear(64, 8), Tanh(), Linear(8, 10));
  net->to(torch::kDouble);
  const auto classes = images.labels.argmax(1);
  const auto loss = [&] {
    return torch::cross_entropy_loss(net->forward(images.pixels), classes);
  };
  torch::optim::SGD sgd(net->parameters(), 0.5);
  for (int update = 0; update < 500; ++update) {
    stepsize::lab::update(sgd, loss);
  }

  const auto hessian = stepsize::hessian_operator(loss, net->parameters());
  const auto matrix = dense(hessian);
  const auto values =
      std::get<0>(torch::linalg_eigh((matrix + matrix.t()) / 2));
  const std::vector<double> eigenvalues(
      values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
  const auto options = stepsize::SpectralDensityOptions().generator(
      at::detail::createCPUGenerator(1));
  const auto density = stepsize::spectral_density(hessian, options);
  const auto exact = smeared(eigenvalues, density.grid, density.sigma);

  const double largest = eigenvalues.back();
  const auto [low, high] =
      std::minmax_element(density.nodes.begin(), density.nodes.end());
  lab.expect_near("largest eigenvalue", largest, *high, 1e-6 * largest);
  lab.note(
      "eigenvalues above a tenth of that",
      values.gt(largest / 10).sum().item<double>());
  lab.expect_near(
      "smallest eigenvalue", eigenvalues.front(), *low, 1e-6 * largest);
  // v'Av of a random unit vector v has this variance over the sphere; four
  // standard errors are allowed.
  const double mean = values.mean().item<double>();
  const double variance = 2 * values.var(/*unbiased=*/false).item<double>() /
                          static_cast<double>(eigenvalues.size() + 2);
  const auto samples = static_cast<double>(options.samples());
  lab.expect_near(
      "mean eigenvalue",
      mean,
      density.moment(1),
      4 * std::sqrt(variance / samples));
  lab.expect_near(
      "share of eigenvalues out of place",
      0,
      misplaced(density.grid, density.density, exact),
      0.05);

  // One eigenvalue alone makes a peak of this height.
  const double height =
      gauss(0, density.sigma) / static_cast<double>(eigenvalues.size());
  stepsize::LinePlot plot("Eigenvalues of a small network's Hessian");
  plot.x_label("eigenvalue").y_label("density");
  plot.y_log().y_range(1e-2 * height, 1e3 * height);
  plot.points(
      "dense eigenvalues",
      eigenvalues,
      std::vector<double>(eigenvalues.size(), 0.02 * height));
  plot.line("dense, smeared", density.grid, exact);
  plot.line("spectral_density", density.grid, density.density);
  lab.draw("hessian_spectrum", plot);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The spectrum of a Hessian, two ways", experiment);
}
