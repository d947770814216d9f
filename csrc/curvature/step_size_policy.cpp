#include <stepsize/curvature/step_size_policy.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "csrc/text/number.h"

namespace stepsize {

void StepSizePolicy::set_numbers(
    const std::vector<std::pair<std::string, double>>& numbers) {
  const auto own = this->numbers();
  for (const auto& [option, value] : numbers) {
    const auto here =
        std::find_if(own.begin(), own.end(), [&, &name = option](auto& number) {
          return number.first == name;
        });
    TORCH_CHECK(here != own.end(), name(), ": there is no option ", option);
    TORCH_CHECK(
        here->second == value ||
            (std::isnan(here->second) && std::isnan(value)),
        name(),
        ": ",
        option,
        " is ",
        detail::number_text(here->second),
        " and cannot become ",
        detail::number_text(value));
  }
}

}  // namespace stepsize
