#include <stepsize/tune/noise_scale.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "csrc/core/check.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

// The share of what is taken off for rounding that may be wrong: errors are not
// quite uniform, nor independent.
constexpr double kRoundingDoubt = 0.5;

// More digits than three no noise scale is good for.
std::string short_text(double value) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.3g", value);
  return buffer.data();
}

BatchTradeoff tradeoff(double noise_scale, double from, double to) {
  return {
      (1 + noise_scale / to) / (1 + noise_scale / from),
      (1 + to / noise_scale) / (1 + from / noise_scale)};
}

// "38%" of a change by the factor 0.62 or 1.38.
std::string percent_text(double factor) {
  std::array<char, 32> buffer{};
  std::snprintf(
      buffer.data(), buffer.size(), "%.0f%%", 100 * std::abs(factor - 1));
  return buffer.data();
}

}  // namespace

NoiseSample noise_sample(
    const std::vector<double>& squares, double mean_square, int64_t examples) {
  constexpr char kWho[] = "noise_sample";
  detail::check_option(
      squares.size() >= 2,
      kWho,
      "the number of squares",
      ">= 2",
      static_cast<int64_t>(squares.size()));
  detail::check_option(examples >= 1, kWho, "examples", ">= 1", examples);
  const auto check_square = [&](const char* name, double square) {
    detail::check_option(!(square < 0), kWho, name, ">= 0", square);
  };
  for (const double square : squares) check_square("a square", square);
  check_square("mean_square", mean_square);
  const auto count = static_cast<double>(squares.size());
  const double mean =
      std::accumulate(squares.begin(), squares.end(), 0.0) / count;
  // A NaN compares false and goes through.
  detail::check_option(
      std::isinf(mean_square) || !(mean_square > mean * (1 + 1e-5)),
      kWho,
      "mean_square, of the mean and not of the sum,",
      "<= the mean of the squares = " + detail::number_text(mean),
      mean_square);
  // What one micro-batch's gradient strays from G by, in square.
  const double stray = (mean - mean_square) * count / (count - 1);
  return {mean_square - stray / count, stray * static_cast<double>(examples)};
}

std::string NoiseScale::advice(int64_t batch) const {
  detail::check_option(batch >= 1, "NoiseScale", "batch", ">= 1", batch);
  const std::string at = " at batch " + std::to_string(batch);
  if (updates == 0) {
    return "noise scale unknown" + at +
           ": no update was seen; it takes updates of two micro-batches at "
           "least";
  }
  if (!known()) {
    return "noise scale unknown" + at + ": the noise drowns the gradient in " +
           std::to_string(updates) +
           " updates; a larger batch pays as far as "
           "they tell";
  }
  std::string text = "noise scale " + short_text(value);
  if (std::isfinite(standard_error)) {
    text += " +- " + short_text(standard_error);
  }
  text += at + ": ";
  if (value == 0) return text + "no noise; a larger batch saves no steps";
  const auto here = static_cast<double>(batch);
  const BatchTradeoff up = tradeoff(value, here, 2 * here);
  text += "twice the batch saves " + percent_text(up.steps) +
          " of the steps and costs " + percent_text(up.examples) +
          " more examples";
  if (batch == 1) return text;
  const BatchTradeoff down = tradeoff(value, here, here / 2);
  return text + "; half the batch saves " + percent_text(down.examples) +
         " of the examples and costs " + percent_text(down.steps) +
         " more steps";
}

BatchTradeoff batch_tradeoff(double noise_scale, int64_t from, int64_t to) {
  constexpr char kWho[] = "batch_tradeoff";
  detail::check_option(
      std::isfinite(noise_scale) && noise_scale > 0,
      kWho,
      "noise_scale",
      "finite and > 0",
      noise_scale);
  detail::check_option(from >= 1, kWho, "from", ">= 1", from);
  detail::check_option(to >= 1, kWho, "to", ">= 1", to);
  return tradeoff(
      noise_scale, static_cast<double>(from), static_cast<double>(to));
}

NoiseScaleAverage::NoiseScaleAverage(double decay) : decay_(decay) {
  detail::check_option(
      decay > 0 && decay <= 1,
      "NoiseScaleAverage",
      "decay",
      "in (0, 1]",
      decay);
}

void NoiseScaleAverage::add(const NoiseSample& sample) {
  const auto check = [](const char* name, double value) {
    detail::check_option(
        std::isfinite(value), "NoiseScaleAverage", name, "finite", value);
  };
  check("gradient_square", sample.gradient_square);
  check("noise_trace", sample.noise_trace);
  check("rounding_trace", sample.rounding_trace);
  ++state_.count;
  state_.weight = 1 + decay_ * state_.weight;
  state_.square_weight = 1 + decay_ * decay_ * state_.square_weight;
  const double share = 1 / state_.weight;
  const double gradient = sample.gradient_square - state_.mean.gradient_square;
  const double noise = sample.noise_trace - state_.mean.noise_trace;
  const auto spread = [share](double& moment, double product) {
    moment = (1 - share) * (moment + share * product);
  };
  spread(state_.gradient_variance, gradient * gradient);
  spread(state_.noise_variance, noise * noise);
  spread(state_.covariance, gradient * noise);
  state_.mean.gradient_square += share * gradient;
  state_.mean.noise_trace += share * noise;
  state_.mean.rounding_trace +=
      share * (sample.rounding_trace - state_.mean.rounding_trace);
}

NoiseScale NoiseScaleAverage::value() const {
  NoiseScale result;
  result.updates = state_.count;
  if (state_.count == 0) return result;
  result.gradient_square = state_.mean.gradient_square;
  result.noise_trace = state_.mean.noise_trace;
  if (!(result.gradient_square > 0)) return result;
  // Sizes of micro-batches that differ can leave less than no noise.
  result.value = std::max(result.noise_trace, 0.0) / result.gradient_square;
  if (!std::isfinite(result.value)) {
    result.value = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  if (state_.count < 3) return result;
  // The square of the weights, which sum to 1, summed: 1 / n of a plain mean.
  const double concentration =
      state_.square_weight / (state_.weight * state_.weight);
  const double variance =
      state_.noise_variance - 2 * result.value * state_.covariance +
      result.value * result.value * state_.gradient_variance;
  // Rounding is the same in every update and does not average out.
  const double rounding = kRoundingDoubt * state_.mean.rounding_trace;
  result.standard_error =
      std::sqrt(
          std::max(variance, 0.0) * concentration / (1 - concentration) +
          rounding * rounding) /
      result.gradient_square;
  return result;
}

}  // namespace stepsize
