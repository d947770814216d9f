// What training comes to where a policy says the rate, beside a grid of 13
// rates for SGD with momentum, in the same number of updates:
//
//     build/release/bin/policy_table mlp|cnn|resnet20|lstm [DATA] [SEEDS]
//     build/release/bin/policy_table digits DATA [SEEDS]
//
// mlp and cnn train on Fashion-MNIST, resnet20 on CIFAR-10 (DATA: its folder),
// lstm says the next character of a text (DATA: the file). One line a way to a
// rate: the mean over seeds of the loss on data that is not trained on, and of
// the share that is right; the highest training loss over the first one; and
// evaluations beyond one gradient an update.
//
// digits (DATA: the handwritten digits as text, 64 pixels of 0 to 16 and a
// class a line, separated by commas) counts the runs that are lost at batches
// of 16 to 1797, with EdgePolicy, without a warm-up or a cosine.
//
// The rate goes up in the first tenth of a run and down a cosine, as in the
// trainer; a policy's rate is what that multiplies.
#include <c10/util/Exception.h>
#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tasks.h"
#include "ways.h"

namespace {

using namespace stepsize;  // NOLINT: a program of its own

constexpr double kMomentum = 0.9;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename Policy, typename Options>
lab::Way by(const Options& options) {
  return lab::by_policy(std::make_shared<Policy>(options), kMomentum);
}

double show(
    const lab::Task& task,
    const std::string& name,
    const lab::Way& way,
    int seeds) {
  lab::Run mean{};
  for (int seed = 1; seed <= seeds; ++seed) {
    const lab::Run run = lab::train(task, way, seed);
    mean.score.loss += run.score.loss / seeds;
    mean.score.right += run.score.right / seeds;
    mean.highest = std::max(mean.highest, run.highest);
    mean.cost = run.cost;
  }
  std::printf(
      "%-24s %8.4f %7.2f%% %9.2f  %s\n",
      name.c_str(),
      mean.score.loss,
      100 * mean.score.right,
      mean.highest,
      mean.cost.c_str());
  std::fflush(stdout);
  return mean.score.loss;
}

// A run is lost whose last loss is not below the first, or that was three times
// above it.
void count_lost_runs(const std::string& file, int seeds) {
  lab::Task task = lab::make_task("digits", file);
  task.schedule = "constant";
  for (const double momentum : {0.0, 0.9}) {
    for (const double safety : {0.5, 0.9, 1.0}) {
      const EdgePolicyOptions options = EdgePolicyOptions().safety(safety);
      int lost = 0;
      int runs = 0;
      double worst = 0;
      for (const int64_t batch : {16, 32, 64, 128, 512, 1797}) {
        task.batch = batch;
        for (int seed = 1; seed <= seeds; ++seed, ++runs) {
          const lab::Run run = lab::train(
              task,
              lab::by_policy(std::make_shared<EdgePolicy>(options), momentum),
              seed);
          // A guess is ln 10.
          if (run.highest > 3 || !(run.score.loss < std::log(10.0))) ++lost;
          worst = std::max(worst, run.score.loss);
        }
      }
      std::printf(
          "momentum %g, safety %g: %d of %d lost, largest loss at the end "
          "%.3g\n",
          momentum,
          safety,
          lost,
          runs,
          worst);
      std::fflush(stdout);
    }
  }
}

void show_table(const std::string& name, const std::string& data, int seeds) {
  const lab::Task task = lab::make_task(name, data);
  std::printf(
      "%s, batch %lld, %lld updates, momentum %g\n\n",
      name.c_str(),
      static_cast<long long>(task.batch),
      static_cast<long long>(task.updates),
      kMomentum);
  std::printf(
      "%-24s %8s %8s %9s  %s\n", "", "loss", "right", "highest", "besides");
  double best = kInfinity;
  // Plain SGD wants large rates of an LSTM.
  const double lowest = name == "lstm" ? -2 : -3;
  for (int i = 0; i < 13; ++i) {
    const double rate = std::pow(10, lowest + 0.25 * i);
    char label[32];
    std::snprintf(label, sizeof label, "SGD %.2g", rate);
    best = std::min(
        best, show(task, label, lab::constant(rate, kMomentum), seeds));
  }
  const EdgePolicyOptions bold = EdgePolicyOptions().safety(2);
  const std::vector<std::pair<std::string, lab::Way>> ways = {
      {"edge", by<EdgePolicy>(EdgePolicyOptions())},
      {"edge s=2", by<EdgePolicy>(bold)},
      {"edge s=2, net",
       lab::netted(std::make_shared<EdgePolicy>(bold), kMomentum)},
      {"edge s=0.5", by<EdgePolicy>(EdgePolicyOptions().safety(0.5))},
      {"averaged vector",
       by<AveragedVectorPolicy>(AveragedVectorPolicyOptions())},
      {"secant", by<SecantPolicy>(SecantPolicyOptions())},
      {"polyak", by<PolyakPolicy>(PolyakPolicyOptions())},
      {"polyak c=0.5", by<PolyakPolicy>(PolyakPolicyOptions().divisor(0.5))},
      {"sharpness", lab::power_method(0.5, kMomentum)},
      {"sharpness s=0.9", lab::power_method(0.9, kMomentum)},
      {"rollback from 1", lab::rollback(1, kMomentum)},
  };
  for (const auto& [label, way] : ways) {
    const double loss = show(task, label, way, seeds);
    std::printf("%26s%.2f times the best of the grid\n", "", loss / best);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(
        stderr,
        "usage: %s mlp|cnn|resnet20|lstm|digits [DATA] [SEEDS]\n",
        argv[0]);
    return 2;
  }
  try {
    const std::string name = argv[1];
    const std::string data = argc > 2 ? argv[2] : "";
    const int seeds = argc > 3 ? lab::count_of_seeds(argv[3]) : 3;
    if (name == "digits") {
      count_lost_runs(data, seeds);
    } else {
      show_table(name, data, seeds);
    }
    return 0;
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
