#pragma once

#include <stepsize/checkpoint/checkpoint.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "csrc/checkpoint/item.h"

namespace stepsize::detail {

/// The inside of a Checkpoint.
struct CheckpointParts {
  std::vector<std::unique_ptr<CheckpointItem>> items;
  std::map<std::string, std::string> values;
  bool random_state = true;
};

}  // namespace stepsize::detail
