#include <ATen/ops/scalar_tensor.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/serialize/archive.h>

#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr char kNoiseScaleOwner[] = "GradientNoiseScale";
constexpr char kNoiseFormatKey[] = "stepsize_noise_scale_format";

using Groups = std::vector<std::vector<at::Tensor>>;

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
  state.count = detail::read_int(archive, kNoiseScaleOwner, key + "_count");
  const auto values = detail::read_doubles(archive, kNoiseScaleOwner, key);
  TORCH_CHECK(
      values.size() == numbers(state).size(),
      kNoiseScaleOwner,
      ": '",
      key,
      "' of the archive has ",
      std::to_string(values.size()),
      " numbers");
  detail::check_finite(kNoiseScaleOwner, key, values);
  state.weight = values[0];
  state.square_weight = values[1];
  state.mean = {values[2], values[3], 0};
  // Archives of 0.1 know nothing of rounding.
  const std::string rounding = key + "_rounding";
  if (c10::IValue value; archive.try_read(rounding, value)) {
    const double trace =
        detail::read_double(archive, kNoiseScaleOwner, rounding);
    detail::check_finite(kNoiseScaleOwner, rounding, {trace});
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
      archive, kNoiseScaleOwner, group_key("sums_", group));
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
      kNoiseScaleOwner,
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
      kNoiseScaleOwner,
      ": the archive holds no meter of this version of the format");
  const auto& options = noise.options_;
  TORCH_CHECK(
      detail::read_int(archive, kNoiseScaleOwner, "micro_batch") ==
              options.micro_batch() &&
          detail::read_double(archive, kNoiseScaleOwner, "decay") ==
              options.decay() &&
          detail::read_int(archive, kNoiseScaleOwner, "num_groups") ==
              noise.num_groups(),
      kNoiseScaleOwner,
      ": the archive is of a meter with other options or groups");
  const auto examples =
      detail::read_ints(archive, kNoiseScaleOwner, "examples");
  for (const int64_t count : examples) {
    detail::check_option(
        count >= 1,
        kNoiseScaleOwner,
        "'examples' of the archive",
        ">= 1",
        count);
  }
  // Archives of 0.1 have updates that begin with their first micro-batch.
  bool in_update = !examples.empty();
  if (c10::IValue value; archive.try_read("in_update", value)) {
    const bool begun =
        detail::read_int(archive, kNoiseScaleOwner, "in_update", 1) == 1;
    TORCH_CHECK(
        begun || !in_update,
        kNoiseScaleOwner,
        ": the archive has micro-batches of an update that has not begun");
    in_update = begun;
  }
  const auto non_finite =
      detail::read_int(archive, kNoiseScaleOwner, "non_finite_updates");
  const auto too_short =
      detail::read_int(archive, kNoiseScaleOwner, "short_updates");
  NoiseScaleAverage total = noise.total_;
  total.set_state(read_average(archive, "total"));
  std::vector<NoiseScaleAverage> averages = noise.averages_;
  Groups norms(averages.size());
  for (std::size_t i = 0; i < averages.size(); ++i) {
    averages[i].set_state(read_average(archive, group_key("group_", i)));
    const auto key = group_key("norms_", i);
    for (const double norm :
         detail::read_doubles(archive, kNoiseScaleOwner, key)) {
      norms[i].push_back(at::scalar_tensor(norm, at::kDouble));
    }
    const bool fits =
        noise.parameters_.empty() || norms[i].size() == examples.size();
    TORCH_CHECK(
        fits,
        kNoiseScaleOwner,
        ": '",
        key,
        "' of the archive does not fit its examples");
  }
  std::vector<at::Tensor> roundings(averages.size());
  if (c10::IValue value; archive.try_read("roundings", value)) {
    const auto found =
        detail::read_doubles(archive, kNoiseScaleOwner, "roundings");
    TORCH_CHECK(
        found.size() == roundings.size(),
        kNoiseScaleOwner,
        ": 'roundings' of the archive does not fit its groups");
    detail::check_finite(kNoiseScaleOwner, "roundings", found);
    for (const double rounding : found) {
      detail::check_option(
          rounding >= 0,
          kNoiseScaleOwner,
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
