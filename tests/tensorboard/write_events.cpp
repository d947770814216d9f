// write_events FOLDER: writes events for read_events.py to read. A run of three
// updates that goes on from the second.

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/tensorboard/event_writer.h>

#include <cstdint>
#include <exception>
#include <iostream>
#include <limits>
#include <string>

namespace {

void write(const std::string& folder, bool has_svg) {
  stepsize::EventWriter first(folder);
  for (std::int64_t step = 1; step <= 3; ++step) {
    first.scalar("loss/train", step, 1.5 / static_cast<double>(step));
  }
  first.scalar("odd", 1, std::numeric_limits<double>::quiet_NaN());
  first.scalar("odd", std::int64_t{1} << 40, -1e300);

  stepsize::EventWriter second(folder, /*purge_step=*/3);
  second.scalar("loss/train", 3, 0.25);
  second.text("notes", 3, "# lr\n\n\xc3\xbc 0.1");
  if (!has_svg) return;
  // Left half red, right half blue.
  second.svg(
      "halves",
      3,
      "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'>"
      "<rect width='20' height='20' fill='#ff0000'/>"
      "<rect x='20' width='20' height='20' fill='#0000ff'/></svg>");
  stepsize::LinePlot plot("a curve");
  plot.line("y", {0, 1, 2}, {0, 1, 4});
  second.svg("plots/curve", 3, stepsize::to_svg(plot));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) return 2;
  write(argv[1], argc < 3 || std::string(argv[2]) != "without-svg");
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
