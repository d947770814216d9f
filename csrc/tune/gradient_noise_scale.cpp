#include <stepsize/tune/gradient_noise_scale.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/core/half.h"
#include "csrc/tune/half_rounding.h"

namespace stepsize {
namespace {

constexpr char kGradientNoiseScale[] = "GradientNoiseScale";
constexpr char kNoiseFormatKey[] = "stepsize_noise_scale_format";

using Groups = std::vector<std::vector<at::Tensor>>;

Groups parameters_of(const torch::optim::Optimizer& optimizer) {
  Groups groups;
  for (const auto& group : optimizer.param_groups()) {
    groups.push_back(group.params());
  }
  return groups;
}

std::size_t checked_count(int64_t num_groups) {
  detail::check_option(
      num_groups >= 1, kGradientNoiseScale, "num_groups", ">= 1", num_groups);
  return static_cast<std::size_t>(num_groups);
}

bool is_finite(const NoiseSample& sample) {
  return std::isfinite(sample.gradient_square) &&
         std::isfinite(sample.noise_trace);
}

// What a micro-batch has added to a group's gradients.
struct Added {
  at::Tensor norm;
  at::Tensor rounding;  // the squared norm of the rounding in it, or undefined
};

// `sums` holds what was there before, but for an update's first micro-batch;
// sums that are not of half precision are overwritten.
Added added_since(
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& sums,
    bool first_of_update) {
  std::vector<at::Tensor> added;
  detail::RoundingSum rounding;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor gradient = parameters[i].grad();
    if (!gradient.defined()) continue;
    const at::ScalarType type = gradient.scalar_type();
    const bool first = first_of_update || !sums[i].defined();
    if (!detail::is_half(type)) {
      added.push_back(first ? gradient : sums[i].sub_(gradient));
      continue;
    }
    // A difference of half precision would be rounded, too.
    const at::Tensor sum = gradient.to(at::kFloat);
    added.push_back(first ? sum : sum.sub(sums[i]));
    if (first) {
      rounding.add_rounded(sum, type);
    } else {
      rounding.add_terms(added.back(), sum, type);
    }
  }
  return {global_norm(added), rounding.square()};
}

void copy_gradients(
    const std::vector<at::Tensor>& parameters, std::vector<at::Tensor>& sums) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor gradient = parameters[i].grad();
    if (!gradient.defined()) {
      sums[i] = at::Tensor();
    } else if (
        sums[i].defined() && sums[i].sizes() == gradient.sizes() &&
        sums[i].scalar_type() == gradient.scalar_type() &&
        sums[i].device() == gradient.device()) {
      sums[i].copy_(gradient);
    } else {
      sums[i] = gradient.detach().clone();
    }
  }
}

double square_of(const at::Tensor& norm) {
  const double value = norm.item().toDouble();
  return value * value;
}

}  // namespace

// What the micro-batches of an update tell, a list entry a group.
struct GradientNoiseScale::Sums {
  double count = 0;
  double inverse_sizes = 0;
  std::vector<double> parts;  // sums of the squares of their norms
  std::vector<double> whole;  // squares of the norms of their sums
  // What the rounding of the gradients adds to each of them.
  std::vector<double> rounding;
};

GradientNoiseScale::GradientNoiseScale(
    Groups parameters,
    std::size_t num_groups,
    const GradientNoiseScaleOptions& options)
    : options_(options), parameters_(std::move(parameters)), total_(1) {
  detail::check_option(
      options.micro_batch() >= 1,
      kGradientNoiseScale,
      "micro_batch",
      ">= 1",
      options.micro_batch());
  detail::check_option(
      options.decay() > 0 && options.decay() <= 1,
      kGradientNoiseScale,
      "decay",
      "in (0, 1]",
      options.decay());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    sums_.emplace_back(parameters_[i].size());
    for (std::size_t j = 0; j < parameters_[i].size(); ++j) {
      TORCH_CHECK(
          parameters_[i][j].defined(),
          kGradientNoiseScale,
          ": parameters must be defined; number ",
          j,
          " of group ",
          i,
          " is not");
    }
  }
  norms_.resize(num_groups);
  roundings_.resize(num_groups);
  averages_.assign(num_groups, NoiseScaleAverage(options.decay()));
  total_ = NoiseScaleAverage(options.decay());
}

