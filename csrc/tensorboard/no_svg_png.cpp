#include <stdexcept>

#include "csrc/tensorboard/svg_png.h"

namespace stepsize::tensorboard {

std::string png_of_svg(const std::string& /*svg*/) {
  throw std::runtime_error(
      "EventWriter: svg() draws by librsvg, which was not there when "
      "stepsize::tensorboard was built");
}

bool draws_svg() { return false; }

}  // namespace stepsize::tensorboard
