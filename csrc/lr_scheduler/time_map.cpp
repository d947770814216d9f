#include "csrc/lr_scheduler/time_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace stepsize::detail {

double map_time(const std::vector<RuleLR::Knot>& knots, double t) {
  if (knots.empty() || t <= knots.front().t) return t;
  const auto right = std::upper_bound(
      knots.begin(), knots.end(), t, [](double time, const RuleLR::Knot& knot) {
        return time < knot.t;
      });
  const RuleLR::Knot& a = *(right - 1);
  if (right == knots.end()) return a.u + (t - a.t);
  if (t == a.t) return a.u;
  const double u = a.u + (right->u - a.u) * ((t - a.t) / (right->t - a.t));
  // A rule with jumps at whole times must not see 29.999999999999996 for 30.
  const double whole = std::nearbyint(u);
  const double tolerance =
      8 * std::numeric_limits<double>::epsilon() * std::max(1.0, whole);
  return std::fabs(u - whole) <= tolerance ? whole : u;
}

bool is_time_map(const std::vector<RuleLR::Knot>& knots) {
  for (std::size_t i = 0; i < knots.size(); ++i) {
    if (!std::isfinite(knots[i].t) || !std::isfinite(knots[i].u)) return false;
    if (knots[i].t < 0 || knots[i].u < 0) return false;
    if (i == 0) continue;
    if (knots[i].t <= knots[i - 1].t) return false;
    if (knots[i].u < knots[i - 1].u) return false;
  }
  return true;
}

}  // namespace stepsize::detail
