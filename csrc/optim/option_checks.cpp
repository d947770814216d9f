#include "csrc/optim/option_checks.h"

#include <cmath>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"

namespace stepsize::detail {

void check_not_negative(
    const std::string& kind, const std::string& option, double value) {
  check_option(
      std::isfinite(value) && value >= 0,
      kind,
      option,
      "finite and >= 0",
      value);
}

void check_share(
    const std::string& kind, const std::string& option, double value) {
  check_option(value >= 0 && value < 1, kind, option, "in [0, 1)", value);
}

void check_clip_options(const std::string& kind, const ClipOptions& clip) {
  check_option(clip.max_norm > 0, kind, "max_norm", "> 0", clip.max_norm);
  check_option(
      clip.norm_type == NormType::kTwo || clip.norm_type == NormType::kInfinity,
      kind,
      "norm_type",
      "kTwo or kInfinity",
      static_cast<int64_t>(clip.norm_type));
  check_option(
      clip.non_finite == NonFiniteGradient::kSkip ||
          clip.non_finite == NonFiniteGradient::kThrow,
      kind,
      "non_finite",
      "kSkip or kThrow",
      static_cast<int64_t>(clip.non_finite));
}

void write_clip_options(
    torch::serialize::OutputArchive& archive, const ClipOptions& clip) {
  write_double(archive, "max_norm", clip.max_norm);
  write_int(archive, "norm_type", static_cast<int64_t>(clip.norm_type));
  write_int(archive, "non_finite", static_cast<int64_t>(clip.non_finite));
}

ClipOptions read_clip_options(
    torch::serialize::InputArchive& archive, const std::string& kind) {
  ClipOptions clip{};
  clip.max_norm = read_double(archive, kind, "max_norm");
  clip.norm_type =
      static_cast<NormType>(read_int(archive, kind, "norm_type", 1));
  clip.non_finite =
      static_cast<NonFiniteGradient>(read_int(archive, kind, "non_finite", 1));
  return clip;
}

}  // namespace stepsize::detail
