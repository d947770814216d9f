// Draws every schedule of the library: the pictures of docs/schedules.md.
//
//   schedule_gallery OUTDIR   writes one SVG file a picture into OUTDIR
//   schedule_gallery --list   prints "picture<TAB>schedule", one line a curve

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/schedule/parse.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

struct Picture {
  std::string name;
  std::string title;
  double last_step;
  std::vector<std::string> texts;
};

// The run that the texts are resolved against.
constexpr double kRunLength = 1000;
constexpr double kStepsPerEpoch = 100;

std::vector<Picture> warmups_and_falls() {
  return {
      {"overview",
       "Four schedules of a run of 1000 steps",
       1000,
       {"warmup 10% > cosine to 0.1",
        "wsd 5% 70% 25% sqrt",
        "one_cycle",
        "warmup 50 > inverse_sqrt 50"}},
      {"warmup",
       "Warm-ups over 100 steps",
       120,
       {"warmup 100",
        "warmup 100 cosine",
        "warmup 100 exponential",
        "warmup 100 sqrt"}},
      {"cooldown",
       "Cooldowns over 100 steps",
       120,
       {"cooldown 100",
        "cooldown 100 cosine",
        "cooldown 100 sqrt",
        "cooldown 100 square",
        "cooldown 100 exponential to 0.01"}},
      {"falls",
       "Falls over a whole run",
       1000,
       {"linear 1000",
        "cosine 1000",
        "polynomial 1000 power 2",
        "geometric 1000 to 0.01",
        "rex 1000",
        "tanh 1000"}},
      {"cosine_k",
       "Cosine with k-decay",
       1000,
       {"cosine 1000 k 0.5",
        "cosine 1000",
        "cosine 1000 k 2",
        "cosine 1000 k 4",
        "cosine 1000 to 0.2"}},
      {"polynomial_tanh",
       "Polynomials and the hyperbolic tangent",
       1000,
       {"polynomial 1000 power 0.5",
        "polynomial 1000 power 2",
        "polynomial 1000 power 4 to 0.1",
        "tanh 1000 lower -3 upper 3",
        "tanh 1000"}},
  };
}

std::vector<Picture> decays_and_cycles() {
  return {
      {"decays",
       "Decays",
       1000,
       {"step 250 gamma 0.5",
        "multi_step 500 750 gamma 0.3",
        "exponential 0.997",
        "inverse_time 1 every 100",
        "inverse_time 1 every 100 staircase"}},
      {"inverse_sqrt",
       "Inverse square root and Noam",
       1000,
       {"warmup 50 > inverse_sqrt 50",
        "warmup 200 > inverse_sqrt 200",
        "noam 100 model_size 400 scale 200"}},
      {"restarts",
       "Cosine with warm restarts (SGDR)",
       1000,
       {"cosine_restarts 100 stretch 2",
        "cosine_restarts 250 decay 0.7 cycles 3 to 0.05"}},
      {"triangular",
       "Triangular cycles",
       1000,
       {"triangular 125",
        "triangular2 125",
        "exp_range 125 gamma 0.998 from 0.1",
        "triangular 50 down 450 from 0"}},
      {"one_cycle",
       "One cycle",
       1000,
       {"one_cycle 1000",
        "one_cycle 1000 linear",
        "one_cycle 1000 three_phase",
        "one_cycle 1000 pct 0.1 div 5"}},
      {"wsd",
       "Warm-up, stable, decay",
       1000,
       {"wsd 50 650 300",
        "wsd 50 650 300 cosine",
        "wsd 50 650 300 sqrt",
        "wsd 50 650 300 square to 0.1",
        "wsd 50 650 300 exponential to 0.01"}},
      {"recipes",
       "Other recipes of papers",
       1000,
       {"tri_stage 100 400 500",
        "flat_cosine 1000",
        "slanted_triangular 1000"}},
  };
}

std::vector<Picture> samples_and_combinators() {
  return {
      {"piecewise",
       "Through given points",
       1000,
       {"piecewise 0:0.1 200:1 600:0.4 1000:0",
        "piecewise 0:0.1 200:1 600:0.4 1000:0 cosine"}},
      {"noise",
       "Seeded noise on a cosine",
       1000,
       {"cosine 1000 * noise 0.1 seed 7 every 10", "cosine 1000"}},
      {"repeat",
       "Repeating a schedule",
       1000,
       {"(warmup 25 > cosine 225) repeat 4 decay 0.7",
        "linear 140 to 0.2 repeat 3 stretch 2"}},
      {"time",
       "Cutting, moving and stretching in time",
       1000,
       {"cosine 400",
        "cosine 400 for 200",
        "cosine 400 shift 300",
        "cosine 400 stretch_to 1000"}},
      {"clamp_product",
       "Clamping and multiplying",
       1000,
       {"cosine 1000 clamp 0.2 0.8",
        "warmup 200 * cosine 1000",
        "constant 0.5 * triangular 125"}},
  };
}

std::vector<Picture> all_pictures() {
  std::vector<Picture> pictures;
  for (const auto& part :
       {warmups_and_falls(), decays_and_cycles(), samples_and_combinators()}) {
    pictures.insert(pictures.end(), part.begin(), part.end());
  }
  return pictures;
}

stepsize::LinePlot draw(const Picture& picture) {
  stepsize::ParseContext context;
  context.run_length = kRunLength;
  context.steps_per_epoch = kStepsPerEpoch;
  stepsize::LinePlot plot(picture.title);
  plot.x_label("step").y_label("factor of the base rate");
  // About as many points as the picture has columns of pixels.
  const double spacing = picture.last_step / 500;
  double top = 1;
  for (const std::string& text : picture.texts) {
    const stepsize::Schedule schedule = stepsize::parse(text, context);
    std::vector<double> times;
    std::vector<double> factors;
    for (int i = 0; i <= 500; ++i) {
      times.push_back(i * spacing);
      factors.push_back(schedule(times.back()));
      top = std::max(top, factors.back());
    }
    plot.line(text, times, factors);
  }
  return plot.y_range(0, 1.05 * top);
}

void write_pictures(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  for (const Picture& picture : all_pictures()) {
    const std::filesystem::path path = folder / (picture.name + ".svg");
    stepsize::write_svg(path.string(), draw(picture));
    std::cout << path.string() << '\n';
  }
}

void list_schedules() {
  for (const Picture& picture : all_pictures()) {
    for (const std::string& text : picture.texts) {
      std::cout << picture.name << '\t' << text << '\n';
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string argument = argc == 2 ? argv[1] : "";
  const bool is_option = !argument.empty() && argument.front() == '-';
  if (argument.empty() || (is_option && argument != "--list")) {
    std::cerr << "usage: schedule_gallery OUTDIR | --list\n";
    return 2;
  }
  try {
    if (argument == "--list") {
      list_schedules();
    } else {
      write_pictures(argument);
    }
  } catch (const std::exception& error) {
    std::cerr << "schedule_gallery: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
