#include <stepsize/optim/clip_rule.h>

#include <c10/util/Exception.h>

namespace stepsize {

void ClipRule::restore(const std::vector<double>& state) {
  TORCH_CHECK(state.empty(), name(), ": it has no state to be restored");
}

}  // namespace stepsize
