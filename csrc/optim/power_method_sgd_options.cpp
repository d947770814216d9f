#include <stepsize/optim/power_method_sgd.h>
#include <torch/serialize/archive.h>

#include <charconv>
#include <limits>
#include <string>
#include <system_error>
#include <tuple>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/optim/option_checks.h"
#include "csrc/optim/power_method_checks.h"

namespace stepsize {
namespace detail {

void check_power_method_options(const PowerMethodSGDOptions& options) {
  check_not_negative(kPowerMethodSGD, "lr", options.lr());
  check_share(kPowerMethodSGD, "momentum", options.momentum());
  TORCH_CHECK(
      !options.nesterov() || options.momentum() > 0,
      kPowerMethodSGD,
      ": nesterov wants momentum > 0, got ",
      number_text(options.momentum()));
  check_momentum_limit(kPowerMethodSGD, options.momentum_limit());
  check_not_negative(kPowerMethodSGD, "weight_decay", options.weight_decay());
  check_tracker_options(kPowerMethodSGD, options.tracker());
  check_option(
      options.start_products() >= 1,
      kPowerMethodSGD,
      "start_products",
      ">= 1",
      options.start_products());
  const auto method = static_cast<int64_t>(options.method());
  check_option(
      method >= 0 &&
          method <= static_cast<int64_t>(HessianMethod::kCentralDifference),
      kPowerMethodSGD,
      "method",
      "an enumerator",
      method);
}

bool same_measurement(
    const PowerMethodSGDOptions& a, const PowerMethodSGDOptions& b) {
  const auto numbers = [](const PowerMethodSGDOptions& options) {
    const auto& t = options.tracker();
    return std::make_tuple(
        t.safety(),
        t.max_interval(),
        t.lr_growth(),
        t.lr_cap(),
        t.max_lr(),
        t.decay(),
        options.start_products(),
        options.method(),
        options.seed());
  };
  return numbers(a) == numbers(b);
}

}  // namespace detail

PowerMethodSGDOptions::PowerMethodSGDOptions(double lr) : lr_(lr) {}

void PowerMethodSGDOptions::serialize(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "lr", lr());
  detail::write_double(archive, "momentum", momentum());
  detail::write_int(archive, "nesterov", nesterov() ? 1 : 0);
  detail::write_int(
      archive, "momentum_limit", static_cast<int64_t>(momentum_limit()));
  detail::write_double(archive, "weight_decay", weight_decay());
  detail::write_int(
      archive, "decoupled_weight_decay", decoupled_weight_decay() ? 1 : 0);
  detail::write_double(archive, "safety", tracker().safety());
  detail::write_int(archive, "max_interval", tracker().max_interval());
  detail::write_double(archive, "lr_growth", tracker().lr_growth());
  detail::write_double(archive, "lr_cap", tracker().lr_cap());
  detail::write_double(archive, "max_lr", tracker().max_lr());
  detail::write_double(archive, "decay", tracker().decay());
  detail::write_int(archive, "start_products", start_products());
  detail::write_int(archive, "method", static_cast<int64_t>(method()));
  detail::write_string(archive, "seed", std::to_string(seed()));
}

// The buffers belong to a model and stay those of this object.
void PowerMethodSGDOptions::serialize(torch::serialize::InputArchive& archive) {
  const auto number = [&](const char* key) {
    return detail::read_double(archive, detail::kPowerMethodSGD, key);
  };
  const auto count = [&](const char* key,
                         int64_t most = std::numeric_limits<int64_t>::max()) {
    return detail::read_int(archive, detail::kPowerMethodSGD, key, most);
  };
  PowerMethodSGDOptions read = *this;
  read.lr(number("lr")).momentum(number("momentum"));
  read.nesterov(count("nesterov", 1) == 1);
  read.momentum_limit(static_cast<MomentumLimit>(count("momentum_limit", 1)));
  read.weight_decay(number("weight_decay"));
  read.decoupled_weight_decay(count("decoupled_weight_decay", 1) == 1);
  read.tracker()
      .safety(number("safety"))
      .max_interval(count("max_interval"))
      .lr_growth(number("lr_growth"))
      .lr_cap(number("lr_cap"))
      .max_lr(number("max_lr"))
      .decay(number("decay"));
  read.start_products(count("start_products"));
  read.method(static_cast<HessianMethod>(count("method", 3)));
  const auto seed =
      detail::read_string(archive, detail::kPowerMethodSGD, "seed");
  int64_t value = 0;
  const auto* end = seed.data() + seed.size();
  const auto parsed = std::from_chars(seed.data(), end, value);
  TORCH_CHECK(
      parsed.ec == std::errc() && parsed.ptr == end,
      detail::kPowerMethodSGD,
      ": 'seed' of the archive is not an integer");
  read.seed(value);
  detail::check_power_method_options(read);
  *this = read;
}

}  // namespace stepsize
