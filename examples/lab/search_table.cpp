// How many trials a search for a rate takes, beside random search and a grid of
// 41 rates:
//
//     build/release/bin/search_table DIGITS [SEEDS] [TASK]...
//     build/release/bin/search_table DIGITS serve TASK SEED
//
// DIGITS is the file of the task `digits`. For the network and for a logistic
// regression on it, with SGD and momentum 0.9, a warm-up and a cosine over 50
// updates, it prints the medians over the seeds of the first trial whose loss,
// a mean of three runs, is within 1.1 of the lowest of the grid, and of what 15
// trials come to over it. The loss is that of every fifth digit, which is not
// trained on; of tasks whose name ends in "-train", that of those which are.
// The second form reads a rate a line and answers with its loss: for
// benchmarks/compare_lr_search.py, which asks other searches.
#include <c10/util/Exception.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/lr_search.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "lab.h"
#include "tasks.h"

namespace {

using namespace stepsize;  // NOLINT: a program of its own

constexpr double kLow = 1e-5;
constexpr double kHigh = 10;
constexpr int kGrid = 41;
constexpr int kTrials = 15;
constexpr int kMostTrials = 40;
constexpr int kMostRandom = 60;
constexpr int kRepeats = 3;
constexpr double kClose = 1.1;

lab::Task task_of(const std::string& name, const std::string& file) {
  lab::Task task = lab::make_task("digits", file);
  task.updates = 50;
  task.use_warmup_and_cosine();
  const bool is_logistic = name.rfind("logistic", 0) == 0;
  TORCH_CHECK(
      name == "mlp" || name == "mlp-train" || name == "logistic" ||
          name == "logistic-train",
      "TASK must be mlp, logistic, mlp-train or logistic-train, got ",
      name);
  if (name == "mlp" || name == "logistic") {
    const at::Tensor all = at::arange(task.data.labels.size(0));
    const at::Tensor kept = at::remainder(all, 5).eq(0).nonzero().squeeze(1);
    const at::Tensor rest = at::remainder(all, 5).ne(0).nonzero().squeeze(1);
    const lab::TaskData whole = task.data;
    task.data = {
        whole.inputs.index_select(0, rest),
        whole.labels.index_select(0, rest),
        whole.inputs.index_select(0, kept),
        whole.labels.index_select(0, kept)};
  }
  if (is_logistic) {
    task.make = []() -> lab::Network {
      torch::nn::Linear module(64, 10);
      return {module.ptr(), [module](const at::Tensor& x) mutable {
                return module->forward(x);
              }};
    };
  }
  return task;
}

// One of kRepeats runs.
double loss_of_run(
    const lab::Task& task, double lr, int64_t seed, int64_t repeat) {
  torch::manual_seed(kRepeats * seed + repeat);
  const lab::Network network = task.make();
  lab::Batches batches(task.data, task.batch);
  torch::optim::SGD sgd(
      network.module->parameters(), torch::optim::SGDOptions(lr).momentum(0.9));
  ScheduleLR scheduler(sgd, parse(task.schedule));
  for (int64_t update = 0; update < task.updates; ++update) {
    const auto [inputs, labels] = batches.next();
    lab::update(
        sgd, [&, x = inputs, y = labels] { return network.loss(x, y); });
    scheduler.step();
  }
  return lab::score(network, task.data).loss;
}

// Their mean: at the rates where training is on the verge of chaos one run may
// be lucky, and its loss is not what the rate comes to.
double loss_at(const lab::Task& task, double lr, int64_t seed) {
  double sum = 0;
  for (int64_t repeat = 0; repeat < kRepeats; ++repeat) {
    sum += loss_of_run(task, lr, seed, repeat);
  }
  return sum / kRepeats;
}

double log_rate(double share) { return kLow * std::pow(kHigh / kLow, share); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half]
                                : (values[half - 1] + values[half]) / 2;
}

// One search by a seed: the first trial that is close, infinity where none is,
// and the lowest loss of 15 over the grid's.
struct Found {
  double trials = INFINITY;
  double ratio = INFINITY;

  void see(int trial, double loss, double grid) {
    if (trial < kTrials && loss / grid < ratio) ratio = loss / grid;
    if (std::isinf(trials) && loss <= kClose * grid) trials = trial + 1;
  }
};

void print(const char* name, const std::vector<Found>& found) {
  std::vector<double> trials;
  std::vector<double> ratios;
  int close = 0;
  for (const Found& one : found) {
    trials.push_back(one.trials);
    ratios.push_back(one.ratio);
    close += one.ratio <= kClose ? 1 : 0;
  }
  std::printf(
      "  %-8s first within 1.1: median %4.1f, most %3.0f; after 15: median "
      "%.3f, worst %.3f, within 1.1 in %d of %zu\n",
      name,
      median(trials),
      *std::max_element(trials.begin(), trials.end()),
      median(ratios),
      *std::max_element(ratios.begin(), ratios.end()),
      close,
      found.size());
}

void compare(const std::string& name, const lab::Task& task, int64_t seeds) {
  std::vector<Found> ours;
  std::vector<Found> random;
  for (int64_t seed = 1; seed <= seeds; ++seed) {
    double grid = INFINITY;
    for (int i = 0; i < kGrid; ++i) {
      grid =
          std::min(grid, loss_at(task, log_rate(i / double{kGrid - 1}), seed));
    }
    Found found;
    lr_search(
        [&](Trial& trial) {
          return loss_of_run(task, trial.lr(), seed, trial.repeat());
        },
        LRSearchOptions(kLow, kHigh)
            .trials(kMostTrials)
            .seed(seed)
            .repeats(kRepeats)
            .progress([&](const SearchedTrial& trial) {
              found.see(static_cast<int>(trial.number), trial.loss, grid);
              return trial.number + 1 < kTrials || std::isinf(found.trials);
            }));
    ours.push_back(found);
    std::mt19937_64 generator(static_cast<std::uint64_t>(seed));
    found = {};
    for (int i = 0; i < kMostRandom; ++i) {
      const double share = static_cast<double>(generator()) * 0x1p-64;
      found.see(i, loss_at(task, log_rate(share), seed), grid);
      if (i + 1 >= kTrials && std::isfinite(found.trials)) break;
    }
    random.push_back(found);
  }
  std::printf("%s, %d seeds\n", name.c_str(), static_cast<int>(seeds));
  print("search", ours);
  print("random", random);
  std::fflush(stdout);
}

void serve(const lab::Task& task, int64_t seed) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const double loss = loss_at(task, std::strtod(line.c_str(), nullptr), seed);
    std::printf("%.17g\n", loss);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const bool serves = words.size() == 4 && words[1] == "serve";
  if (words.empty()) {
    std::fprintf(
        stderr,
        "usage: %s DIGITS [SEEDS [TASK]... | serve TASK SEED]\n",
        argv[0]);
    return 2;
  }
  try {
    at::set_num_threads(1);
    if (serves) {
      serve(task_of(words[2], words[0]), lab::count_of_seeds(words[3]));
      return 0;
    }
    const int64_t seeds = words.size() > 1 ? lab::count_of_seeds(words[1]) : 20;
    std::vector<std::string> tasks = {"mlp", "logistic"};
    if (words.size() > 2) tasks.assign(words.begin() + 2, words.end());
    for (const std::string& name : tasks) {
      compare(name, task_of(name, words[0]), seeds);
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
