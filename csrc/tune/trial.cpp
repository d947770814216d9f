#include <stepsize/tune/trial.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <utility>

namespace stepsize {

Trial::Trial(SearchSpace space, std::vector<double> values, int64_t seed)
    : space_(std::move(space)), values_(std::move(values)), seed_(seed) {
  TORCH_CHECK(
      values_.size() == space_.size(),
      "Trial: there must be one value a number (",
      std::to_string(space_.size()),
      "), got ",
      std::to_string(values_.size()));
}

double Trial::operator[](const std::string& name) const {
  return values_[space_.index_of(name)];
}

bool Trial::report(int64_t step, double loss) {
  TORCH_CHECK(
      step >= 0 && step > last_step_,
      "Trial: step must be >= 0 and beyond the last one (",
      std::to_string(last_step_),
      "), got ",
      std::to_string(step));
  last_step_ = step;
  if (const auto report = report_.lock()) return (*report)(step, loss);
  return std::isfinite(loss);
}

}  // namespace stepsize
