#include "csrc/tune/search_model.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/tune/expected_improvement.h"
#include "csrc/tune/halton.h"

namespace stepsize::detail {
namespace {

using Rows = std::vector<std::vector<double>>;

at::Tensor matrix_of(const Rows& rows, std::size_t columns) {
  std::vector<double> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(flat, at::kDouble)
      .view({static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns)});
}

std::vector<double> row_of(const at::Tensor& row) {
  const at::Tensor values = row.contiguous();
  const auto* first = values.data_ptr<double>();
  return {first, first + values.numel()};
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Also of numbers whose squares are too large.
double deviation_of(const at::Tensor& targets) {
  const double scale = targets.abs().max().item<double>();
  if (scale == 0) return 0;
  return scale * (targets / scale).std(/*unbiased=*/false).item<double>();
}

at::Tensor halton_rows(
    int64_t count, std::size_t dimensions, std::uint64_t seed) {
  const Halton sequence(dimensions, seed);
  Rows rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(sequence.point(i));
  return matrix_of(rows, dimensions);
}

// Largest distance along an axis to the nearest of some places.
at::Tensor distance_to(const at::Tensor& places, const at::Tensor& others) {
  return (places.unsqueeze(1) - others.unsqueeze(0)).abs().amax(-1).amin(1);
}

}  // namespace

bool SearchModel::can_be_made(
    const std::vector<SearchObservation>& observations) {
  return std::any_of(
      observations.begin(),
      observations.end(),
      [](const SearchObservation& one) {
        return one.loss && std::isfinite(*one.loss);
      });
}

SearchModel::SearchModel(
    const SearchSpace& space,
    const std::vector<SearchObservation>& observations,
    std::size_t first)
    : space_(space) {
  const c10::AutoGradMode no_grad(false);
  std::vector<double> finite;
  std::size_t finite_first = 0;
  for (std::size_t i = 0; i < observations.size(); ++i) {
    const auto& loss = observations[i].loss;
    if (!loss || !std::isfinite(*loss)) continue;
    finite.push_back(*loss);
    if (i < first) ++finite_first;
  }
  TORCH_INTERNAL_ASSERT(!finite.empty());
  is_log_ = *std::min_element(finite.begin(), finite.end()) > 0;
  if (is_log_) {
    for (double& loss : finite) loss = std::log(loss);
  }
  const double best = *std::min_element(finite.begin(), finite.end());
  const double worst = *std::max_element(finite.begin(), finite.end());
  // Of the first trials, as later ones gather around the best: their median
  // says nothing of the space, and what diverged beside the best would count as
  // good. Where none of the first is finite, others must do.
  std::vector<double> early(
      finite.begin(),
      finite.begin() + static_cast<int64_t>(
                           finite_first > 0 ? finite_first : finite.size()));
  const double median = median_of(std::move(early));
  // With half of them at the best, or one alone, the rest says how far.
  double cap =
      median > best ? std::min(worst, median + (median - best)) : worst;
  if (!(cap > best)) {
    cap = best + (is_log_ ? 1 : std::max(1.0, std::abs(best)));
  }

  Rows ended;
  Rows running;
  std::vector<double> targets;
  std::vector<double> variances;
  for (const SearchObservation& one : observations) {
    auto places = space.places_of(one.values);
    if (!one.loss) {
      running.push_back(std::move(places));
      continue;
    }
    ended.push_back(std::move(places));
    const double loss = !std::isfinite(*one.loss) ? cap
                        : is_log_                 ? std::log(*one.loss)
                                                  : *one.loss;
    const double target = std::min(loss, cap);
    double variance = 0;
    if (loss >= cap) {
      // Taken at its word a bound would make of a cliff a slope, up which no
      // trial goes, however near the best lies before it.
      constexpr double kUncertain = 0.25;
      variance = std::pow(kUncertain * (cap - best), 2);
    } else {
      // Of a logarithm, to first order.
      variance =
          is_log_ ? one.variance / (*one.loss * *one.loss) : one.variance;
    }
    targets.push_back(target);
    variances.push_back(std::isfinite(variance) ? variance : 0);
  }
  places_ = matrix_of(ended, space.size());
  running_ = matrix_of(running, space.size());
  targets_ = at::tensor(targets, at::kDouble);
  variances_ = at::tensor(variances, at::kDouble);
  bowl_height_ = deviation_of(targets_);
  varies_ = bowl_height_ > 0;
  if (!varies_) bowl_height_ = 1;
  process_ = std::make_unique<GaussianProcess>(
      places_, targets_ - bowl(places_), variances_);
}

// From 0 in the middle to one deviation of the targets where all numbers are at
// an end. Without it the first proposals go to the ends, of which the process
// knows the least.
at::Tensor SearchModel::bowl(const at::Tensor& places) const {
  return bowl_height_ * (2 * places - 1).square().mean(-1);
}

GaussianProcess::Posterior SearchModel::posterior_at(
    const GaussianProcess& process, const at::Tensor& places) const {
  auto posterior = process.at(places);
  posterior.mean = posterior.mean + bowl(places);
  return posterior;
}

at::Tensor SearchModel::snapped(const at::Tensor& places) const {
  const at::Tensor within = places.clamp(0, 1);
  const auto& numbers = space_.numbers();
  if (std::none_of(numbers.begin(), numbers.end(), [](const auto& number) {
        return number.is_integer;
      })) {
    return within;
  }
  Rows rows;
  for (int64_t i = 0; i < within.size(0); ++i) {
    rows.push_back(space_.places_of(space_.at(row_of(within[i]))));
  }
  return matrix_of(rows, space_.size());
}

std::vector<double> SearchModel::propose(std::uint64_t seed) const {
  const c10::AutoGradMode no_grad(false);
  GaussianProcess process = *process_;
  at::Tensor taken = places_;
  if (running_.size(0) > 0) {
    taken = at::cat({places_, running_});
    process = GaussianProcess(
        taken,
        at::cat({targets_, posterior_at(process, running_).mean}) - bowl(taken),
        at::cat({variances_, at::zeros({running_.size(0)}, at::kDouble)}),
        process_->numbers());
  }
  const at::Tensor means = posterior_at(process, places_).mean;
  const double best = means.min().item<double>();
  const auto improvement = [&](const at::Tensor& places) {
    const auto posterior = posterior_at(process, places);
    constexpr double kLeastVariance = 1e-30;
    at::Tensor value = log_expected_improvement(
        posterior.mean,
        posterior.variance.clamp_min(kLeastVariance).sqrt(),
        best);
    // A trial that has been is no new one, whatever noise is left of it.
    constexpr double kSame = 1e-3;
    constexpr double kNone = -1e300;
    value = at::where(
        distance_to(places, taken) < kSame,
        at::scalar_tensor(kNone, at::kDouble),
        value);
    return at::nan_to_num(value, kNone, 0.0, kNone);
  };

  const auto dimensions = static_cast<int64_t>(space_.size());
  const int64_t wide = 512 * std::min<int64_t>(dimensions + 1, 8);
  std::vector<at::Tensor> candidates = {
      halton_rows(wide, space_.size(), split_mix(seed))};
  const auto order = means.argsort();
  const int64_t centres = std::min<int64_t>(3, order.size(0));
  for (int64_t i = 0; i < centres; ++i) {
    const at::Tensor centre = places_[order[i].item<int64_t>()];
    for (const double width : {0.2, 0.05, 0.01}) {
      candidates.push_back(
          centre +
          width * (2 * halton_rows(64, space_.size(), split_mix(seed)) - 1));
    }
  }
  at::Tensor places = snapped(at::cat(candidates));
  at::Tensor values = improvement(places);
  at::Tensor chosen = places[values.argmax().item<int64_t>()];
  double highest = values.max().item<double>();
  // Downhill from there, in ever smaller steps.
  for (double width = 0.05; width > 1e-4; width /= 2) {
    places = snapped(
        chosen +
        width * (2 * halton_rows(32, space_.size(), split_mix(seed)) - 1));
    values = improvement(places);
    if (values.max().item<double>() > highest) {
      highest = values.max().item<double>();
      chosen = places[values.argmax().item<int64_t>()];
    }
  }
  return space_.at(row_of(chosen));
}

std::vector<double> SearchModel::importance() const {
  const c10::AutoGradMode no_grad(false);
  constexpr int64_t kLevels = 24;
  constexpr int64_t kOthers = 256;
  const std::size_t dimensions = space_.size();
  if (!varies_) return std::vector<double>(dimensions, 0.0);
  const at::Tensor others = halton_rows(kOthers, dimensions, /*seed=*/1);
  const at::Tensor levels =
      (at::arange(kLevels, at::kDouble) + 0.5) / static_cast<double>(kLevels);
  // In proportion to what there is: losses may be small, or nearly the same.
  constexpr double kFlat = 1e-12;
  constexpr double kRoundingError = 1e-14;
  const double flat = std::max(
      kFlat * targets_.var(/*unbiased=*/false).item<double>(),
      std::pow(kRoundingError * targets_.abs().max().item<double>(), 2));
  std::vector<double> shares;
  for (std::size_t j = 0; j < dimensions; ++j) {
    at::Tensor places = others.repeat({kLevels, 1});
    places.select(1, static_cast<int64_t>(j))
        .copy_(levels.repeat_interleave(kOthers));
    const at::Tensor means =
        posterior_at(*process_, places).mean.view({kLevels, kOthers});
    const double whole = means.var(/*unbiased=*/false).item<double>();
    const double alone = means.mean(1).var(/*unbiased=*/false).item<double>();
    shares.push_back(whole > flat ? alone / whole : 0);
  }
  return shares;
}

double SearchModel::loss_of(double target) const {
  return is_log_ ? std::exp(target) : target;
}

SearchCurve SearchModel::curve(
    std::size_t number, const std::vector<double>& values) const {
  const c10::AutoGradMode no_grad(false);
  constexpr int64_t kPlaces = 121;
  constexpr double kBand = 1.959963984540054;
  const auto base = space_.places_of(values);
  Rows rows;
  for (int64_t i = 0; i < kPlaces; ++i) {
    auto row = base;
    row[number] = static_cast<double>(i) / static_cast<double>(kPlaces - 1);
    rows.push_back(std::move(row));
  }
  const auto posterior =
      posterior_at(*process_, matrix_of(rows, space_.size()));
  const auto means = row_of(posterior.mean);
  const auto deviations = row_of(posterior.variance.sqrt());
  SearchCurve curve;
  SearchNumber smooth = space_.numbers()[number];
  smooth.is_integer = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    curve.values.push_back(smooth.at(rows[i][number]));
    curve.means.push_back(loss_of(means[i]));
    curve.lows.push_back(loss_of(means[i] - kBand * deviations[i]));
    curve.highs.push_back(loss_of(means[i] + kBand * deviations[i]));
  }
  return curve;
}

}  // namespace stepsize::detail
