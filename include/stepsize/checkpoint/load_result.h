#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// One line of a LoadResult.
struct LoadNote {
  /// "module 'net'", "the random state".
  std::string item;
  /// "parameter 'fc.weight'", "buffer 'bn.running_mean'"; empty: all of it.
  std::string tensor;
  /// Why it was not loaded; of what was loaded, what is to be known of it.
  std::string reason;
};

/// What load_checkpoint() has made of a file.
struct LoadResult {
  /// Items that were loaded, whole or, where the reason says so, in part.
  std::vector<LoadNote> loaded;
  /// What was not loaded: as asked, or since it does not fit.
  std::vector<LoadNote> left_out;
  /// What was asked for and the file lacks.
  std::vector<LoadNote> not_found;

  /// Whether all was loaded that either side has.
  bool complete() const { return left_out.empty() && not_found.empty(); }
};

/// A few lines of at most 80 columns, where names permit:
///
///     loaded     module 'net': 60 of 62 parameters and buffers
///                counter 'step'
///     left out   module 'net': parameter 'fc.weight': is Float of [10, 64] in
///                  the file, Float of [100, 64] here
///     not found  module 'ema': is not in the file
std::ostream& operator<<(std::ostream& stream, const LoadResult& result);

}  // namespace stepsize
