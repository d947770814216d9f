// A step of each elementwise method of the room, in one run with a loop of
// LibTorch's operators over the tensors, as one writes it without a library,
// and with a plain triad that moves the bytes that the method has to move at
// the least. Run it as
//
//     build/release/bin/adaptive_benchmark --benchmark_repetitions=9
//         --benchmark_enable_random_interleaving=true
//         --benchmark_report_aggregates_only=true
//
// and compare METHOD/Step with METHOD/Plain and METHOD/Triad. The least is each
// array read once and written once where it changes, and what a norm or a sum
// over a layer or all parameters wants read before. bytes_per_second counts it.
//
// AdaHessian and SophiaH are without loss and Hessian-vector product: the
// update alone, between two products.
#include <benchmark/benchmark.h>
#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/averaged_model.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/dog.h>
#include <stepsize/adaptive/hypergradient_adam.h>
#include <stepsize/adaptive/hypergradient_sgd.h>
#include <stepsize/adaptive/lamb.h>
#include <stepsize/adaptive/lars.h>
#include <stepsize/adaptive/prodigy.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <stepsize/adaptive/sophia_h.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "triad.h"

namespace {

using torch::Tensor;
using Tensors = std::vector<Tensor>;

/// Matrices, as layerwise methods leave vectors alone, with gradients. The
/// arguments of a benchmark are the number of tensors and the elements of each.
Tensors make_parameters(const benchmark::State& state) {
  constexpr int64_t kColumns = 64;
  Tensors parameters;
  for (int64_t i = 0; i < state.range(0); ++i) {
    parameters.push_back(
        torch::full({state.range(1) / kColumns, kColumns}, 0.5));
    parameters.back().set_requires_grad(true);
    parameters.back().mutable_grad() = torch::full_like(parameters[0], 0.25);
  }
  return parameters;
}

Tensors zeros_like(const Tensors& tensors) {
  Tensors zeros;
  for (const Tensor& own : tensors) zeros.push_back(torch::zeros_like(own));
  return zeros;
}

Tensors copies_of(const Tensors& tensors) {
  Tensors copies;
  for (const Tensor& own : tensors) copies.push_back(own.detach().clone());
  return copies;
}

using Step = std::function<void()>;
/// Takes over parameters and returns what one step of them is.
using MakeStep = std::function<Step(const Tensors&)>;

template <typename Optimizer, typename Options>
MakeStep step_of(const Options& options) {
  return [options](const Tensors& parameters) {
    const auto optimizer = std::make_shared<Optimizer>(parameters, options);
    return [optimizer] { optimizer->step(); };
  };
}

/// The update of one that estimates the Hessian's diagonal.
template <typename Optimizer>
class UpdateAlone : public Optimizer {
 public:
  using Optimizer::Optimizer;

  void update() {
    const torch::NoGradGuard no_grad;
    this->check_all_options();
    this->check_gradients();
    auto updates = this->coming_updates();
    this->apply(updates, Tensors(updates.size()));
    this->take_over(std::move(updates));
  }
};

template <typename Optimizer, typename Options>
MakeStep update_of(const Options& options) {
  return [options](const Tensors& parameters) {
    const auto optimizer =
        std::make_shared<UpdateAlone<Optimizer>>(parameters, options);
    return [optimizer] { optimizer->update(); };
  };
}

// The plain loops; each has the options of the optimizer beside it.

Step plain_lars(const Tensors& parameters) {
  return [parameters, momenta = zeros_like(parameters)] {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      const Tensor& g = w.grad();
      Tensor momentum = momenta[i];
      const double weights = w.norm().item<double>();
      const double gradients = g.norm().item<double>();
      const double ratio = weights > 0 && gradients > 0
                               ? 1e-3 * weights / (gradients + 1e-4 * weights)
                               : 1;
      momentum.mul_(0.9).add_(g.add(w, 1e-4), ratio);
      w.sub_(momentum, 0.1);
    }
  };
}

