#pragma once

#include <torch/optim/optimizer.h>

#include <string>
#include <utility>
#include <vector>

namespace stepsize::detail {

/// The options of a group by name, each as a number.
using OptionFields = std::vector<std::pair<std::string, double>>;

/// All of them where the class is one of LibTorch's; of other classes the rate,
/// or nothing where get_lr() throws.
OptionFields option_fields(const torch::optim::OptimizerOptions& options);

/// Sets options by such a list. Returns what does not fit, as the end of a
/// sentence ("the option 'maximize' is unknown here"), or an empty text. Then
/// some may be set.
std::string set_option_fields(
    torch::optim::OptimizerOptions& options, const OptionFields& fields);

}  // namespace stepsize::detail