GradientNoiseScale::GradientNoiseScale(
    Groups groups, const GradientNoiseScaleOptions& options)
    : GradientNoiseScale(
          groups, checked_count(static_cast<int64_t>(groups.size())), options) {
}

GradientNoiseScale::GradientNoiseScale(
    const torch::optim::Optimizer& optimizer,
    const GradientNoiseScaleOptions& options)
    : GradientNoiseScale(parameters_of(optimizer), options) {}

GradientNoiseScale GradientNoiseScale::of_ranks(
    int64_t num_groups, const GradientNoiseScaleOptions& options) {
  return GradientNoiseScale({}, checked_count(num_groups), options);
}

void GradientNoiseScale::check_gradients() const {
  TORCH_CHECK(
      !parameters_.empty(),
      kGradientNoiseScale,
      ": made by of_ranks(), it watches no parameters: use add_ranks()");
  const bool first = examples_.empty();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    for (std::size_t j = 0; j < parameters_[i].size(); ++j) {
      const at::Tensor gradient = parameters_[i][j].grad();
      const at::Tensor& sum = sums_[i][j];
      const auto check = [&](bool holds, const char* rule) {
        TORCH_CHECK(
            holds,
            kGradientNoiseScale,
            ": the gradient of parameter ",
            j,
            " of group ",
            i,
            " ",
            rule);
      };
      if (gradient.defined()) {
        check(
            gradient.layout() == at::kStrided &&
                at::isFloatingType(gradient.scalar_type()),
            "must be dense and of a floating type");
      }
      if (first || !sum.defined()) continue;
      check(
          gradient.defined(),
          "has gone in the midst of an update: call finish_update() or "
          "discard_update() first");
      check(
          gradient.sizes() == sum.sizes() &&
              gradient.scalar_type() == sum.scalar_type() &&
              gradient.device() == sum.device(),
          "has changed its shape, type or device in the midst of an update");
    }
  }
}

void GradientNoiseScale::begin_update() {
  TORCH_CHECK(
      !in_update_,
      kGradientNoiseScale,
      ": begin_update() in the midst of an update of ",
      examples_.size(),
      " micro-batches: call finish_update() or discard_update() first");
  in_update_ = true;
}

void GradientNoiseScale::check_begun(const char* called) const {
  TORCH_CHECK(
      in_update_,
      kGradientNoiseScale,
      ": ",
      called,
      " outside an update: call begin_update() first");
}

void GradientNoiseScale::add_micro_batch() {
  add_micro_batch(options_.micro_batch());
}

void GradientNoiseScale::add_micro_batch(int64_t examples) {
  detail::check_option(
      examples >= 1, kGradientNoiseScale, "examples", ">= 1", examples);
  check_gradients();
  check_begun("add_micro_batch()");
  const at::NoGradGuard no_grad;
  const bool first = examples_.empty();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Added added = added_since(parameters_[i], sums_[i], first);
    norms_[i].push_back(added.norm);
    if (added.rounding.defined()) {
      roundings_[i] =
          roundings_[i].defined()
              ? roundings_[i].to(added.rounding.device()).add(added.rounding)
              : added.rounding;
    }
    copy_gradients(parameters_[i], sums_[i]);
  }
  examples_.push_back(examples);
  marks_ = marks();
}

