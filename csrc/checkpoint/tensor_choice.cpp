#include "csrc/checkpoint/tensor_choice.h"

#include <c10/util/Exception.h>

#include "csrc/optim/name_patterns.h"

namespace stepsize::detail {

std::string TensorChoice::renamed(const std::string& in_file) const {
  for (const auto& [from, to] : options_->renamed_prefixes()) {
    if (in_file.rfind(from, 0) == 0) return to + in_file.substr(from.size());
  }
  return in_file;
}

bool TensorChoice::wants(const std::string& name) {
  names_.insert(name);
  // Both lists are looked at, so that each pattern is known to be of use.
  const bool is_left_out = is_one_of(options_->leave_out_tensors(), name);
  const bool is_named = is_one_of(options_->only_tensors(), name);
  return !is_left_out && (is_named || options_->only_tensors().empty());
}

bool TensorChoice::is_one_of(
    const std::vector<std::string>& patterns, const std::string& name) {
  bool found = false;
  for (const std::string& pattern : patterns) {
    if (!name_matches(pattern, name)) continue;
    matched_.insert(pattern);
    found = true;
  }
  return found;
}

void TensorChoice::check_patterns(const std::string& kind) const {
  check_patterns(kind, "only_tensors", options_->only_tensors());
  check_patterns(kind, "leave_out_tensors", options_->leave_out_tensors());
}

void TensorChoice::check_patterns(
    const std::string& kind,
    const char* option,
    const std::vector<std::string>& patterns) const {
  for (const std::string& pattern : patterns) {
    TORCH_CHECK(
        matched_.count(pattern) > 0,
        kind,
        ": ",
        option,
        ": '",
        pattern,
        "' is the name of no parameter or buffer that is loaded",
        near_names(pattern, {names_.begin(), names_.end()}));
  }
}

}  // namespace stepsize::detail
