#include <gtest/gtest.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/max_stable_lr.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using MeterOptions = CurvatureMeterOptions;

// w'Aw / 2, A diagonal, whose Hessian is A everywhere.
struct Quadratic {
  explicit Quadratic(const std::vector<double>& entries)
      : curvature(torch::tensor(entries, torch::kDouble)),
        w(torch::ones_like(curvature).requires_grad_(true)) {}

  at::Tensor loss() const { return (curvature * w * w).sum() / 2; }

  at::Tensor curvature;
  at::Tensor w;
};

TEST(CurvatureMeter, FindsTheLargestMagnitudeWhateverItIsGiven) {
  const Quadratic problem({-8, 3, 1});
  const auto closure = [&] { return problem.loss(); };
  CurvatureMeter of_closure;
  CurvatureMeter of_loss;
  CurvatureMeter of_operator;
  EXPECT_NEAR(of_closure.measure(closure, {problem.w}), 8, 1e-6);
  EXPECT_NEAR(of_loss.measure(problem.loss(), {problem.w}), 8, 1e-6);
  EXPECT_NEAR(of_operator.measure(diagonal({-8, 3, 1})), 8, 1e-6);
  EXPECT_EQ(of_closure.sharpness(), of_loss.sharpness());
  EXPECT_NEAR(std::abs(of_loss.vector()[0][0].item<double>()), 1, 1e-6);
  // And by differences, as precise as those are.
  for (const auto method :
       {HessianMethod::kFiniteDifference, HessianMethod::kCentralDifference}) {
    CurvatureMeter differences(MeterOptions().method(method));
    EXPECT_NEAR(differences.measure(closure, {problem.w}), 8, 1e-4);
  }
}

TEST(CurvatureMeter, TakesOneProductFromTheSixthMeasurementOn) {
  const auto op = diagonal({5, 2, 1});
  CurvatureMeter meter(MeterOptions().start_products(7).products(2));
  EXPECT_TRUE(std::isnan(meter.sharpness()));
  for (int64_t count = 1; count <= 8; ++count) {
    meter.measure(op);
    EXPECT_EQ(meter.measurements(), count);
    EXPECT_EQ(meter.products(), count <= 5 ? 7 * count : 35 + 2 * (count - 5));
  }
  EXPECT_NEAR(meter.sharpness(), 5, 1e-12);
}

// The limit that comes of it is the one at which descent turns unstable.
TEST(CurvatureMeter, FollowsACurvatureThatMoves) {
  // Too few products at the start to end at an eigenvector to the last bit,
  // where an iteration stops: that is up to the rounding of a machine.
  CurvatureMeter meter(MeterOptions().start_products(6));
  for (int step = 0; step < 60; ++step) {
    const double top = 10 + step;
    // The leading direction turns by a degree each time.
    const double angle = step * std::acos(-1.0) / 180;
    const auto u =
        torch::tensor({std::cos(angle), std::sin(angle)}, torch::kDouble);
    const auto matrix =
        top * torch::outer(u, u) + torch::eye(2, torch::kDouble);
    meter.measure(matrix_operator(matrix));
    EXPECT_NEAR(meter.sharpness(), top + 1, 1e-3 * top) << step;
  }
  EXPECT_EQ(meter.products(), 5 * 6 + 55);
  EXPECT_NEAR(max_stable_lr(meter.sharpness()), 2.0 / 70, 1e-4);
}

TEST(CurvatureMeter, LeavesRandomStateGradientsAndBuffersAlone) {
  const SmallNet net;
  torch::manual_seed(1);
  const auto expected = torch::rand({4});
  torch::manual_seed(1);
  const auto buffer = torch::zeros({2});
  CurvatureMeter meter(MeterOptions().buffers({buffer}).method(
      HessianMethod::kFiniteDifference));
  meter.measure(
      [&] {
        buffer.add_(1);
        return net.cross_entropy();
      },
      net.parameters);
  EXPECT_TRUE(torch::rand({4}).equal(expected));
  EXPECT_TRUE(buffer.equal(torch::zeros({2})));
  for (const auto& parameter : net.parameters) {
    EXPECT_FALSE(parameter.grad().defined());
  }
}

TEST(CurvatureMeter, DrawsWhatIsNotKnownAndKeepsTheRest) {
  const auto op = function_operator(
      {torch::zeros({2}, torch::kDouble), torch::zeros({1}, torch::kDouble)},
      [](const TensorVector& v) {
        return TensorVector{
            v[0] * torch::tensor({2.0, 1.0}, torch::kDouble), v[1] * 9};
      });
  CurvatureMeter meter(MeterOptions().start_products(30));
  // The part that joins has the larger curvature, and none of the old vector.
  meter.go_on_from(
      {torch::tensor({1.0, 0.0}, torch::kDouble), at::Tensor()}, 5);
  EXPECT_NEAR(meter.measure(op), 9, 1e-9);
  EXPECT_EQ(meter.products(), 30);
  meter.measure(op);
  EXPECT_EQ(meter.products(), 31);
  // What is known and what is drawn enter with length 1 each.
  CurvatureMeter once(MeterOptions().start_products(1));
  once.go_on_from({torch::tensor({1.0, 0.0}, torch::kDouble), at::Tensor()}, 5);
  EXPECT_NEAR(once.measure(op), std::sqrt((4.0 + 81.0) / 2), 1e-12);
  // Other shapes: from nothing.
  EXPECT_NEAR(meter.measure(diagonal({4, 1})), 4, 1e-9);
  EXPECT_EQ(meter.products(), 61);
}

