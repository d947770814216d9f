// The room curvature: checked when a function is called or a class is made.

#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/hutchinson.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/curvature/sharpness_policy.h>
#include <stepsize/curvature/sharpness_tracker.h>
#include <stepsize/curvature/spectral_density.h>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// diag(1, 2, 3).
LinearOperator small_operator() {
  return matrix_operator(
      torch::diag(torch::tensor({1.0, 2.0, 3.0}, torch::kFloat64)));
}

void measure_with(const SharpnessTrackerOptions& options) {
  SharpnessTracker tracker(options);
  for (int i = 0; i < 70; ++i) {
    if (tracker.due()) tracker.measure(i % 3);
    tracker.next_rate();
  }
}

template <typename Policy, typename Options>
void make_policy(const Options& options) {
  const Policy policy(options);
}

void add_policies(OptionTable& table) {
  const std::vector<double> not_growth = {0, -1, kBelowOne, kNaN, -kInfinity};
  const std::vector<double> not_rate = {0, -1, kNaN, -kInfinity};
  const std::vector<double> not_share = {
      -kSmallest, -1, 1, kHuge, kNaN, kInfinity, -kInfinity};
  const std::vector<int64_t> not_interval = {
      0, -1, INT64_MIN, int64_t{1} << 52, kMostCount};
  const std::vector<int64_t> intervals = {1, (int64_t{1} << 52) - 1};
  const auto edge = [](const EdgePolicyOptions& options) {
    make_policy<EdgePolicy>(options);
  };
  OptionCases(table, "EdgePolicyOptions", "EdgePolicy")
      .number(
          "safety",
          kNotPositive,
          {kSmallest, kHuge},
          [=](double v) { edge(EdgePolicyOptions().safety(v)); })
      .count(
          "start_measurements",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) { edge(EdgePolicyOptions().start_measurements(v)); })
      .count(
          "max_interval",
          not_interval,
          intervals,
          [=](int64_t v) { edge(EdgePolicyOptions().max_interval(v)); })
      .number(
          "lr_growth",
          not_growth,
          {1, kHuge, kInfinity},
          [=](double v) { edge(EdgePolicyOptions().lr_growth(v)); })
      .number(
          "max_lr",
          not_rate,
          {kSmallest, kHuge, kInfinity},
          [=](double v) { edge(EdgePolicyOptions().max_lr(v)); })
      .number(
          "memory",
          not_share,
          {0, kBelowOne},
          [=](double v) { edge(EdgePolicyOptions().memory(v)); })
      .number("average", not_share, {0, kBelowOne}, [=](double v) {
        edge(EdgePolicyOptions().average(v));
      });
  const auto secant = [](const SecantPolicyOptions& options) {
    make_policy<SecantPolicy>(options);
  };
  OptionCases(table, "SecantPolicyOptions", "SecantPolicy")
      .number(
          "safety",
          kNotPositive,
          {kSmallest, kHuge},
          [=](double v) { secant(SecantPolicyOptions().safety(v)); })
      .count(
          "interval",
          not_interval,
          intervals,
          [=](int64_t v) { secant(SecantPolicyOptions().interval(v)); })
      .number("max_lr", not_rate, {kSmallest, kHuge, kInfinity}, [=](double v) {
        secant(SecantPolicyOptions().max_lr(v));
      });
  const auto polyak = [](const PolyakPolicyOptions& options) {
    make_policy<PolyakPolicy>(options);
  };
  OptionCases(table, "PolyakPolicyOptions", "PolyakPolicy")
      .number(
          "divisor",
          kNotPositive,
          {kSmallest, kHuge},
          [=](double v) { polyak(PolyakPolicyOptions().divisor(v)); })
      .number(
          "floor",
          {kNaN, kInfinity, -kInfinity},
          {0, -1, kHuge},
          [=](double v) { polyak(PolyakPolicyOptions().floor(v)); })
      .number(
          "lr_growth",
          not_growth,
          {1, kHuge, kInfinity},
          [=](double v) { polyak(PolyakPolicyOptions().lr_growth(v)); })
      .number("max_lr", not_rate, {kSmallest, kHuge, kInfinity}, [=](double v) {
        polyak(PolyakPolicyOptions().max_lr(v));
      });
  const auto vector = [](const AveragedVectorPolicyOptions& options) {
    make_policy<AveragedVectorPolicy>(options);
  };
  OptionCases(table, "AveragedVectorPolicyOptions", "AveragedVectorPolicy")
      .number(
          "safety",
          kNotPositive,
          {kSmallest, kHuge},
          [=](double v) { vector(AveragedVectorPolicyOptions().safety(v)); })
      .number(
          "weight",
          {0, -1, 1.5, kHuge, kNaN, kInfinity, -kInfinity},
          {kSmallest, 1},
          [=](double v) { vector(AveragedVectorPolicyOptions().weight(v)); })
      .count(
          "start_measurements",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) {
            vector(AveragedVectorPolicyOptions().start_measurements(v));
          })
      .count(
          "interval",
          not_interval,
          intervals,
          [=](int64_t v) { vector(AveragedVectorPolicyOptions().interval(v)); })
      .number(
          "lr_growth",
          not_growth,
          {1, kHuge, kInfinity},
          [=](double v) { vector(AveragedVectorPolicyOptions().lr_growth(v)); })
      .number("max_lr", not_rate, {kSmallest, kHuge, kInfinity}, [=](double v) {
        vector(AveragedVectorPolicyOptions().max_lr(v));
      });
  const auto sharpness = [](const SharpnessPolicyOptions& options) {
    make_policy<SharpnessPolicy>(options);
  };
  OptionCases(table, "SharpnessPolicyOptions", "SharpnessPolicy")
      .count(
          "start_products",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) {
            sharpness(SharpnessPolicyOptions().start_products(v));
          })
      // The tracker's knobs have rows of their own; here they bear this name.
      .number("safety", kNotPositive, {kSmallest}, [=](double v) {
        sharpness(SharpnessPolicyOptions().tracker(
            SharpnessTrackerOptions().safety(v)));
      });
}