Step plain_lamb(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          squares = zeros_like(parameters),
          t = 0]() mutable {
    ++t;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      const Tensor& g = w.grad();
      means[i].mul_(0.9).add_(g, 0.1);
      squares[i].mul_(0.999).addcmul_(g, g, 0.001);
      const Tensor divisor =
          squares[i].sqrt().div_(std::sqrt(1 - std::pow(0.999, t))).add_(1e-6);
      Tensor r = means[i].div(divisor).div_(1 - std::pow(0.9, t));
      r.add_(w, 0.01);
      const double weights = w.norm().item<double>();
      const double length = r.norm().item<double>();
      w.sub_(r, 1e-4 * (weights > 0 && length > 0 ? weights / length : 1));
    }
  };
}

Step plain_hypergradient_sgd(const Tensors& parameters) {
  return
      [parameters, directions = zeros_like(parameters), lr = 1e-3]() mutable {
        double sum = 0;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
          sum += parameters[i]
                     .grad()
                     .flatten()
                     .dot(directions[i].flatten())
                     .item<double>();
        }
        lr += 1e-12 * sum;
        for (std::size_t i = 0; i < parameters.size(); ++i) {
          Tensor w = parameters[i];
          directions[i].mul_(0.9).add_(w.grad());
          w.sub_(directions[i], lr);
        }
      };
}

Step plain_hypergradient_adam(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          squares = zeros_like(parameters),
          lr = 1e-3,
          t = 0]() mutable {
    const auto direction = [&](std::size_t i) {
      const Tensor divisor =
          squares[i].sqrt().div_(std::sqrt(1 - std::pow(0.999, t))).add_(1e-8);
      return means[i].div(divisor).div_(1 - std::pow(0.9, t));
    };
    double sum = 0;
    for (std::size_t i = 0; t > 0 && i < parameters.size(); ++i) {
      sum += parameters[i]
                 .grad()
                 .flatten()
                 .dot(direction(i).flatten())
                 .item<double>();
    }
    lr += 1e-12 * sum;
    ++t;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      const Tensor& g = w.grad();
      means[i].mul_(0.9).add_(g, 0.1);
      squares[i].mul_(0.999).addcmul_(g, g, 0.001);
      w.sub_(direction(i), lr);
    }
  };
}

// The form of two points, as the authors' code has it.
Step plain_schedule_free_sgd(const Tensors& parameters) {
  return [parameters, z = copies_of(parameters), t = 0]() mutable {
    const double c = 1.0 / ++t;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor y = parameters[i];
      const Tensor& g = y.grad();
      y.lerp_(z[i], c).add_(g, 1e-3 * (0.9 * (1 - c) - 1));
      z[i].sub_(g, 1e-3);
    }
  };
}

Step plain_schedule_free_adamw(const Tensors& parameters) {
  return [parameters,
          z = copies_of(parameters),
          squares = zeros_like(parameters),
          t = 0]() mutable {
    const double c = 1.0 / ++t;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor y = parameters[i];
      const Tensor& g = y.grad();
      squares[i].mul_(0.999).addcmul_(g, g, 0.001);
      const Tensor divisor =
          squares[i].sqrt().div_(std::sqrt(1 - std::pow(0.999, t))).add_(1e-8);
      const Tensor d = g.div(divisor).add_(y, 0.01);
      y.lerp_(z[i], c).add_(d, 1e-3 * (0.9 * (1 - c) - 1));
      z[i].sub_(d, 1e-3);
    }
  };
}

Step plain_prodigy(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          squares = zeros_like(parameters),
          weighted = zeros_like(parameters),
          starts = copies_of(parameters),
          d = 1e-3,
          r = 0.0]() mutable {
    const double beta3 = std::sqrt(0.999);
    double along = 0;
    double size = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      const Tensor& g = w.grad();
      along += g.flatten().dot((starts[i] - w).flatten()).item<double>();
      means[i].mul_(0.9).add_(g, d * 0.1);
      squares[i].mul_(0.999).addcmul_(g, g, d * d * 0.001);
      weighted[i].mul_(beta3).add_(g, d);
      size += weighted[i].abs().sum().item<double>();
      w.mul_(1 - 0.01 * d)
          .addcdiv_(means[i], squares[i].sqrt().add_(d * 1e-8), -d);
    }
    r = beta3 * r + d * along;
    d = std::min(std::max(d, r / size), d);
  };
}

