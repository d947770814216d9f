#include "lab.h"

#include <ATen/Parallel.h>
#include <stepsize/report/svg.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <utility>

#include "images.h"

namespace stepsize::lab {
namespace {

std::string text(double value, const char* format = "%.6g") {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

}  // namespace

Lab::Lab(const std::string& title, std::string folder)
    : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  std::printf("%s\n\n", title.c_str());
  row("", "theory says", "was measured", "");
}

void Lab::row(
    const std::string& what,
    const std::string& theory,
    const std::string& measured,
    const std::string& verdict) {
  std::printf(
      "%-37s %-25s %-12s %s\n",
      what.c_str(),
      theory.c_str(),
      measured.c_str(),
      verdict.c_str());
  std::fflush(stdout);
}

void Lab::expect_near(
    const std::string& what, double theory, double measured, double tolerance) {
  const bool holds = std::abs(measured - theory) <= tolerance;
  all_hold_ = all_hold_ && holds;
  row(what,
      text(theory) + " +- " + text(tolerance, "%.2g"),
      text(measured),
      holds ? "ok" : "OFF by " + text(measured - theory, "%.2g"));
}

void Lab::expect_between(
    const std::string& what, double lo, double hi, double measured) {
  const bool holds = lo <= measured && measured <= hi;
  all_hold_ = all_hold_ && holds;
  row(what,
      text(lo, "%.5g") + " to " + text(hi, "%.5g"),
      text(measured),
      holds ? "ok" : "OFF");
}

void Lab::note(const std::string& what, double measured) {
  row(what, "-", text(measured), "");
}

void Lab::draw(const std::string& name, const LinePlot& plot) const {
  const auto path = std::filesystem::path(folder_) / (name + ".svg");
  write_svg(path.string(), plot);
  std::printf("\n%s\n", path.string().c_str());
}

int run(
    int argc,
    char** argv,
    const std::string& title,
    const std::function<void(Lab&)>& experiment) {
  const std::string folder = argc == 2 ? argv[1] : ".";
  if (argc > 2 || folder.empty() || folder.front() == '-') {
    std::fprintf(stderr, "usage: %s [OUT_DIR]\n", argv[0]);
    return 2;
  }
  try {
    at::set_num_threads(1);
    Lab lab(title, folder);
    experiment(lab);
    if (!lab.all_hold()) {
      std::fprintf(stderr, "%s: theory and measurement differ\n", argv[0]);
    }
    return lab.all_hold() ? 0 : 1;
  } catch (const MissingData& missing) {
    std::fprintf(stderr, "%s: skipped: %s\n", argv[0], missing.what());
    return 77;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}

Extremes extremes(const std::vector<double>& values) {
  Extremes found{values.at(0), values.at(0)};
  for (const double value : values) {
    if (std::isnan(value)) {
      return {value, value};
    }
    found.least = std::min(found.least, value);
    found.most = std::max(found.most, value);
  }
  return found;
}

double update(
    torch::optim::Optimizer& optimizer,
    const std::function<at::Tensor()>& loss) {
  const at::Tensor value = optimizer.step([&] {
    optimizer.zero_grad();
    at::Tensor fresh = loss();
    fresh.backward();
    return fresh;
  });
  return value.item<double>();
}

}  // namespace stepsize::lab
