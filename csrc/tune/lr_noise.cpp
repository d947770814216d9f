#include "csrc/tune/lr_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr std::size_t kLeastReach = 11;

std::vector<double> first_finite(
    const std::vector<double>& losses, std::size_t count) {
  std::vector<double> first;
  for (const double loss : losses) {
    if (first.size() == count) break;
    if (std::isfinite(loss)) first.push_back(loss);
  }
  return first;
}

}  // namespace

double median(std::vector<double> values) {
  const auto middle =
      values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double noise_of(const std::vector<double>& losses) {
  const auto finite = first_finite(losses, losses.size());
  if (finite.size() < 3) return 0;
  std::vector<double> bends;
  bends.reserve(finite.size() - 2);
  for (std::size_t i = 1; i + 1 < finite.size(); ++i) {
    bends.push_back(std::abs(finite[i - 1] - 2 * finite[i] + finite[i + 1]));
  }
  // Of a normal distribution the median of |x| is 0.6745 deviations; that of a
  // second difference, 1 - 2 + 1, is sqrt(6) times as wide.
  return median(std::move(bends)) / (0.6745 * std::sqrt(6.0));
}

double noise_of_few_steps(const std::vector<double>& losses) {
  const auto finite = first_finite(losses, losses.size());
  double squares = 0;
  std::size_t zeros = 0;
  for (std::size_t i = 1; i + 1 < finite.size(); ++i) {
    const double bend = finite[i - 1] - 2 * finite[i] + finite[i + 1];
    squares += bend * bend;
    zeros += bend == 0 ? 1 : 0;
  }
  if (finite.size() < 3 || 2 * zeros <= finite.size() - 2) return 0;
  return std::sqrt(squares / static_cast<double>(finite.size() - 2) / 6);
}

std::size_t noise_reach(int64_t half_width) {
  return std::max(kLeastReach, 2 * static_cast<std::size_t>(half_width) + 1);
}

double noise_up_to(
    const std::vector<double>& losses, std::size_t at, std::size_t reach) {
  const auto end = losses.begin() + static_cast<std::ptrdiff_t>(at) + 1;
  const std::size_t from = at + 1 - std::min(at + 1, reach);
  const std::vector<double> local(
      losses.begin() + static_cast<std::ptrdiff_t>(from), end);
  return std::max(noise_of(first_finite(losses, reach)), noise_of(local));
}

double resolution_of(const std::vector<double>& losses) {
  constexpr int kDigits = std::numeric_limits<double>::digits;
  double largest = 0;
  int lowest_bit = std::numeric_limits<int>::max();
  for (const double loss : losses) {
    if (!std::isfinite(loss) || loss == 0) continue;
    largest = std::max(largest, std::abs(loss));
    int exponent = 0;
    const double mantissa = std::frexp(std::abs(loss), &exponent);
    auto digits = static_cast<std::uint64_t>(std::ldexp(mantissa, kDigits));
    int zeros = 0;
    for (; digits % 2 == 0; digits /= 2) ++zeros;
    lowest_bit = std::min(lowest_bit, exponent - kDigits + zeros);
  }
  if (largest == 0) return 0;
  return std::min(std::ldexp(1.0, lowest_bit), std::ldexp(largest, -8));
}

std::size_t start_points(std::size_t planned) {
  return std::max<std::size_t>(3, planned / 20);
}

double start_height(const std::vector<double>& losses, std::size_t planned) {
  auto first = first_finite(losses, start_points(planned));
  return first.empty() ? std::numeric_limits<double>::quiet_NaN()
                       : median(std::move(first));
}

}  // namespace stepsize::detail
