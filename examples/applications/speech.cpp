// A time series: an LSTM foretells speech, sample by sample. Through a hundred
// steps of it the gradient explodes now and then (Pascanu, Mikolov and Bengio
// 2013, "On the difficulty of training recurrent neural networks"), and one
// such update can end a run. SGD without clipping and with it, at rising rates.
//
//     speech [UPDATES [FOLDER FOR THE PICTURE]]
//
// The series is what Debian's package alsa-utils says to test loudspeakers
// with: eight recordings, "front left" and so on, taken down to 8000 samples a
// second.
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "../recipes/argument.h"
#include "outcome.h"
#include "wave.h"

namespace {

using applications::read_wave;

struct NetImpl : torch::nn::Module {
  NetImpl() {
    register_module("lstm", lstm);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return head(std::get<0>(lstm(x)));
  }
  static constexpr int64_t kHidden = 32;
  torch::nn::LSTM lstm{torch::nn::LSTMOptions(1, kHidden)};
  torch::nn::Linear head{kHidden, 1};
};
TORCH_MODULE(Net);

constexpr int64_t kUnroll = 100;
constexpr int64_t kBatch = 16;

// [kUnroll + 1, count, 1]
torch::Tensor draw(const torch::Tensor& series, int64_t count) {
  const auto starts =
      torch::randint(series.size(0) - kUnroll, {1, count}, torch::kInt64);
  const auto places = torch::arange(kUnroll + 1).unsqueeze(1) + starts;
  return series.index_select(0, places.flatten()).view({kUnroll + 1, count, 1});
}

torch::Tensor loss_of(Net& model, const torch::Tensor& x) {
  return torch::mse_loss(model->forward(x.slice(0, 0, kUnroll)), x.slice(0, 1));
}

struct Run {
  std::vector<double> norms;  // of the gradient, by update, before clipping
  double largest = 0;         // of those that are finite
  double error = 0;           // of the test series
  double clipped = 0;         // share of the updates
};

Run train(
    const torch::Tensor& series,
    const torch::Tensor& test,
    double lr,
    double max_norm,
    int64_t updates,
    uint64_t seed) {
  torch::manual_seed(seed);
  Net model;
  // With a max_norm of infinity this is torch::optim::SGD; a gradient that is
  // not finite is left out and counted either way.
  stepsize::ClippedSGD optimizer(
      model->parameters(),
      stepsize::ClippedSGDOptions(lr).momentum(0.9).max_norm(max_norm));
  stepsize::ScheduleLR scheduler(
      optimizer, "constant for 50% > linear to 0", {0, double(updates)});
  Run run;
  for (int64_t i = 0; i < updates; ++i) {
    optimizer.zero_grad();
    loss_of(model, draw(series, kBatch)).backward();
    optimizer.step();
    scheduler.step();
    run.norms.push_back(optimizer.last_grad_norm());
    run.largest = std::max(run.largest, run.norms.back());
  }
  run.clipped = double(optimizer.clipped_steps()) / double(updates);
  torch::manual_seed(1000);  // each run is tested on the same parts
  const torch::NoGradGuard no_grad;
  run.error = loss_of(model, draw(test, 128)).item<double>();
  return run;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int64_t kUpdates = 120;
  constexpr double kMaxNorm = 0.1;
  const int64_t updates = recipes::argument(argc, argv, kUpdates, 20);
  const bool is_short = updates < kUpdates;
  const uint64_t seeds = is_short ? 1 : 3;
  auto series = torch::cat(
      {read_wave("Front_Left"),
       read_wave("Front_Right"),
       read_wave("Front_Center"),
       read_wave("Side_Left"),
       read_wave("Side_Right"),
       read_wave("Rear_Left")});
  auto test = torch::cat({read_wave("Rear_Right"), read_wave("Rear_Center")});
  const auto scale = series.std();
  series = series / scale;
  test = test / scale;
  std::printf(
      "%d samples to learn from, %d updates of %d x %d. The mean square error\n"
      "on speech that was not learned (mean and worst of %d seeds), the "
      "largest\n"
      "norm of a gradient, and the share of the updates that were clipped to\n"
      "%.1f. To say the last sample again has an error of %.3f.\n\n"
      "      without clipping            clipped\n"
      "rate   mean  worst    norm      mean  worst    norm  clipped\n",
      int(series.size(0)),
      int(updates),
      int(kBatch),
      int(kUnroll),
      int(seeds),
      kMaxNorm,
      torch::mse_loss(test.slice(0, 0, -1), test.slice(0, 1)).item<double>());

  stepsize::LinePlot plot("The norm of the gradient at a rate of 1");
  plot.x_label("update").y_label("norm, before clipping").y_log();
  const auto rates =
      is_short ? std::vector<double>{1} : std::vector<double>{0.3, 1, 3};
  bool explodes = true;
  bool saves = true;
  for (const double lr : rates) {
    std::printf("%.1f ", lr);
    std::array<double, 2> worst_of{};
    std::array<double, 2> largest_of{};
    for (const bool clips : {false, true}) {
      double mean = 0;
      double clipped = 0;
      for (uint64_t seed = 0; seed < seeds; ++seed) {
        const Run run =
            train(series, test, lr, clips ? kMaxNorm : INFINITY, updates, seed);
        mean += run.error / double(seeds);
        clipped += run.clipped / double(seeds);
        // One that is not finite is the worst, for good.
        worst_of[std::size_t(clips)] = std::max(
            worst_of[std::size_t(clips)],
            std::isfinite(run.error) ? run.error : INFINITY);
        largest_of[std::size_t(clips)] =
            std::max(largest_of[std::size_t(clips)], run.largest);
        if (lr == 1 && seed == 0) {
          std::vector<double> steps;
          for (int64_t i = 1; i <= updates; ++i) steps.push_back(double(i));
          plot.line(clips ? "clipped" : "not clipped", steps, run.norms);
        }
      }
      std::printf(
          "%s%6.3f %6.3f  %6.3g",
          clips ? "    " : "",
          mean,
          worst_of[std::size_t(clips)],
          largest_of[std::size_t(clips)]);
      if (clips) std::printf("  %6.0f%%\n", 100 * clipped);
      std::fflush(stdout);
    }
    if (lr == 1) {
      explodes = largest_of[0] > 10 * largest_of[1];
      saves = worst_of[1] < 0.5 && worst_of[1] < worst_of[0];
    }
  }
  applications::write_picture(argc, argv, "speech", plot);
  std::printf("\n");
  applications::say(
      "At a rate of 1 the gradient explodes, ten times over what it is in a "
      "run\n"
      "that is clipped",
      explodes);
  applications::say("Clipping saves that run", saves);
  return explodes && saves ? 0 : 1;
}
