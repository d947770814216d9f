#pragma once

#include <string>

namespace stepsize::tensorboard {

/// Draws an SVG document in its own size, as the bytes of a PNG file. Throws as
/// EventWriter::svg() does.
std::string png_of_svg(const std::string& svg);

/// Whether it can: this was built with librsvg.
bool draws_svg();

}  // namespace stepsize::tensorboard
