// How far the safe rate of the power method, 2 s (1 - m) / lambda, is from the
// rate that trains best, and which part of it each cause has:
//
//     build/release/bin/safe_limit mlp|cnn|resnet20|lstm|digits
//         [OUT_DIR] [SEEDS] [DATA]
//
// For each batch size and momentum it looks for the best of a grid of rates, in
// as many updates, and takes the run of PowerMethodSGD apart, a tenth, a half
// and nine tenths through:
//
//     best / safe = 1/s                       the share that is kept for safety
//                 * 1/(1 - m)                 the factor for momentum
//                 * limit / rate              growth of 1% an update, and cap
//                 * kept / batch              memory of the sharpest point
//                 * batch / full              a batch overrates the curvature
//                 * full / full at the best   its path is a sharper one
//                 * best * full at the best / 2
//
// kept is the sharpness that its tracker goes by, batch the geometric mean over
// four batches of the largest |eigenvalue| of one, full that of the mean loss
// over them. Losses are means over the seeds, sharpnesses of the first. Writes
// safe_limit_NETWORK.csv and pictures.
#include <ATen/CPUGeneratorImpl.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/report/csv_writer.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tasks.h"
#include "ways.h"

namespace {

using namespace stepsize;  // NOLINT: a program of its own

constexpr double kSafety = 0.5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::array<double, 3> kPhases = {0.1, 0.5, 0.9};

struct Sharpness {
  double batch;
  double full;
};

// Of LibTorch's generator, put back at the end: a run that is looked at goes
// the way of one that is not.
class RandomNumbers {
 public:
  RandomNumbers() : state_(generator().get_state()) {}
  ~RandomNumbers() { generator().set_state(state_); }
  RandomNumbers(const RandomNumbers&) = delete;
  RandomNumbers& operator=(const RandomNumbers&) = delete;

