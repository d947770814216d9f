#include "csrc/core/check.h"

#include <c10/util/Exception.h>

namespace stepsize::detail {

void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    double value) {
  TORCH_CHECK(
      holds,
      kind,
      ": ",
      option,
      " must be ",
      rule,
      ", got ",
      number_text(value));
}

void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    int64_t value) {
  TORCH_CHECK(
      holds,
      kind,
      ": ",
      option,
      " must be ",
      rule,
      ", got ",
      std::to_string(value));
}

}  // namespace stepsize::detail
