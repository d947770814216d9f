#pragma once

#include <stepsize/checkpoint/load_options.h>

#include <set>
#include <string>
#include <vector>

namespace stepsize::detail {

/// Which parameters and buffers of the modules are loaded, and by which names.
class TensorChoice {
 public:
  explicit TensorChoice(const LoadOptions& options) : options_(&options) {}

  /// The program's name of what the file has under this one.
  std::string renamed(const std::string& in_file) const;
  /// Whether it is to be loaded, by the program's name.
  bool wants(const std::string& name);
  /// Throws c10::Error, in the name of `kind`, for a pattern that has been the
  /// name of nothing.
  void check_patterns(const std::string& kind) const;

 private:
  bool is_one_of(
      const std::vector<std::string>& patterns, const std::string& name);
  void check_patterns(
      const std::string& kind,
      const char* option,
      const std::vector<std::string>& patterns) const;

  const LoadOptions* options_;
  std::set<std::string> matched_;  // patterns
  std::set<std::string> names_;
};

}  // namespace stepsize::detail
