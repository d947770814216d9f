#pragma once

#include <string>
#include <vector>

namespace stepsize::detail {

/// Whether the pattern is the whole of the parameter's name or of that of a
/// module that it lies in: all up to one of its dots. `*` stands for any
/// characters, `?` for one, `[a-c]` for one of a set and `[!a-c]` for one that
/// is not in it.
bool name_matches(const std::string& pattern, const std::string& name);

/// "; did you mean 'fc'?" or "; there are conv1, bn1, fc", for a pattern that
/// matches none of the names.
std::string near_names(
    const std::string& pattern, const std::vector<std::string>& names);

/// "'a', 'b', 'c' and 4 more"
std::string some_of(const std::vector<std::string>& names);

}  // namespace stepsize::detail