 private:
  static at::Generator generator() {
    return at::detail::getDefaultCPUGenerator();
  }
  at::Tensor state_;
};

// At the network as it is; batches of the same size as those that it trains on.
Sharpness sharpness(const lab::Network& network, const lab::Task& task) {
  const RandomNumbers put_back;
  constexpr int kBatches = 4;
  lab::Batches batches(task.data, task.batch);
  const auto parameters = network.module->parameters();
  const auto options = HessianOptions()
                           .buffers(network.module->buffers())
                           .method(HessianMethod::kFiniteDifference);
  const auto iterations = PowerIterationOptions().max_iterations(15);
  double logs = 0;
  std::vector<WeightedOperator> parts;
  for (int i = 0; i < kBatches; ++i) {
    const auto [inputs, labels] = batches.next();
    const LinearOperator part = hessian_operator(
        [network, inputs = inputs, labels = labels] {
          return network.loss(inputs, labels);
        },
        parameters,
        options);
    logs += std::log(power_iteration(part, iterations).magnitude);
    parts.push_back({part, 1.0});
  }
  return {
      std::exp(logs / kBatches),
      power_iteration(mean_operator(parts), iterations).magnitude};
}

struct Phase {
  double rate = 0;
  double kept = 0;
  Sharpness here{};
};

// What an optimizer was at, at each phase; its rate over the schedule's factor.
std::vector<Phase> phases_of(const lab::Task& task, const lab::Way& way) {
  std::vector<Phase> found;
  lab::train(
      task,
      way,
      1,
      [&](int64_t update,
          const lab::Network& network,
          const lab::Made& made,
          const at::Tensor&,
          const at::Tensor&) {
        if (found.size() == kPhases.size()) return;
        const auto at = static_cast<int64_t>(
            kPhases[found.size()] * static_cast<double>(task.updates));
        if (update < at) return;
        Phase phase;
        const auto* const power =
            dynamic_cast<const PowerMethodSGD*>(made.optimizer.get());
        const double factor =
            made.optimizer->param_groups()[0].options().get_lr();
        phase.rate = power != nullptr ? made.rate() / factor : 0;
        phase.kept = power != nullptr ? power->sharpness() : 0;
        phase.here = sharpness(network, task);
        found.push_back(phase);
      });
  return found;
}

double loss_of(const lab::Task& task, const lab::Way& way, int seeds) {
  double loss = 0;
  for (int seed = 1; seed <= seeds; ++seed) {
    loss += lab::train(task, way, seed).score.loss / seeds;
  }
  return loss;
}

// The rates and limits along a run, for the picture.
struct Trace {
  std::vector<double> update, rate, batch, full;
};

Trace trace_of(
    const lab::Task& task, const lab::Way& way, bool measure = false) {
  Trace trace;
  const int64_t every = std::max<int64_t>(task.updates / 12, 1);
  lab::train(
      task,
      way,
      1,
      [&](int64_t update,
          const lab::Network& network,
          const lab::Made& made,
          const at::Tensor&,
          const at::Tensor&) {
        if (update % every != 0) return;
        trace.update.push_back(static_cast<double>(update));
        trace.rate.push_back(made.rate());
        if (!measure) return;
        const Sharpness found = sharpness(network, task);
        trace.batch.push_back(2 / found.batch);
        trace.full.push_back(2 / found.full);
      });
  return trace;
}

struct Best {
  double rate = 0;
  double loss = kInfinity;
};

// From 10 on downwards in steps of 10^(1/4), until the loss has been above the
// least one three times.
Best best_rate(const lab::Task& task, double momentum, int seeds) {
  Best best;
  int worse = 0;
  for (int i = 0; i < 21 && worse < 3; ++i) {
    const double rate = std::pow(10, 1 - 0.25 * i);
    const double loss = loss_of(task, lab::constant(rate, momentum), seeds);
    std::printf("    SGD %-8.3g loss %.4f\n", rate, loss);
    std::fflush(stdout);
    if (loss < best.loss) {
      best = {rate, loss};
      worse = 0;
    } else if (best.loss < kInfinity && loss > best.loss) {
      ++worse;
    }
  }
  return best;
}

const std::vector<std::string> kParts = {
    "safety", "momentum", "growth", "memory", "batch", "path", "beyond"};

std::vector<double> parts_of(
    const Phase& safe, const Phase& at_best, double best, double momentum) {
  const double limit = 2 * kSafety * (1 - momentum) / safe.kept;
  return {
      1 / kSafety,
      1 / (1 - momentum),
      limit / safe.rate,
      safe.kept / safe.here.batch,
      safe.here.batch / safe.here.full,
      safe.here.full / at_best.here.full,
      best * at_best.here.full / 2};
}

std::string number(double value, const char* format) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

void measure(
    const std::string& name,
    const std::string& data,
    const std::string& folder,
    int seeds) {
  std::filesystem::create_directories(folder);
  const auto path = [&](const std::string& rest) {
    return (std::filesystem::path(folder) / ("safe_limit_" + name + rest))
        .string();
  };
  lab::Task task = lab::make_task(name, data);
  const bool small = name == "mlp" || name == "digits";
  if (name == "digits") task.updates = 300;
  task.use_warmup_and_cosine();
  const std::vector<int64_t> sizes = small ? std::vector<int64_t>{16, 128, 1024}
                                     : name == "cnn"
                                         ? std::vector<int64_t>{32, 128}
                                         : std::vector<int64_t>{task.batch};
  std::vector<std::string> head = {
      "batch_size",
      "m",
      "phase",
      "best_rate",
      "best_loss",
      "safe_rate",
      "safe_loss",
      "edge_loss"};
  for (const std::string& part : kParts) head.push_back("part_" + part);
  CsvWriter csv(path(".csv"), head);

  LinePlot parts("From the safe rate to the best, " + name);
  parts.x_label("parts, each times what stands before it");
  parts.y_label("rate").y_log();
  parts.mark(0, "safe");
  for (std::size_t i = 0; i < kParts.size(); ++i) {
    parts.mark(static_cast<double>(i + 1), kParts[i]);
  }
  for (const double momentum : {0.0, 0.9}) {
    if (momentum == 0 && !small) continue;
    for (const int64_t size : sizes) {
      task.batch = size;
      std::printf(
          "%s, batch %lld, momentum %g, %lld updates\n",
          name.c_str(),
          static_cast<long long>(size),
          momentum,
          static_cast<long long>(task.updates));
      const Best best = best_rate(task, momentum, seeds);
      const auto careful = lab::power_method(kSafety, momentum);
      const auto safe = phases_of(task, careful);
      const auto at_best = phases_of(task, lab::constant(best.rate, momentum));
      const double safe_loss = loss_of(task, careful, seeds);
      const double edge_loss = loss_of(
          task,
          lab::by_policy(std::make_shared<EdgePolicy>(), momentum),
          seeds);
      for (std::size_t p = 0; p < kPhases.size(); ++p) {
        const auto factors = parts_of(safe[p], at_best[p], best.rate, momentum);
        std::printf(
            "  at %g: best %.3g, safe %.3g:",
            kPhases[p],
            best.rate,
            safe[p].rate);
        std::vector<CsvCell> cells = {
            size,
            momentum,
            kPhases[p],
            best.rate,
            best.loss,
            safe[p].rate,
            safe_loss,
            edge_loss};
        std::vector<double> x = {0};
        std::vector<double> y = {safe[p].rate};
        for (std::size_t i = 0; i < factors.size(); ++i) {
          std::printf(" %s %.2f", kParts[i].c_str(), factors[i]);
          cells.emplace_back(factors[i]);
          x.push_back(static_cast<double>(i + 1));
          y.push_back(y.back() * factors[i]);
        }
        csv.row(cells);
        std::printf("\n");
        if (p == 1) {
          parts.line(
              "batch " + std::to_string(size) +
                  ", m = " + number(momentum, "%g"),
              x,
              y);
        }
      }
      std::printf(
          "  loss: best %.4f, power method %.4f, edge %.4f\n",
          best.loss,
          safe_loss,
          edge_loss);
      std::fflush(stdout);
      // Dear: more than ten times the training of a large network.
      if (size != 128 || momentum == 0 || sizes.size() == 1) continue;
      const Trace fast =
          trace_of(task, lab::constant(best.rate, momentum), true);
      const Trace slow = trace_of(task, lab::power_method(kSafety, momentum));
      const Trace edge = trace_of(
          task, lab::by_policy(std::make_shared<EdgePolicy>(), momentum));
      LinePlot plot(
          "Rates and limits over a run, " + name + ", batch " +
          std::to_string(size));
      plot.x_label("update").y_label("rate").y_log();
      plot.line("the best rate", fast.update, fast.rate);
      plot.line("2 / lambda, all data", fast.update, fast.full);
      plot.line("2 / lambda, a batch", fast.update, fast.batch);
      plot.line("edge policy", edge.update, edge.rate);
      plot.line("power method", slow.update, slow.rate);
      write_svg(path("_phases.svg"), plot);
    }
  }
  write_svg(path("_parts.svg"), parts);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5) {
    std::fprintf(
        stderr,
        "usage: %s mlp|cnn|resnet20|lstm|digits [OUT_DIR] [SEEDS] [DATA]\n",
        argv[0]);
    return 2;
  }
  try {
    measure(
        argv[1],
        argc > 4 ? argv[4] : "",
        argc > 2 ? argv[2] : ".",
        argc > 3 ? lab::count_of_seeds(argv[3]) : 1);
    return 0;
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
