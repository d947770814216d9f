#pragma once

#include <stepsize/tune/trial.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace stepsize {

/// Makes the trials of a search.
class TrialAccess {
 public:
  static Trial make(
      const SearchSpace& space,
      const std::vector<double>& values,
      int64_t number,
      int64_t repeat,
      int64_t seed,
      const std::shared_ptr<Trial::Report>& report) {
    Trial trial(space, values, seed);
    trial.number_ = number;
    trial.repeat_ = repeat;
    trial.report_ = report;
    return trial;
  }
};

}  // namespace stepsize
