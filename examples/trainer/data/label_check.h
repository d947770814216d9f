#pragma once

#include <cstdint>
#include <filesystem>

namespace stepsize::trainer {

/// Throws std::invalid_argument where `classes` does not fit a label of one
/// byte (1 .. 256); `reader` names the class that was asked.
void check_class_count(const char* reader, std::int64_t classes);

/// Throws std::runtime_error naming the file, the image and the label where
/// `label` is not one of `classes` numbers from `first` on.
void check_label(
    const std::filesystem::path& path,
    std::int64_t image,
    std::int64_t label,
    std::int64_t classes,
    std::int64_t first = 0);

}  // namespace stepsize::trainer
