// A GAN on Fashion-MNIST, its discriminator at the generator's rate and at
// another one (two time scales, TTUR: Heusel et al. 2017, "GANs Trained by a
// Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"), with and
// without a penalty on its gradient at real images (R1: Mescheder, Geiger,
// Nowozin 2018, "Which Training Methods for GANs do actually Converge?"); and
// what the sharpness of its loss says.
//
// How far the images are from real ones is told by the Frechet distance, not of
// Inception's features but of a small classifier's, which is trained first.
//
//     gan [UPDATES [FOLDER FOR THE PICTURES]]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>

#include "../recipes/fashion_mnist.h"
#include "frechet.h"
#include "outcome.h"

namespace {

using applications::pixels_of;

constexpr int64_t kNoise = 32;
constexpr int64_t kBatch = 64;
constexpr int64_t kMeasured = 2000;

constexpr double kGeneratorRate = 2e-3;
constexpr double kPenalty = 1;

struct Result {
  std::vector<double> updates;
  std::vector<double> distances;
  // Of the discriminator, along the run.
  std::vector<double> measured;
  std::vector<double> sharpness;
  std::vector<double> products;  // the rate times what it meets
  double limit = 0;              // of those
};

Result run(
    double discriminator_rate,
    double penalty,
    const torch::Tensor& real,
    const std::function<double(const torch::Tensor&)>& distance,
    int64_t updates,
    uint64_t seed) {
  torch::manual_seed(seed);
  torch::nn::Sequential generator(
      torch::nn::Linear(kNoise, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 784),
      torch::nn::Sigmoid());
  const auto leaky = torch::nn::LeakyReLUOptions().negative_slope(0.2);
  torch::nn::Sequential discriminator(
      torch::nn::Linear(784, 128),
      torch::nn::LeakyReLU(leaky),
      torch::nn::Linear(128, 1));
  const auto betas = std::make_tuple(0.5, 0.999);
  torch::optim::Adam generator_optimizer(
      generator->parameters(),
      torch::optim::AdamOptions(kGeneratorRate).betas(betas));
  torch::optim::Adam discriminator_optimizer(
      discriminator->parameters(),
      torch::optim::AdamOptions(discriminator_rate).betas(betas));

  const auto discriminator_loss = [&](torch::Tensor images,
                                      const torch::Tensor& made) {
    if (penalty > 0) images = images.detach().requires_grad_(true);
    const auto of_real = discriminator->forward(images);
    const auto of_made = discriminator->forward(made.detach());
    auto loss =
        torch::softplus(-of_real).mean() + torch::softplus(of_made).mean();
    if (penalty > 0) {
      const auto gradient = torch::autograd::grad(
          {of_real.sum()},
          {images},
          /*grad_outputs=*/{},
          /*retain_graph=*/true,
          /*create_graph=*/true)[0];
      loss = loss + penalty / 2 * gradient.square().sum(1).mean();
    }
    return loss;
  };
  // What is measured stays the same: images, noise and all but the networks.
  const auto watched = real.slice(0, 0, 128);
  const auto watched_noise = torch::randn({128, kNoise});
  const auto measured_noise = torch::randn({kMeasured, kNoise});
  stepsize::CurvatureMonitor monitor(
      discriminator_optimizer,
      stepsize::CurvatureMonitorOptions()
          .every(updates / 20)
          .meter(stepsize::CurvatureMeterOptions().start_products(10).products(
              5)));

  Result result;
  for (int64_t update = 1; update <= updates; ++update) {
    const auto images = real.index_select(
        0, torch::randint(real.size(0), {kBatch}, torch::kInt64));
    const auto made = generator->forward(torch::randn({kBatch, kNoise}));
    discriminator_optimizer.zero_grad();
    discriminator_loss(images, made).backward();
    discriminator_optimizer.step();
    monitor.step(discriminator_rate, [&] {
      return discriminator_loss(watched, generator->forward(watched_noise));
    });
    generator_optimizer.zero_grad();
    torch::softplus(-discriminator->forward(made)).mean().backward();
    generator_optimizer.step();
    if (update % (updates / 10) == 0) {
      const torch::NoGradGuard no_grad;
      result.updates.push_back(double(update));
      result.distances.push_back(distance(generator->forward(measured_noise)));
    }
  }
  for (const auto& row : monitor.measurements()) {
    result.measured.push_back(double(row.update));
    result.sharpness.push_back(row.sharpness);
    result.products.push_back(*row.lr_sharpness);
    result.limit = *row.limit;
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t updates = recipes::argument(argc, argv, 1000, 50);
  const uint64_t seeds = updates < 500 ? 1 : 3;
  const auto train = recipes::fashion_mnist(true, 20000);
  const auto real = pixels_of(train);
  auto features = applications::train_features(train);
  const auto features_of = [&](const torch::Tensor& pixels) {
    return features->forward(pixels).to(torch::kDouble);
  };
  const auto of_test =
      features_of(pixels_of(recipes::fashion_mnist(false, 10000)));
  const auto distance = [&](const torch::Tensor& pixels) {
    return applications::frechet_distance(features_of(pixels), of_test);
  };
  std::printf(
      "Generator's rate %g, %d updates. Frechet distance from the test images\n"
      "(%d real ones: %.2f), and of the second half of the run the means of "
      "the\n"
      "discriminator's sharpness, and of its rate times what that rate meets,\n"
      "%d seeds:\n\n"
      "penalty  discriminator's  distance          sharpness   rate times  "
      "limit\n"
      "         rate                                           sharpness\n",
      kGeneratorRate,
      int(updates),
      int(kMeasured),
      distance(real.slice(0, 0, kMeasured)),
      int(seeds));
  stepsize::LinePlot distances("How far the images are from real ones");
  distances.x_label("update").y_label("Frechet distance").y_log();
  stepsize::LinePlot products("How near the discriminator is to its limit");
  products.x_label("update").y_label("rate times effective sharpness");
  products.y_range(0, 9);
  double limit = 0;
  std::vector<torch::Tensor> equal_rates;
  for (const double penalty : {0.0, kPenalty}) {
    for (const double times : {0.25, 1.0, 4.0}) {
      const double rate = times * kGeneratorRate;
      std::vector<Result> results;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        results.push_back(run(rate, penalty, real, distance, updates, seed));
      }
      // [seeds, points]
      const auto rows = [&](std::vector<double> Result::*curve) {
        std::vector<torch::Tensor> all;
        for (const auto& each : results) {
          all.push_back(torch::tensor(each.*curve, torch::kDouble));
        }
        return torch::stack(all);
      };
      const auto late = [&](std::vector<double> Result::*curve) {
        const auto all = rows(curve);
        return all.slice(1, all.size(1) / 2).mean().item<double>();
      };
      const auto mean_curve = [&](std::vector<double> Result::*curve) {
        const auto mean = rows(curve).mean(0);
        const auto* first = mean.data_ptr<double>();
        return std::vector<double>(first, first + mean.numel());
      };
      const auto ends = rows(&Result::distances).select(1, -1);
      if (times == 1) equal_rates.push_back(ends);
      std::printf(
          "%7g  %-15g  %6.2f +- %5.2f  %10.1f  %10.1f  %5.1f\n",
          penalty,
          rate,
          ends.mean().item<double>(),
          ends.std(/*unbiased=*/seeds > 1).item<double>(),
          late(&Result::sharpness),
          late(&Result::products),
          limit = results[0].limit);
      std::fflush(stdout);
      const std::string name = std::string(
                                   times < 1   ? "a quarter"
                                   : times > 1 ? "4 times"
                                               : "equal") +
                               (penalty > 0 ? ", penalty" : "");
      distances.line(name, results[0].updates, mean_curve(&Result::distances));
      products.line(name, results[0].measured, mean_curve(&Result::products));
    }
  }
  products.line("limit", {0, double(updates)}, {limit, limit});
  applications::write_picture(argc, argv, "gan", distances);
  applications::write_picture(argc, argv, "gan_sharpness", products);
  const bool better = (equal_rates[1] < equal_rates[0]).all().item<bool>();
  std::printf("\n");
  applications::say(
      "At equal rates the penalty brings the images nearer, with every seed",
      better);
  return better ? 0 : 1;
}