void add_tracker(OptionTable& table) {
  using Options = SharpnessTrackerOptions;
  OptionCases(table, "SharpnessTrackerOptions", "SharpnessTracker")
      .number(
          "safety",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { measure_with(Options().safety(v)); })
      .count(
          "max_interval",
          {0, -1, INT64_MIN, int64_t{1} << 52, kMostCount},
          {1, (int64_t{1} << 52) - 1},
          [](int64_t v) { measure_with(Options().max_interval(v)); })
      .number(
          "lr_growth",
          {0, -1, kBelowOne, kNaN, -kInfinity},
          {1, kHuge, kInfinity},
          [](double v) { measure_with(Options().lr_growth(v)); })
      .number(
          "lr_cap",
          {0, -1, kBelowOne, kNaN, -kInfinity},
          {1, kHuge, kInfinity},
          [](double v) { measure_with(Options().lr_cap(v)); })
      .number(
          "max_lr",
          {0, -1, kNaN, -kInfinity},
          {kSmallest, kHuge, kInfinity},
          [](double v) { measure_with(Options().max_lr(v)); })
      .number("decay", kNotBelowOne, {0, kBelowOne}, [](double v) {
        measure_with(Options().decay(v));
      });
  OptionCases(table, "SharpnessTracker", "SharpnessTracker")
      .number("measurement", kNegative, {0, kHuge}, [](double v) {
        SharpnessTracker().measure(v);
      });
}

void add_curvature_meter(OptionTable& table) {
  using Options = CurvatureMeterOptions;
  // Every vector is its eigenvector: however many products there may be, the
  // first one ends it.
  const auto measure_with = [](const Options& options) {
    CurvatureMeter(options).measure(
        matrix_operator(torch::ones({1, 1}, torch::kFloat64)));
  };
  OptionCases(table, "CurvatureMeterOptions", "CurvatureMeter")
      .count(
          "start_products",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) { measure_with(Options().start_products(v)); })
      .count("products", kNotCount, {1, kMostCount}, [=](int64_t v) {
        measure_with(Options().products(v));
      });
}

void add_curvature_monitor(OptionTable& table) {
  using Options = CurvatureMonitorOptions;
  const auto watch_with = [](const Options& options) {
    const auto w = torch::ones({1}, torch::kFloat64).requires_grad_(true);
    CurvatureMonitor monitor(TensorVector{w}, options);
    for (int i = 0; i < 3; ++i) {
      monitor.step(0.1, [&] { return w.square().sum(); });
    }
  };
  OptionCases(table, "CurvatureMonitorOptions", "CurvatureMonitor")
      .count(
          "every",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) { watch_with(Options().every(v)); })
      .number(
          "budget",
          kNegative,
          {0, kSmallest, kHuge},
          [=](double v) { watch_with(Options().budget(v)); })
      .number(
          "momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [=](double v) { watch_with(Options().momentum(v)); })
      .count(
          "trace_samples",
          {-1, 1, INT64_MIN},
          {0, 2},
          [=](int64_t v) { watch_with(Options().trace_samples(v)); })
      // Nobody waits for so many.
      .count("trace_samples", {}, {kMostCount}, [](int64_t v) {
        CurvatureMonitor(
            TensorVector{torch::ones({1})}, Options().trace_samples(v));
      });
}

