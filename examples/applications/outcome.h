// What an application leaves: pictures, and whether it showed what it is to
// show.
#pragma once

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace applications {

/// Writes the picture to the folder that is the second argument, if there is
/// one.
inline void write_picture(
    int argc,
    char** argv,
    const std::string& name,
    const stepsize::LinePlot& plot) {
  if (argc < 3) return;
  const std::filesystem::path folder = argv[2];
  std::filesystem::create_directories(folder);
  stepsize::write_svg((folder / (name + ".svg")).string(), plot);
}

/// Says whether the claim holds, and returns that.
inline bool say(const std::string& claim, bool holds) {
  std::printf("%s: %s\n", claim.c_str(), holds ? "yes" : "no");
  return holds;
}

}  // namespace applications
