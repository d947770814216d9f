// Gradient descent on a network sharpens its loss until the largest curvature
// lambda stands at 2 / lr, where a quadratic would begin to diverge; there it
// stays, and the loss goes on falling, by fits and starts (Cohen et al. 2021,
// "Gradient descent on neural networks typically occurs at the edge of
// stability", arXiv:2103.00065).
//
//   edge_of_stability [OUT_DIR]
//
// A 64-32-32-10 tanh network, the mean square error, the whole batch: 200
// images of Fashion-MNIST in 8 x 8 pixels, standardized.

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/report/line_plot.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "images.h"
#include "lab.h"

namespace {

constexpr int kUpdates = 4000;
constexpr int kTail = 1000;
constexpr int kInterval = 25;

struct Run {
  std::vector<double> updates;  // at which the two below were measured
  std::vector<double> sharpness;
  std::vector<double> losses;
};

Run train(double rate, const stepsize::lab::Images& images) {
  using torch::nn::Linear, torch::nn::Tanh;
  torch::manual_seed(0);
  torch::nn::Sequential net(
      Linear(64, 32), Tanh(), Linear(32, 32), Tanh(), Linear(32, 10));
  net->to(torch::kDouble);
  const auto loss = [&] {
    return torch::mse_loss(net->forward(images.pixels), images.labels);
  };
  torch::optim::SGD sgd(net->parameters(), rate);

  Run run;
  stepsize::LanczosOptions options;
  for (int update = 0; update <= kUpdates; ++update) {
    if (update % kInterval == 0) {
      const auto top = stepsize::lanczos(
          stepsize::hessian_operator(loss, net->parameters()), options);
      // The eigenvector turns slowly: the old one is a good start.
      options.initial(top.vectors.at(0));
      run.updates.push_back(update);
      run.sharpness.push_back(top.values[0]);
      run.losses.push_back(loss().item<double>());
    }
    stepsize::lab::update(sgd, loss);
  }
  return run;
}

void experiment(stepsize::lab::Lab& lab) {
  const auto images = stepsize::lab::small_images(200);
  stepsize::LinePlot sharpness("Sharpness rises to 2 / lr and stays");
  sharpness.x_label("update").y_label("largest curvature").y_range(0, 6);
  stepsize::LinePlot losses("Meanwhile the loss falls");
  losses.x_label("update").y_label("loss").y_log();

  for (const char* digits : {"0.4", "0.8"}) {
    const double rate = std::stod(digits);
    const std::string name = std::string("lr ") + digits;
    const Run run = train(rate, images);
    const auto tail = run.sharpness.end() - kTail / kInterval;
    const double mean =
        std::accumulate(tail, run.sharpness.end(), 0.0) * kInterval / kTail;
    const auto edge = std::find_if(
        run.sharpness.begin(), run.sharpness.end(), [&](double lambda) {
          return rate * lambda >= 2;
        });
    const auto reached = edge - run.sharpness.begin();
    lab.note(name + ": lr lambda at the start", rate * run.sharpness[0]);
    lab.expect_between(
        name + ": lr lambda, mean of last 1000", 1.95, 2.1, rate * mean);
    // Before the updates that the mean is taken over: it stays there.
    lab.expect_between(
        name + ": first past 2 at update",
        1,
        kUpdates - kTail,
        static_cast<double>(reached * kInterval));
    lab.expect_between(
        name + ": loss, end over there",
        0,
        0.8,
        edge == run.sharpness.end()
            ? NAN
            : run.losses.back() /
                  run.losses[static_cast<std::size_t>(reached)]);
    sharpness.line(name, run.updates, run.sharpness);
    sharpness.line(
        std::string("2 / ") + digits,
        {0, 1.0 * kUpdates},
        {2 / rate, 2 / rate});
    losses.line(name, run.updates, run.losses);
  }
  lab.draw("edge_of_stability", sharpness);
  lab.draw("edge_of_stability_loss", losses);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(argc, argv, "The edge of stability", experiment);
}
