#include <stepsize/curvature/curvature_status.h>

namespace stepsize {

const char* to_string(CurvatureStatus status) {
  switch (status) {
    case CurvatureStatus::kConverged:
      return "converged";
    case CurvatureStatus::kMaxIterations:
      return "max iterations";
    case CurvatureStatus::kInvariantSubspace:
      return "invariant subspace";
    case CurvatureStatus::kZeroOperator:
      return "zero operator";
    case CurvatureStatus::kNotFinite:
      return "not finite";
  }
  return "unknown";
}

}  // namespace stepsize
