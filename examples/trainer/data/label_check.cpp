#include "examples/trainer/data/label_check.h"

#include <stdexcept>
#include <string>

namespace stepsize::trainer {

void check_class_count(const char* reader, std::int64_t classes) {
  if (classes < 1 || classes > 256) {
    throw std::invalid_argument(
        std::string(reader) + ": classes must be in 1 .. 256, got " +
        std::to_string(classes));
  }
}

void check_label(
    const std::filesystem::path& path,
    std::int64_t image,
    std::int64_t label,
    std::int64_t classes,
    std::int64_t first) {
  if (label < first || label - first >= classes) {
    throw std::runtime_error(
        path.string() + ": the label of image " + std::to_string(image) +
        " is " + std::to_string(label) + ", expected " + std::to_string(first) +
        " .. " + std::to_string(first + classes - 1));
  }
}

}  // namespace stepsize::trainer