Step plain_dadapt_adam(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          squares = zeros_like(parameters),
          weighted = zeros_like(parameters),
          d = 1e-3,
          r = 0.0]() mutable {
    const double root = std::sqrt(0.999);
    double along = 0;
    double size = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      const Tensor& g = w.grad();
      along += g.flatten()
                   .dot(weighted[i].div(squares[i].sqrt().add_(1e-8)).flatten())
                   .item<double>();
      means[i].mul_(0.9).add_(g, d * 0.1);
      squares[i].mul_(0.999).addcmul_(g, g, 0.001);
      weighted[i].mul_(root).add_(g, d * (1 - root));
      size += weighted[i].abs().sum().item<double>();
      w.addcdiv_(means[i], squares[i].sqrt().add_(1e-8), -1);
    }
    r = root * r + (1 - root) * d * along;
    d = std::min(std::max(d, r / ((1 - root) * size)), d);
  };
}

Step plain_dog(const Tensors& parameters) {
  return [parameters,
          starts = copies_of(parameters),
          distance = 1e-6,
          squares = 1e-8]() mutable {
    double far = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const double moved = (parameters[i] - starts[i]).norm().item<double>();
      const double length = parameters[i].grad().norm().item<double>();
      far += moved * moved;
      squares += length * length;
    }
    distance = std::max(distance, std::sqrt(far));
    const double lr = distance / std::sqrt(squares);
    for (Tensor w : parameters) w.sub_(w.grad(), lr);
  };
}

Step plain_ada_hessian(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          squares = zeros_like(parameters),
          t = 0]() mutable {
    ++t;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      means[i].mul_(0.9).add_(w.grad(), 0.1);
      const Tensor divisor =
          squares[i].sqrt().div_(std::sqrt(1 - std::pow(0.999, t))).add_(1e-4);
      w.addcdiv_(means[i], divisor, -1e-6 / (1 - std::pow(0.9, t)));
    }
  };
}

Step plain_sophia(const Tensors& parameters) {
  return [parameters,
          means = zeros_like(parameters),
          curvatures = zeros_like(parameters)] {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      Tensor w = parameters[i];
      Tensor mean = means[i];
      mean.mul_(0.965).add_(w.grad(), 0.035);
      const Tensor step =
          mean.div((curvatures[i] * 0.01).clamp_min_(1e-12)).clamp_(-1, 1);
      w.mul_(1 - 1e-4 * 0.1).sub_(step, 1e-4);
    }
  };
}

Step averaged_model(const Tensors& parameters) {
  const auto averaged = std::make_shared<stepsize::AveragedModel>(parameters);
  return [averaged] { averaged->update(); };
}

Step plain_average(const Tensors& parameters) {
  return [parameters, averages = copies_of(parameters), n = 0]() mutable {
    ++n;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      averages[i].lerp_(parameters[i], 1.0 / n);
    }
  };
}

void set_counters(benchmark::State& state, int64_t bytes) {
  const int64_t elements = state.range(0) * state.range(1);
  state.SetBytesProcessed(state.iterations() * elements * bytes);
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"tensors", "elements"})
      ->Args({64, 1 << 20})
      ->Args({2000, 2048})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

void register_step(
    const std::string& name, const MakeStep& make, int64_t bytes) {
  sizes(benchmark::RegisterBenchmark(
      name.c_str(), [make, bytes](benchmark::State& state) {
        const Step step = make(make_parameters(state));
        const torch::NoGradGuard no_grad;
        step();
        for (auto _ : state) step();
        set_counters(state, bytes);
      }));
}

