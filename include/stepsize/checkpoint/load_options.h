#pragma once

#include <stepsize/state/options_from.h>
#include <torch/arg.h>

#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// What of a file load_checkpoint() and CheckpointFolder load. With none of
/// these the file and the Checkpoint must have the same items, which must fit.
///
///     load_checkpoint(path, checkpoint, LoadOptions().only({"model"}));
///
/// Whatever is asked for is loaded whole or not at all: where something of it
/// does not fit, or fails, nothing is changed.
class LoadOptions {
 public:
  /// Names of the items that alone are loaded; the random state and values()
  /// are not. Empty: all.
  TORCH_ARG(std::vector<std::string>, only);
  /// Names of items, of the file or the Checkpoint, that are left out.
  TORCH_ARG(std::vector<std::string>, leave_out);
  /// Names of items of which what fits is loaded: of a module the parameters
  /// and buffers whose name, shape and type are the file's, of others all or
  /// nothing. What does not fit is left as it is, and listed. An item that only
  /// one side has does not fit, and what its own load() refuses, by c10::Error,
  /// does not either.
  TORCH_ARG(std::vector<std::string>, what_fits_of);
  /// The same for all items, and the random state.
  TORCH_ARG(bool, what_fits) = false;

  /// Patterns of the parameters and buffers that alone are loaded, or that are
  /// left out, of all modules: "head.*.bias". `*` stands for any characters,
  /// `?` for one, `[ab]` for one of a set; a pattern that fits the name of a
  /// module inside means all that is in it. Names are those of the program.
  TORCH_ARG(std::vector<std::string>, only_tensors);
  TORCH_ARG(std::vector<std::string>, leave_out_tensors);

 public:
  /// Parameters and buffers whose name in the file begins with `in_file` are
  /// looked for under `here` instead: ("module.", "") takes a prefix away,
  /// ("", "body.") gives one to all. The first that fits a name holds.
  LoadOptions& rename_prefix(
      const std::string& in_file, const std::string& here) {
    renamed_prefixes_.emplace_back(in_file, here);
    return *this;
  }
  const std::vector<std::pair<std::string, std::string>>& renamed_prefixes()
      const {
    return renamed_prefixes_;
  }

  /// Whose options hold, of states that know it: all schedulers, EarlyStopping,
  /// and classes of yours that have `load(InputArchive&, OptionsFrom)`. An
  /// optimizer's are always the file's.
  TORCH_ARG(OptionsFrom, options_from) = OptionsFrom::kMustAgree;

 private:
  std::vector<std::pair<std::string, std::string>> renamed_prefixes_;
};

}  // namespace stepsize
