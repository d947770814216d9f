#include "csrc/report/ticks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

namespace stepsize::report {
namespace {

// How far outside of the axis, in parts of a step, a tick may lie because of
// rounding and still count as on its end.
constexpr double kSlack = 1e-6;

/// A tick as an exact decimal, n * 10^exponent.
struct Decimal {
  int64_t n;
  int exponent;

  double value() const {
    // One correctly rounded division instead of a product with an inexact
    // negative power.
    const auto mantissa = static_cast<double>(n);
    return exponent < 0 ? mantissa / std::pow(10.0, -exponent)
                        : mantissa * std::pow(10.0, exponent);
  }
};

std::vector<Tick> label_log_ticks(const std::vector<Decimal>& values) {
  const bool plain =
      std::all_of(values.begin(), values.end(), [](const Decimal& d) {
        return d.value() > 0.00999 && d.value() < 10000.5;
      });
  std::vector<Tick> ticks;
  ticks.reserve(values.size());
  for (const Decimal& d : values) {
    ticks.push_back(
        {d.value(),
         plain ? plain_decimal(d.n, d.exponent) : scientific(d.n, d.exponent)});
  }
  return ticks;
}

/// All multiples (each in 1..9) of decades that lie within the ends.
std::vector<Decimal> multiples_within(
    double lo, double hi, const std::vector<int64_t>& multiples) {
  std::vector<Decimal> result;
  const int first = static_cast<int>(std::floor(std::log10(lo)));
  const int last = static_cast<int>(std::floor(std::log10(hi) + kSlack));
  for (int exponent = first; exponent <= last; ++exponent) {
    for (const int64_t n : multiples) {
      const Decimal d{n, exponent};
      if (d.value() >= lo * (1 - kSlack) && d.value() <= hi * (1 + kSlack)) {
        result.push_back(d);
      }
    }
  }
  return result;
}

std::vector<double> values_without(
    const std::vector<Decimal>& all, const std::vector<Tick>& major) {
  std::vector<double> result;
  for (const Decimal& d : all) {
    const double value = d.value();
    if (std::none_of(major.begin(), major.end(), [value](const Tick& tick) {
          return tick.value == value;
        })) {
      result.push_back(value);
    }
  }
  return result;
}

}  // namespace

std::string plain_decimal(int64_t n, int exponent) {
  std::string digits = std::to_string(std::abs(n));
  if (exponent >= 0) {
    if (n != 0) digits.append(static_cast<size_t>(exponent), '0');
  } else {
    const auto decimals = static_cast<size_t>(-exponent);
    if (digits.size() <= decimals) {
      digits.insert(0, decimals + 1 - digits.size(), '0');
    }
    digits.insert(digits.size() - decimals, 1, '.');
  }
  return n < 0 ? "-" + digits : digits;
}

std::string scientific(int64_t n, int exponent) {
  if (n == 0) return "0";
  std::string digits = std::to_string(std::abs(n));
  const int power = exponent + static_cast<int>(digits.size()) - 1;
  digits.erase(digits.find_last_not_of('0') + 1);
  if (digits.size() > 1) digits.insert(1, 1, '.');
  return (n < 0 ? "-" : "") + digits + "e" + std::to_string(power);
}

Ticks linear_ticks(double lo, double hi, int max_count) {
  const double smallest = (hi - lo) / std::max(1, max_count);
  int exponent = static_cast<int>(std::floor(std::log10(smallest)));
  int64_t multiple = 10;
  for (const int64_t m : {1, 2, 5}) {
    if (Decimal{m, exponent}.value() >= smallest * (1 - kSlack)) {
      multiple = m;
      break;
    }
  }
  if (multiple == 10) {
    multiple = 1;
    ++exponent;
  }
  const double step = Decimal{multiple, exponent}.value();
  const auto first = static_cast<int64_t>(std::ceil(lo / step - kSlack));
  const auto last = static_cast<int64_t>(std::floor(hi / step + kSlack));

  const double largest =
      step * static_cast<double>(std::max(std::abs(first), std::abs(last)));
  const bool plain = largest < 999999.5 && largest > 0.0009995;
  Ticks ticks;
  for (int64_t k = first; k <= last; ++k) {
    const Decimal d{k * multiple, exponent};
    ticks.major.push_back(
        {d.value(),
         plain ? plain_decimal(d.n, d.exponent) : scientific(d.n, d.exponent)});
  }
  return ticks;
}

Ticks log_ticks(double lo, double hi, int max_count) {
  const auto limit = static_cast<size_t>(std::max(1, max_count));
  const std::vector<int64_t> one_to_nine = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<Decimal> decades = multiples_within(lo, hi, {1});
  Ticks ticks;
  if (decades.size() <= 2) {
    const std::vector<std::vector<int64_t>> choices = {
        {1, 2, 5}, {1, 3}, {1, 5}, {1}};
    for (const auto& multiples : choices) {
      const std::vector<Decimal> values = multiples_within(lo, hi, multiples);
      if (values.size() >= 2 && values.size() <= limit) {
        ticks.major = label_log_ticks(values);
        ticks.minor =
            values_without(multiples_within(lo, hi, one_to_nine), ticks.major);
        return ticks;
      }
    }
    return linear_ticks(lo, hi, max_count);
  }

  const size_t stride = (decades.size() + limit - 1) / limit;
  std::vector<Decimal> kept;
  for (const Decimal& d : decades) {
    if (d.exponent % static_cast<int>(stride) == 0) kept.push_back(d);
  }
  ticks.major = label_log_ticks(kept);
  ticks.minor = values_without(
      stride == 1 ? multiples_within(lo, hi, one_to_nine) : decades,
      ticks.major);
  return ticks;
}

}  // namespace stepsize::report
