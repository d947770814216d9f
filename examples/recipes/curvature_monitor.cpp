// Watches the curvature of a run and changes nothing: the largest eigenvalue of
// the Hessian, and how far the rate is from the limit at which gradient descent
// with momentum turns unstable.
//
//     curvature_monitor [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 10000));
  constexpr int64_t kUpdates = 200;
  constexpr int64_t kBatch = 128;
  constexpr double kMomentum = 0.9;

  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 64),
      torch::nn::Tanh(),
      torch::nn::Linear(64, 10));
  torch::optim::SGD optimizer(
      model->parameters(), torch::optim::SGDOptions(0.02).momentum(kMomentum));

  // Of images that stay the same, so that what changes is the network.
  const auto watched =
      train.at(torch::arange(std::min<int64_t>(train.size(), 500)));
  const auto loss_of_watched = [&] {
    return torch::nn::functional::cross_entropy(
        model->forward(watched.pixels), watched.labels);
  };
  // Each measurement starts from the eigenvector of the one before. A budget in
  // place of every(25) would keep to a share of the time.
  stepsize::CurvatureMonitor monitor(
      optimizer.param_groups(),
      stepsize::CurvatureMonitorOptions()
          .every(25)
          .momentum(kMomentum)
          .trace_samples(10)
          .meter(stepsize::CurvatureMeterOptions().products(3)));

  std::printf("update  sharpness  rate x sharpness  limit  trace\n");
  for (int64_t step = 0; step < kUpdates; ++step) {
    const auto batch =
        train.at(torch::randint(train.size(), {kBatch}, torch::kInt64));
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        model->forward(batch.pixels), batch.labels)
        .backward();
    optimizer.step();
    const double lr = optimizer.param_groups()[0].options().get_lr();
    if (const auto* row = monitor.step(lr, loss_of_watched)) {
      std::printf(
          "%6d  %9.2f  %16.3f  %5.2f  %.0f +- %.0f\n",
          int(row->update),
          row->sharpness,
          *row->lr_sharpness,
          *row->limit,
          *row->trace,
          *row->trace_error);
    }
  }
  std::printf(
      "%s",
      stepsize::to_terminal(stepsize::curvature_plot(monitor.measurements()))
          .c_str());
  return 0;
}
