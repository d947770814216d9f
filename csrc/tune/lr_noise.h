#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// The upper median; `values` must not be empty.
double median(std::vector<double> values);

/// The standard deviation of what jumps from point to point: from the median of
/// the second differences, so that neither a straight trend nor a few wild
/// points count. 0 for fewer than three points; those that are not finite are
/// left out.
double noise_of(const std::vector<double>& losses);

/// The same from the mean square, where most second differences are 0, and 0
/// elsewhere: losses that mostly repeat, and differ by a step now and then,
/// have a median that knows nothing of the steps.
double noise_of_few_steps(const std::vector<double>& losses);

/// How many points a local noise is taken from: a window of the fit, eleven at
/// least.
std::size_t noise_reach(int64_t half_width);

/// The noise that a loss at index `at` is judged by: the larger of that of the
/// first `reach` finite losses and that of the `reach` up to it. Losses with
/// noise in proportion to their height have next to none once they are small,
/// and what a divergence scatters comes behind `at`.
double noise_up_to(
    const std::vector<double>& losses, std::size_t at, std::size_t reach);

/// The step between neighbouring numbers among the losses: the largest power of
/// two that divides all of them. A loss in bfloat16 or float32 comes in steps
/// that are coarser than a double's, and less than some of them is rounding. At
/// most a 256th of the largest loss, the step of bfloat16, for whole numbers
/// are no rounding. 0 where no loss is finite.
double resolution_of(const std::vector<double>& losses);

/// The height that a curve starts from: the median of its first finite points,
/// a twentieth of all `planned` ones and three at least.
double start_height(const std::vector<double>& losses, std::size_t planned);

/// How many points start_height() looks at.
std::size_t start_points(std::size_t planned);

}  // namespace stepsize::detail
