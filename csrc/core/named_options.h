#pragma once

#include <torch/serialize/archive.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace stepsize::detail {

/// Kind and options of an object by name, each as text, and those of its parts:
/// what a state is compared by when it is loaded.
class NamedOptions {
 public:
  struct Option {
    std::string name;
    std::string value;
    /// What a file stands for that was written before there was the option.
    std::optional<std::string> before;
    std::vector<NamedOptions> parts;  ///< instead of a value
  };

  explicit NamedOptions(std::string kind) : kind_(std::move(kind)) {}
  /// Takes "Kind(name=value, name=[Kind(...), ...])" apart, which is text() of
  /// it. What stands there without a name gets one: "schedule".
  static NamedOptions parse(const std::string& text);

  /// An option that was not there from the start is given what a file without
  /// it stands for.
  void add(
      const std::string& name,
      const std::string& value,
      std::optional<std::string> before = std::nullopt);
  void add_parts(const std::string& name, std::vector<NamedOptions> parts);

  const std::string& kind() const { return kind_; }
  const std::vector<Option>& options() const { return options_; }
  /// None where there is none of that name.
  const Option* find(const std::string& name) const;
  /// "Kind(name=value, name=[Kind(...), ...])"
  std::string text() const;

  void write(torch::serialize::OutputArchive& archive) const;
  /// Throws c10::Error, in the name of `owner`, where it is none.
  static NamedOptions read(
      torch::serialize::InputArchive& archive, const std::string& owner);

 private:
  static NamedOptions read(
      torch::serialize::InputArchive& archive,
      const std::string& owner,
      int depth);
  static NamedOptions parse(const std::string& text, int depth);

  std::string kind_;
  std::vector<Option> options_;
};

/// One option that is not the same in two lists.
struct OptionDifference {
  /// With the way to it: "schedulers[1].gamma".
  std::string name;
  /// Nothing where it is not set.
  std::optional<std::string> saved;
  /// "schedulers[1].gamma is 0.1 in the file, 0.5 here"
  std::string text;
};

std::vector<OptionDifference> option_differences(
    const NamedOptions& saved, const NamedOptions& present);

/// Their texts: "a is 1 in the file, 2 here; b is ...".
std::string texts_of(const std::vector<OptionDifference>& differences);

}  // namespace stepsize::detail