TEST(CurvatureMeter, StartsAnewWhereAllThatIsKnownIsZero) {
  CurvatureMeter meter;
  meter.go_on_from({torch::zeros({3}, torch::kDouble), at::Tensor()}, 5);
  const auto op = function_operator(
      {torch::zeros({3}, torch::kDouble), torch::zeros({1}, torch::kDouble)},
      [](const TensorVector& v) {
        return TensorVector{v[0] * 6, v[1]};
      });
  EXPECT_NEAR(meter.measure(op), 6, 1e-9);
  // Also where nothing is missing in it.
  CurvatureMeter whole;
  whole.go_on_from({torch::zeros({2}, torch::kDouble)}, 5);
  EXPECT_NEAR(whole.measure(diagonal({6, 1})), 6, 1e-9);
  EXPECT_EQ(whole.products(), 20);
}

TEST(CurvatureMeter, KeepsItsStartWhereTheGroundIsFlat) {
  CurvatureMeter meter;
  EXPECT_EQ(meter.measure(diagonal({0, 0})), 0);
  ASSERT_EQ(meter.vector().size(), 1U);
  const auto start = meter.vector()[0].clone();
  EXPECT_NEAR(start.norm().item<double>(), 1, 1e-12);
  EXPECT_EQ(meter.measure(diagonal({0, 0})), 0);
  EXPECT_TRUE(meter.vector()[0].equal(start));
  EXPECT_EQ(meter.measurements(), 0);
  EXPECT_NEAR(meter.measure(diagonal({3, 1})), 3, 1e-9);
}

TEST(CurvatureMeter, ForgetsNothingByAMeasurementThatSaysNothing) {
  CurvatureMeter meter;
  meter.measure(diagonal({3, 1}));
  const auto vector = meter.vector()[0].clone();
  EXPECT_TRUE(std::isnan(meter.measure(diagonal({kNaN, 1}))));
  EXPECT_EQ(meter.failed_measurements(), 1);
  EXPECT_NEAR(meter.sharpness(), 3, 1e-9);
  EXPECT_EQ(meter.measure(diagonal({0, 0})), 0);
  EXPECT_EQ(meter.sharpness(), 0);
  EXPECT_EQ(meter.measurements(), 1);
  EXPECT_TRUE(meter.vector()[0].equal(vector));
  EXPECT_ANY_THROW(meter.measure(
      []() -> at::Tensor { throw std::runtime_error("no batch"); },
      {torch::ones({2}, torch::kDouble).requires_grad_(true)}));
  EXPECT_EQ(meter.failed_measurements(), 1);
}

// |w|^3, smooth, whose second derivative is computed as 0 * infinity at 0.
TEST(CurvatureMeter, TakesADifferenceWhereTheExactProductIsNotFinite) {
  const auto w = torch::tensor({0.0, 1.0}, torch::kDouble).requires_grad_(true);
  const auto cubes = [&] { return w.square().pow(1.5).sum(); };
  CurvatureMeter exact;
  EXPECT_TRUE(std::isnan(exact.measure(cubes(), {w})));
  EXPECT_EQ(exact.failed_measurements(), 1);
  EXPECT_NEAR(CurvatureMeter().measure(cubes, {w}), 6, 1e-3);
}

TEST(CurvatureMeter, KeepsAVectorOfHalfParametersInFloat32) {
  const auto w = torch::ones({4}, torch::kBFloat16).requires_grad_(true);
  CurvatureMeter meter;
  meter.measure((w * w).sum(), {w});
  EXPECT_EQ(meter.vector()[0].scalar_type(), torch::kFloat);
}

TEST(CurvatureMeter, GoesOnBitForBitFromASave) {
  const auto op = matrix_operator(matrix_with({4, 3.9, 1, -2}, 3));
  CurvatureMeter whole;
  whole.measure(op);
  std::stringstream stream;
  torch::serialize::OutputArchive out;
  whole.save(out);
  out.save_to(stream);
  torch::serialize::InputArchive in;
  in.load_from(stream);
  CurvatureMeter resumed;
  resumed.load(in);
  EXPECT_EQ(resumed.sharpness(), whole.sharpness());
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(resumed.measure(op), whole.measure(op));
  }
  EXPECT_EQ(resumed.products(), whole.products());
  EXPECT_EQ(resumed.measurements(), 9);
  torch::serialize::InputArchive none;
  EXPECT_NE(
      message_of([&] { resumed.load(none); }).find("CurvatureMeter"),
      std::string::npos);
  EXPECT_EQ(resumed.measurements(), 9);
}

TEST(CurvatureMeter, ACopyMeasuresByItself) {
  const auto op = diagonal({4, 3.9});
  CurvatureMeter meter(MeterOptions().start_products(1));
  meter.measure(op);
  const auto vector = meter.vector()[0].clone();
  CurvatureMeter copy = meter;
  copy.measure(op);
  EXPECT_TRUE(meter.vector()[0].equal(vector));
  EXPECT_FALSE(copy.vector()[0].equal(vector));
}

TEST(CurvatureMeter, RefusesOptionsOutOfRange) {
  EXPECT_EQ(
      message_of([] { CurvatureMeter(MeterOptions().start_products(0)); }),
      "CurvatureMeter: start_products must be >= 1, got 0");
  CurvatureMeter meter(MeterOptions().products(3));
  EXPECT_EQ(
      message_of([&] { meter.set_options(MeterOptions().products(-1)); }),
      "CurvatureMeter: products must be >= 1, got -1");
  EXPECT_EQ(meter.options().products(), 3);
}

}  // namespace
}  // namespace stepsize::test