void add_iterations(OptionTable& table) {
  OptionCases power(table, "PowerIterationOptions", "power_iteration");
  power
      .count(
          "max_iterations",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) {
            power_iteration(
                small_operator(), PowerIterationOptions().max_iterations(v));
          })
      .number("tolerance", kNegative, {0, kHuge}, [](double v) {
        power_iteration(small_operator(), PowerIterationOptions().tolerance(v));
      });
  OptionCases(table, "PowerIterationOptions", "largest_eigenvalue")
      .count(
          "max_iterations",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) {
            largest_eigenvalue(
                small_operator(), PowerIterationOptions().max_iterations(v));
          })
      .number("tolerance", kNegative, {0, kHuge}, [](double v) {
        largest_eigenvalue(
            small_operator(), PowerIterationOptions().tolerance(v));
      });
  const auto run = [](const LanczosOptions& options) {
    lanczos(small_operator(), options);
  };
  OptionCases(table, "LanczosOptions", "lanczos")
      .count(
          "k",
          kNotCount,
          {1, 3, 100},
          [run](int64_t v) { run(LanczosOptions().k(v)); })
      .count(
          "k",
          {},
          {kMostCount},
          [run](int64_t v) { run(LanczosOptions().k(v).max_iterations(v)); })
      .count(
          "max_iterations",
          {1, 0, -1, INT64_MIN},
          {2, kMostCount},
          [run](int64_t v) { run(LanczosOptions().k(2).max_iterations(v)); })
      .number("tolerance", kNegative, {0, kHuge}, [run](double v) {
        run(LanczosOptions().tolerance(v));
      });
}

void add_samples(OptionTable& table) {
  const auto trace = [](const HutchinsonOptions& options) {
    hutchinson_trace(small_operator(), options);
  };
  const auto diagonal = [](const HutchinsonOptions& options) {
    hutchinson_diagonal(small_operator(), options);
  };
  OptionCases(table, "HutchinsonOptions", "hutchinson_trace")
      .count(
          "samples",
          {1, 0, -1, INT64_MIN},
          {2},
          [trace](int64_t v) { trace(HutchinsonOptions().samples(v)); })
      .number("tolerance", kNegative, {0, kHuge}, [trace](double v) {
        trace(HutchinsonOptions().tolerance(v));
      });
  OptionCases(table, "HutchinsonOptions", "hutchinson_diagonal")
      .count(
          "samples",
          {1, 0, -1, INT64_MIN},
          {2},
          [diagonal](int64_t v) { diagonal(HutchinsonOptions().samples(v)); })
      .number("tolerance", kNegative, {0, kHuge}, [diagonal](double v) {
        diagonal(HutchinsonOptions().tolerance(v));
      });
  const auto density = [](SpectralDensityOptions options) {
    spectral_density(small_operator(), options);
  };
  const auto few = [] {
    return SpectralDensityOptions().samples(2).points(10);
  };
  OptionCases(table, "SpectralDensityOptions", "spectral_density")
      .count(
          "samples",
          kNotCount,
          {1},
          [density, few](int64_t v) { density(few().samples(v)); })
      .count(
          "steps",
          kNotCount,
          {1, kMostCount},
          [density, few](int64_t v) { density(few().steps(v)); })
      .count(
          "points",
          {1, 0, -1, INT64_MIN, 10'000'001, kMostCount},
          {2},
          [density, few](int64_t v) { density(few().points(v)); })
      .number(
          "width", kNotShareOverZero, {kSmallest, 1}, [density, few](double v) {
            density(few().width(v));
          });
  OptionCases(table, "SpectralDensity", "SpectralDensity")
      .count("p", kNegativeCount, {0, kMostCount}, [](int64_t v) {
        SpectralDensity().moment(v);
      });
}

// A difference's product with a vector.
void difference(double epsilon) {
  const torch::Tensor w = leaf({1, 2});
  const HessianOperator hessian = hessian_operator(
      [w] { return w.pow(4).sum(); },
      {w},
      HessianOptions()
          .method(HessianMethod::kFiniteDifference)
          .epsilon(epsilon));
  hessian.apply({torch::ones_like(w)});
}

}  // namespace

OptionTable curvature_table() {
  OptionTable table;
  add_tracker(table);
  add_policies(table);
  add_curvature_meter(table);
  add_curvature_monitor(table);
  add_iterations(table);
  add_samples(table);
  OptionCases(table, "HessianOptions", "hessian_operator")
      .number("epsilon", kNegative, {0, kSmallest, kHuge}, difference);
  OptionCases(table, "max_stable_lr", "max_stable_lr")
      .number(
          "lambda", kNegative, {0, kHuge}, [](double v) { max_stable_lr(v); })
      .number("momentum", kNotBelowOne, {0, kBelowOne}, [](double v) {
        max_stable_lr(1, v);
      });
  // Vectors to start from: of no length there is none.
  OptionCases(table, "PowerIterationOptions", "power_iteration")
      .refuses("initial", "zero", {"initial", "zero"}, [] {
        power_iteration(
            small_operator(),
            PowerIterationOptions().initial(
                {torch::zeros({3}, torch::kFloat64)}));
      });
  const auto mean = [](double weight) {
    mean_operator({{small_operator(), weight}});
  };
  OptionCases(table, "mean_operator", "mean_operator")
      .number("weights", kNotPositive, {kSmallest, kHuge}, mean);
  OptionCases(table, "sum_operator", "sum_operator")
      .number("weights", kNotFinite, {-kHuge, 0, kHuge}, [](double v) {
        sum_operator({{small_operator(), v}});
      });
  return table;
}

}  // namespace stepsize::test
