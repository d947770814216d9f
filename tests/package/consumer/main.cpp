// Uses one thing of every room, so that every room must link.
#include <stepsize/stepsize.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

int main() {
  std::vector<torch::Tensor> parameters = {torch::zeros({2})};
  torch::optim::SGD optimizer(parameters, torch::optim::SGDOptions(0.5));

  // A ramp from 0 to 1 over four steps: after two of them half of the rate.
  stepsize::ScheduleLR scheduler(
      optimizer, stepsize::parse("linear 4 from 0 to 1"));
  for (int i = 0; i < 2; ++i) {
    optimizer.step();
    scheduler.step();
  }
  const double rate = scheduler.get_last_lr().at(0);
  if (std::abs(rate - 0.25) > 1e-12) {
    std::printf("the rate is %g, expected 0.25\n", rate);
    return 1;
  }

  const std::string svg = stepsize::to_svg(
      stepsize::LinePlot("rate").line("rate", {0.0, 1.0}, {0.0, rate}));
  if (svg.find("<svg") == std::string::npos) {
    std::printf("this is no SVG: %s\n", svg.c_str());
    return 1;
  }
  std::printf("stepsize works in this project\n");
  return 0;
}