/// `bytes`: what one parameter of float32 has to move at the least.
void register_method(
    const std::string& name,
    int64_t bytes,
    const MakeStep& step,
    const MakeStep& plain = nullptr) {
  register_step(name + "/Step", step, bytes);
  if (plain != nullptr) register_step(name + "/Plain", plain, bytes);
  sizes(benchmark::RegisterBenchmark(
      (name + "/Triad").c_str(), [bytes](benchmark::State& state) {
        constexpr int64_t kTriadBytes = 16;
        stepsize::benchmarks::Triad triad(
            state.range(0) * state.range(1) * bytes / kTriadBytes);
        for (auto _ : state) {
          triad.run();
          benchmark::ClobberMemory();
        }
        set_counters(state, bytes);
      }));
}

void register_all() {
  using namespace stepsize;
  // For the norms p and g; for the update p, g and v, of which g stays.
  register_method(
      "LARS",
      8 + 20,
      step_of<LARS>(LARSOptions(0.1).momentum(0.9).weight_decay(1e-4)),
      plain_lars);
  // For the norms p, g, m and v, of which m and v change; for the update p, m
  // and v, of which p changes.
  register_method(
      "LAMB",
      24 + 16,
      step_of<LAMB>(LAMBOptions(1e-4).weight_decay(0.01)),
      plain_lamb);
  // For the rate g and u; for the update p, g and u.
  register_method(
      "HypergradientSGD",
      8 + 20,
      step_of<HypergradientSGD>(
          HypergradientSGDOptions(1e-3).momentum(0.9).hypergrad_lr(1e-12)),
      plain_hypergradient_sgd);
  // For the rate g, m and v; for the update p, g, m and v.
  register_method(
      "HypergradientAdam",
      12 + 28,
      step_of<HypergradientAdam>(
          HypergradientAdamOptions(1e-3).hypergrad_lr(1e-12)),
      plain_hypergradient_adam);
  // p, g and z, of which g stays.
  register_method(
      "ScheduleFreeSGD",
      20,
      step_of<ScheduleFreeSGD>(ScheduleFreeSGDOptions(1e-3)),
      plain_schedule_free_sgd);
  // p, g, z and v, of which g stays.
  register_method(
      "ScheduleFreeAdamW",
      28,
      step_of<ScheduleFreeAdamW>(
          ScheduleFreeAdamWOptions(1e-3).weight_decay(0.01)),
      plain_schedule_free_adamw);
  // p, g, m, v, s and p0, of which g and p0 stay. An estimate that may not grow
  // keeps the numbers in their range.
  register_method(
      "Prodigy",
      40,
      step_of<Prodigy>(
          ProdigyOptions().d0(1e-3).weight_decay(0.01).growth_rate(1)),
      plain_prodigy);
  // p, g, m, v and s, of which g stays.
  register_method(
      "DAdaptAdam",
      36,
      step_of<DAdaptAdam>(DAdaptAdamOptions().d0(1e-3).growth_rate(1)),
      plain_dadapt_adam);
  // For the rate p, g and p0; for the update p and g.
  register_method("DoG", 12 + 12, step_of<DoG>(DoGOptions()), plain_dog);
  // p, g, m and the curvature, of which p and m change.
  register_method(
      "AdaHessian",
      24,
      update_of<AdaHessian>(AdaHessianOptions(1e-6)),
      plain_ada_hessian);
  register_method(
      "SophiaH", 24, update_of<SophiaH>(SophiaHOptions(1e-4)), plain_sophia);
  // The average and the weight.
  register_method("AveragedModel", 12, averaged_model, plain_average);
  // Beside the Schedule-Free ones; for the norm g, for the update p, g and the
  // means.
  register_method(
      "ClippedSGD",
      4 + 20,
      step_of<ClippedSGD>(ClippedSGDOptions(1e-3).momentum(0.9).max_norm(1)));
  register_method(
      "ClippedAdamW",
      4 + 28,
      step_of<ClippedAdamW>(
          ClippedAdamWOptions(1e-3).weight_decay(0.01).max_norm(1)));
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  stepsize::benchmarks::use_all_cores();
  register_all();
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext(
      "torch_threads", std::to_string(torch::get_num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