// What tells whether somebody has written to a gradient.
std::vector<std::pair<const void*, uint32_t>> GradientNoiseScale::marks()
    const {
  std::vector<std::pair<const void*, uint32_t>> all;
  for (const auto& group : parameters_) {
    for (const at::Tensor& parameter : group) {
      const at::Tensor& grad = parameter.grad();
      const auto* tensor =
          grad.defined() ? grad.unsafeGetTensorImpl() : nullptr;
      all.emplace_back(
          tensor,
          tensor != nullptr ? tensor->version_counter().current_version() : 0);
    }
  }
  return all;
}

// Whether the gradients are not what the meter has seen of them.
bool GradientNoiseScale::gradients_differ() const {
  const auto now = marks();
  if (!examples_.empty()) return now != marks_;
  return std::any_of(now.begin(), now.end(), [](const auto& mark) {
    return mark.first != nullptr;
  });
}

void GradientNoiseScale::discard_update() {
  for (auto& norms : norms_) norms.clear();
  for (auto& rounding : roundings_) rounding.reset();
  examples_.clear();
  in_update_ = false;
}

bool GradientNoiseScale::finish_update(double factor) {
  detail::check_option(
      std::isfinite(factor) && factor > 0,
      kGradientNoiseScale,
      "factor",
      "finite and > 0",
      factor);
  check_begun("finish_update()");
  Sums sums = sums_so_far();
  for (std::size_t i = 0; i < norms_.size(); ++i) {
    sums.whole.push_back(sums.count < 2 ? 0 : square_of(global_norm(sums_[i])));
  }
  discard_update();
  return add_update(sums, factor);
}

bool GradientNoiseScale::finish_update(Reduction& reduction, double factor) {
  RankShare share;
  share.failure = reduction.attempt([&] {
    detail::check_option(
        std::isfinite(factor) && factor > 0,
        kGradientNoiseScale,
        "factor",
        "finite and > 0",
        factor);
    check_gradients();
    check_begun("finish_update()");
  });
  Sums sums = sums_so_far();
  share.numbers = {
      sums.count, sums.inverse_sizes, gradients_differ() ? 1.0 : 0.0};
  for (const double parts : sums.parts) share.numbers.push_back(parts);
  for (const double rounding : sums.rounding) share.numbers.push_back(rounding);
  share.common = {
      {"factor", factor},
      {"micro_batch", static_cast<double>(options_.micro_batch())},
      {"decay", options_.decay()}};
  const RankMeans means = average({}, share, reduction);
  std::vector<at::Tensor> all;
  for (const auto& group : parameters_) {
    all.insert(all.end(), group.begin(), group.end());
  }
  RankMeans seen;
  const bool differs = means.numbers[2] > 0;
  if (differs) {
    // Clipped since, or left over from another update: the meter goes by its
    // own sums.
    RankShare own;
    for (const auto& group : sums_) {
      for (const at::Tensor& sum : group) {
        own.tensors.push_back(examples_.empty() ? at::Tensor() : sum);
      }
    }
    seen = average(all, own, reduction);
  }
  average_gradients(all, reduction);
  auto next = seen.tensors.begin();
  // From means to sums.
  const auto ranks = static_cast<double>(reduction.world_size());
  sums.count = std::round(ranks * means.numbers[0]);
  sums.inverse_sizes = ranks * means.numbers[1];
  for (std::size_t i = 0; i < sums.parts.size(); ++i) {
    sums.parts[i] = ranks * means.numbers[3 + i];
    sums.rounding[i] = ranks * means.numbers[3 + sums.parts.size() + i];
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : parameters_[i]) {
      const at::Tensor& gradient = differs ? *next++ : parameter.grad();
      if (gradient.defined()) gradients.push_back(gradient);
    }
    // The last bit may differ where processors do.
    const double whole =
        gradients.empty()
            ? 0
            : ranks * ranks *
                  (square_of(global_norm(gradients)) -
                   (ranks > 1 ? detail::rounding_of(gradients) : 0));
    sums.whole.push_back(reduction.mean(whole));
  }
  discard_update();
  return add_update(sums, factor);
}

