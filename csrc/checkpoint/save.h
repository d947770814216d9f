#pragma once

#include <stepsize/checkpoint/checkpoint.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace stepsize::detail {

/// save_checkpoint(), under the name of `kind`, with what a folder adds.
/// `before_rename` is called when all of the file has reached the disk and only
/// its name is to be given to it.
void save(
    const std::string& kind,
    const std::string& path,
    const Checkpoint& checkpoint,
    std::optional<int64_t> step,
    std::optional<double> metric,
    const std::function<void()>& before_rename = {});

struct Loaded {
  std::optional<int64_t> step;  ///< the file's
  LoadResult result;
};

/// load_checkpoint(), under the name of `kind`. A file that is damaged throws
/// CheckpointDamage.
Loaded load(
    const std::string& kind,
    const std::string& path,
    Checkpoint& checkpoint,
    const LoadOptions& options);

}  // namespace stepsize::detail