GradientNoiseScale::Sums GradientNoiseScale::sums_so_far() const {
  Sums sums;
  sums.count = static_cast<double>(examples_.size());
  for (const int64_t examples : examples_) {
    sums.inverse_sizes += 1 / static_cast<double>(examples);
  }
  for (const auto& norms : norms_) {
    double& parts = sums.parts.emplace_back(0.0);
    for (const at::Tensor& norm : norms) parts += square_of(norm);
  }
  for (const at::Tensor& rounding : roundings_) {
    sums.rounding.push_back(
        rounding.defined() ? rounding.item().toDouble() : 0.0);
  }
  return sums;
}

// For k micro-batches of any sizes b_i, the sum of which is the gradient:
// E parts = k |G|^2 + tr S sum(1 / b_i) + rounding, and E whole = k^2 |G|^2 +
// the same.
bool GradientNoiseScale::add_update(const Sums& sums, double factor) {
  if (sums.count < 2) {
    ++short_updates_;
    return false;
  }
  const double unit = factor * factor;
  std::vector<NoiseSample> samples;
  for (std::size_t i = 0; i < sums.parts.size(); ++i) {
    const double gradient =
        (sums.whole[i] - sums.parts[i]) / (sums.count * (sums.count - 1));
    const double rounding = sums.rounding[i] / sums.inverse_sizes;
    const double noise =
        (sums.parts[i] - sums.count * gradient) / sums.inverse_sizes - rounding;
    samples.push_back({gradient / unit, noise / unit, rounding / unit});
  }
  return add_samples(samples);
}

bool GradientNoiseScale::add_ranks(const std::vector<RankSquares>& groups) {
  TORCH_CHECK(
      groups.size() == averages_.size(),
      kGradientNoiseScale,
      ": ranks must tell of ",
      averages_.size(),
      " groups, got ",
      groups.size());
  TORCH_CHECK(
      !in_update_,
      kGradientNoiseScale,
      ": ranks in the midst of an update of micro-batches: call "
      "finish_update() or discard_update() first");
  std::vector<NoiseSample> samples;
  for (const RankSquares& group : groups) {
    TORCH_CHECK(
        group.squares.size() == groups.front().squares.size(),
        kGradientNoiseScale,
        ": every group must tell of the same number of ranks, got ",
        groups.front().squares.size(),
        " and ",
        group.squares.size());
    samples.push_back(
        noise_sample(group.squares, group.mean_square, options_.micro_batch()));
  }
  return add_samples(samples);
}

bool GradientNoiseScale::add_samples(const std::vector<NoiseSample>& samples) {
  NoiseSample sum{0, 0};
  for (const NoiseSample& sample : samples) {
    sum.gradient_square += sample.gradient_square;
    sum.noise_trace += sample.noise_trace;
    sum.rounding_trace += sample.rounding_trace;
  }
  // An Inf or a NaN of any group is one of the sum.
  if (!is_finite(sum)) {
    ++non_finite_updates_;
    return false;
  }
  for (std::size_t i = 0; i < samples.size(); ++i) averages_[i].add(samples[i]);
  total_.add(sum);
  return true;
}

NoiseScale GradientNoiseScale::group(int64_t index) const {
  detail::check_option(
      index >= 0 && index < num_groups(),
      kGradientNoiseScale,
      "group",
      "in [0, " + std::to_string(num_groups()) + ")",
      index);
  return averages_[static_cast<std::size_t>(index)].value();
}

// The archive.

namespace {

std::vector<double> numbers(const NoiseScaleAverage::State& state) {
  return {
      state.weight,
      state.square_weight,
      state.mean.gradient_square,
      state.mean.noise_trace,
      state.gradient_variance,
      state.noise_variance,
      state.covariance};
}

void write_average(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const NoiseScaleAverage& average) {
  detail::write_int(archive, key + "_count", average.state().count);
  detail::write_doubles(archive, key, numbers(average.state()));
  detail::write_double(
      archive, key + "_rounding", average.state().mean.rounding_trace);
}

NoiseScaleAverage::State read_average(
    torch::serialize::InputArchive& archive, const std::string& key) {
  NoiseScaleAverage::State state;
  state.count = detail::read_int(archive, kGradientNoiseScale, key + "_count");
  const auto values = detail::read_doubles(archive, kGradientNoiseScale, key);
  TORCH_CHECK(
      values.size() == numbers(state).size(),
      kGradientNoiseScale,
      ": '",
      key,
      "' of the archive has ",
      std::to_string(values.size()),
      " numbers");
  detail::check_finite(kGradientNoiseScale, key, values);
  state.weight = values[0];
  state.square_weight = values[1];
  state.mean = {values[2], values[3], 0};
  // Archives of 0.1 know nothing of rounding.
  const std::string rounding = key + "_rounding";
  if (c10::IValue value; archive.try_read(rounding, value)) {
    const double trace =
        detail::read_double(archive, kGradientNoiseScale, rounding);
    detail::check_finite(kGradientNoiseScale, rounding, {trace});
    state.mean.rounding_trace = trace;
  }
  state.gradient_variance = values[4];
  state.noise_variance = values[5];
  state.covariance = values[6];
  return state;
}

std::string group_key(const char* name, std::size_t group) {
  return name + std::to_string(group);
}

std::vector<at::Tensor> read_sums(
    torch::serialize::InputArchive& archive,
    std::size_t group,
    const std::vector<at::Tensor>& parameters) {
  auto sums = detail::read_tensors(
      archive, kGradientNoiseScale, group_key("sums_", group));
  bool fits = sums.size() == parameters.size();
  for (std::size_t i = 0; fits && i < sums.size(); ++i) {
    if (!sums[i].defined()) continue;
    fits = sums[i].sizes() == parameters[i].sizes() &&
           sums[i].scalar_type() == parameters[i].scalar_type();
    // A tensor of its own: the archive's memory is not to be written.
    sums[i] = sums[i].to(parameters[i].device()).clone();
  }
  TORCH_CHECK(
      fits,
      kGradientNoiseScale,
      ": the archive does not fit the parameters of group ",
      group);
  return sums;
}

}  // namespace

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive, const GradientNoiseScale& noise) {
  detail::write_int(archive, kNoiseFormatKey, 1);
  detail::write_int(archive, "micro_batch", noise.options_.micro_batch());
  detail::write_double(archive, "decay", noise.options_.decay());
  detail::write_int(archive, "num_groups", noise.num_groups());
  detail::write_ints(archive, "examples", noise.examples_);
  detail::write_int(archive, "in_update", noise.in_update_ ? 1 : 0);
  detail::write_int(archive, "non_finite_updates", noise.non_finite_updates_);
  detail::write_int(archive, "short_updates", noise.short_updates_);
  write_average(archive, "total", noise.total_);
  for (std::size_t i = 0; i < noise.averages_.size(); ++i) {
    write_average(archive, group_key("group_", i), noise.averages_[i]);
    std::vector<double> norms;
    for (const at::Tensor& norm : noise.norms_[i]) {
      norms.push_back(norm.item().toDouble());
    }
    detail::write_doubles(archive, group_key("norms_", i), norms);
  }
  std::vector<double> roundings;
  for (const at::Tensor& rounding : noise.roundings_) {
    roundings.push_back(rounding.defined() ? rounding.item().toDouble() : 0);
  }
  detail::write_doubles(archive, "roundings", roundings);
  // Between updates the sums are of no use.
  const bool midst = !noise.examples_.empty();
  for (std::size_t i = 0; i < noise.sums_.size(); ++i) {
    detail::write_tensors(
        archive,
        group_key("sums_", i),
        midst ? noise.sums_[i]
              : std::vector<at::Tensor>(noise.sums_[i].size()));
  }
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, GradientNoiseScale& noise) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kNoiseFormatKey, format) && format.isInt() &&
          format.toInt() == 1,
      kGradientNoiseScale,
      ": the archive holds no meter of this version of the format");
  const auto& options = noise.options_;
  TORCH_CHECK(
      detail::read_int(archive, kGradientNoiseScale, "micro_batch") ==
              options.micro_batch() &&
          detail::read_double(archive, kGradientNoiseScale, "decay") ==
              options.decay() &&
          detail::read_int(archive, kGradientNoiseScale, "num_groups") ==
              noise.num_groups(),
      kGradientNoiseScale,
      ": the archive is of a meter with other options or groups");
  const auto examples =
      detail::read_ints(archive, kGradientNoiseScale, "examples");
  for (const int64_t count : examples) {
    detail::check_option(
        count >= 1,
        kGradientNoiseScale,
        "'examples' of the archive",
        ">= 1",
        count);
  }
  // Archives of 0.1 have updates that begin with their first micro-batch.
  bool in_update = !examples.empty();
  if (c10::IValue value; archive.try_read("in_update", value)) {
    const bool begun =
        detail::read_int(archive, kGradientNoiseScale, "in_update", 1) == 1;
    TORCH_CHECK(
        begun || !in_update,
        kGradientNoiseScale,
        ": the archive has micro-batches of an update that has not begun");
    in_update = begun;
  }
  const auto non_finite =
      detail::read_int(archive, kGradientNoiseScale, "non_finite_updates");
  const auto too_short =
      detail::read_int(archive, kGradientNoiseScale, "short_updates");
  NoiseScaleAverage total = noise.total_;
  total.set_state(read_average(archive, "total"));
  std::vector<NoiseScaleAverage> averages = noise.averages_;
  Groups norms(averages.size());
  for (std::size_t i = 0; i < averages.size(); ++i) {
    averages[i].set_state(read_average(archive, group_key("group_", i)));
    const auto key = group_key("norms_", i);
    for (const double norm :
         detail::read_doubles(archive, kGradientNoiseScale, key)) {
      norms[i].push_back(at::scalar_tensor(norm, at::kDouble));
    }
    const bool fits =
        noise.parameters_.empty() || norms[i].size() == examples.size();
    TORCH_CHECK(
        fits,
        kGradientNoiseScale,
        ": '",
        key,
        "' of the archive does not fit its examples");
  }
  std::vector<at::Tensor> roundings(averages.size());
  if (c10::IValue value; archive.try_read("roundings", value)) {
    const auto found =
        detail::read_doubles(archive, kGradientNoiseScale, "roundings");
    TORCH_CHECK(
        found.size() == roundings.size(),
        kGradientNoiseScale,
        ": 'roundings' of the archive does not fit its groups");
    detail::check_finite(kGradientNoiseScale, "roundings", found);
    for (const double rounding : found) {
      detail::check_option(
          rounding >= 0,
          kGradientNoiseScale,
          "'roundings' of the archive",
          ">= 0",
          rounding);
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i] == 0) continue;
      roundings[i] = at::scalar_tensor(found[i], at::kDouble);
    }
  }
  Groups sums;
  for (std::size_t i = 0; i < noise.parameters_.size(); ++i) {
    sums.push_back(read_sums(archive, i, noise.parameters_[i]));
  }
  noise.examples_ = examples;
  noise.in_update_ = in_update;
  noise.non_finite_updates_ = non_finite;
  noise.short_updates_ = too_short;
  noise.total_ = total;
  noise.averages_ = std::move(averages);
  noise.norms_ = std::move(norms);
  noise.roundings_ = std::move(roundings);
  noise.sums_ = std::move(sums);
  return archive;
}

}  // namespace stepsize
