#include "examples/trainer/run/comparison.h"

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <ostream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/run/progress.h"
#include "examples/trainer/run/run.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "examples/trainer/run/run_log.h"
#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot_compare(const fs::path& path, const std::string& why) {
  throw std::runtime_error(
      "--compare: cannot read " + path.string() + ": " + why);
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line + ',');
  for (std::string cell; std::getline(in, cell, ',');) {
    cells.push_back(cell);
  }
  return cells;
}

// The numbers of these columns, row by row.
std::vector<std::vector<double>> read_columns(
    const fs::path& path, const std::vector<std::string>& names) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  // A run that is on may have written half a line.
  const auto next = [&] { return std::getline(file, line) && !file.eof(); };
  if (!next()) {
    cannot_compare(
        path,
        fs::exists(path) ? "it has no first line"
                         : "there is no such file; it is no run's folder");
  }
  const auto header = split(line);
  std::vector<std::size_t> places;
  for (const auto& name : names) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) {
      cannot_compare(path, "it has no column " + name);
    }
    places.push_back(static_cast<std::size_t>(found - header.begin()));
  }
  std::vector<std::vector<double>> rows;
  while (next()) {
    const auto cells = split(line);
    auto& row = rows.emplace_back();
    for (const std::size_t place : places) {
      const std::string cell = place < cells.size() ? cells[place] : "";
      const auto value = number_in<double>(cell);
      if (!value) {
        cannot_compare(
            path,
            "line " + std::to_string(rows.size() + 1) + " is no row: " + line);
      }
      row.push_back(*value);
    }
  }
  return rows;
}

// The name of a folder that was given as "runs/a/" too.
std::string name_of(const fs::path& folder) {
  const auto path = fs::absolute(folder).lexically_normal();
  return (path.has_filename() ? path.filename() : path.parent_path().filename())
      .string();
}

// Its last `width` characters, where it is longer: what tells runs apart is at
// the end.
std::string end_of(const std::string& text, std::size_t width) {
  const std::string dots = "...";
  return text.size() <= width
             ? text
             : dots + text.substr(text.size() - (width - dots.size()));
}

double training_seconds(const RunTables& run) {
  double seconds = 0;
  std::int64_t first = 0;
  for (const auto& epoch : run.epochs) {
    double images = 0;
    for (std::int64_t i = first; i < epoch.step; ++i) {
      images +=
          static_cast<double>(run.steps[static_cast<std::size_t>(i)].batch);
    }
    first = epoch.step;
    seconds += images / epoch.images_per_second;
  }
  return seconds;
}

// Images trained on after each update.
std::vector<double> images_after(const RunTables& run) {
  std::vector<double> sums;
  double sum = 0;
  for (const auto& step : run.steps) {
    sum += static_cast<double>(step.batch);
    sums.push_back(sum);
  }
  return sums;
}

// Of a test after each epoch, over the images trained on.
void add_tests(
    LinePlot& plot,
    const RunTables& run,
    double EpochResult::*value,
    double by) {
  const auto images = images_after(run);
  std::vector<double> x;
  std::vector<double> y;
  for (const auto& epoch : run.epochs) {
    x.push_back(images[static_cast<std::size_t>(epoch.step - 1)]);
    y.push_back(by * epoch.*value);
  }
  plot.line(run.name, x, y).points(run.name, x, y);
}

// What the checkpoints of the runs say that they were trained on.
std::set<std::string> data_sets(const std::vector<std::string>& folders) {
  std::set<std::string> names;
  for (const auto& folder : folders) {
    try {
      std::ostringstream ignored;
      names.insert(read_record(folder, ignored).options.at("--dataset"));
    } catch (const std::exception&) {
      // A run that was never saved has no say in it.
    }
  }
  return names;
}

// A document as a part of another.
std::string placed(const std::string& svg, std::int64_t x, std::int64_t y) {
  const auto start = svg.find("<svg ");
  return "<svg x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) +
         "\" " + svg.substr(start + 5);
}

}  // namespace

RunTables read_run_tables(const fs::path& folder) {
  RunTables run;
  run.name = name_of(folder);
  const auto step_path = folder / "steps.csv";
  for (const auto& row :
       read_columns(step_path, {"step", "train_loss", "batch"})) {
    StepResult step;
    step.step = static_cast<std::int64_t>(row[0]);
    step.loss = row[1];
    step.batch = static_cast<std::int64_t>(row[2]);
    run.steps.push_back(step);
  }
  const auto epoch_path = folder / "log.csv";
  for (const auto& row : read_columns(
           epoch_path,
           {"epoch",
            "step",
            "train_loss",
            "train_accuracy",
            "test_loss",
            "test_accuracy",
            "images_per_second"})) {
    EpochResult epoch;
    epoch.epoch = static_cast<std::int64_t>(row[0]);
    epoch.step = static_cast<std::int64_t>(row[1]);
    epoch.train_loss = row[2];
    epoch.train_accuracy = row[3];
    epoch.test_loss = row[4];
    epoch.test_accuracy = row[5];
    epoch.images_per_second = row[6];
    const auto steps = static_cast<std::int64_t>(run.steps.size());
    const std::int64_t before = run.epochs.empty() ? 0 : run.epochs.back().step;
    if (!(row[1] > static_cast<double>(before)) || epoch.step > steps) {
      cannot_compare(
          epoch_path,
          "line " + std::to_string(run.epochs.size() + 2) + " is of update " +
              std::to_string(epoch.step) + ", and steps.csv has " +
              std::to_string(steps));
    }
    run.epochs.push_back(epoch);
  }
  return run;
}

std::string comparison_table(const std::vector<RunTables>& runs) {
  // What the other columns leave of 79.
  constexpr std::size_t kNameColumns = 30;
  constexpr double kPercent = 100;
  std::size_t width = 3;
  for (const auto& run : runs) {
    width = std::min(std::max(width, run.name.size()), kNameColumns);
  }
  const auto name = [&](const std::string& text) {
    std::string cell = end_of(text, width);
    return cell + std::string(width - cell.size(), ' ');
  };
  std::string table =
      name("run") + "  epochs  best accuracy  in  final loss  training\n";
  for (const auto& run : runs) {
    table += name(run.name);
    if (run.epochs.empty()) {
      table += format("  %6d  no test", 0);
      if (!run.steps.empty()) {
        table += format(
            "; loss %.4g at update %lld",
            run.steps.back().loss,
            static_cast<long long>(run.steps.back().step));
      }
      table += '\n';
      continue;
    }
    const auto best = std::max_element(
        run.epochs.begin(),
        run.epochs.end(),
        [](const EpochResult& a, const EpochResult& b) {
          return a.test_accuracy < b.test_accuracy;
        });
    table += format(
        "  %6lld  %12.2f%% %3lld  %10.4g  %8s\n",
        static_cast<long long>(run.epochs.back().epoch),
        kPercent * best->test_accuracy,
        static_cast<long long>(best->epoch),
        run.epochs.back().test_loss,
        clock_text(training_seconds(run)).c_str());
  }
  return table;
}

std::string comparison_svg(const std::vector<RunTables>& runs) {
  constexpr double kPercent = 100;
  LinePlot accuracy("Test accuracy");
  accuracy.x_label("images trained on").y_label("%");
  LinePlot tests("Test loss");
  tests.x_label("images trained on").y_label("cross-entropy").y_log();
  LinePlot losses("Training loss");
  losses.x_label("images trained on").y_label("cross-entropy").y_log();
  for (const auto& run : runs) {
    add_tests(accuracy, run, &EpochResult::test_accuracy, kPercent);
    add_tests(tests, run, &EpochResult::test_loss, 1);
    std::vector<double> loss;
    for (const auto& step : run.steps) {
      loss.push_back(step.loss);
    }
    losses.line(run.name, images_after(run), smoothed(loss));
  }
  // One axis for all three, so that they can be read from top to bottom.
  double end = 0;
  for (const auto& run : runs) {
    const auto images = images_after(run);
    end = images.empty() ? end : std::max(end, images.back());
  }
  for (auto* plot : {&accuracy, &tests, &losses}) {
    if (end > 0) {
      plot->x_range(0, end);
    }
  }
  constexpr std::int64_t kWidth = 720;
  constexpr std::int64_t kHeight = 360;
  const auto options = SvgOptions().width(kWidth).height(kHeight);
  std::string svg = format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%lld\" "
      "height=\"%lld\" viewBox=\"0 0 %lld %lld\">\n",
      static_cast<long long>(kWidth),
      static_cast<long long>(3 * kHeight),
      static_cast<long long>(kWidth),
      static_cast<long long>(3 * kHeight));
  std::int64_t y = 0;
  for (const auto* plot : {&accuracy, &tests, &losses}) {
    svg += placed(to_svg(*plot, options), 0, y);
    y += kHeight;
  }
  return svg + "</svg>\n";
}

int compare_runs(
    const std::vector<std::string>& all,
    const fs::path& folder,
    std::ostream& out) {
  // One that was stopped while it looked for its rate is none to compare.
  std::vector<std::string> folders;
  for (const auto& run : all) {
    if (fs::exists(fs::path(run) / "run.lock") &&
        !fs::exists(fs::path(run) / "steps.csv")) {
      out << run << ": stopped before its training, left out\n";
    } else {
      folders.push_back(run);
    }
  }
  if (folders.empty()) {
    throw std::invalid_argument("--compare: there is no run to compare");
  }
  // More curves than this have no colours of their own.
  constexpr std::size_t kMostRuns = 12;
  if (folders.size() > kMostRuns) {
    throw std::invalid_argument(
        "--compare: at most " + std::to_string(kMostRuns) +
        " runs can be told apart in one picture, got " +
        std::to_string(folders.size()));
  }
  std::vector<RunTables> runs;
  for (const auto& run : folders) {
    runs.push_back(read_run_tables(run));
  }
  // Runs of one name in two folders would have one colour.
  std::map<std::string, int> names;
  for (const auto& run : runs) {
    ++names[run.name];
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (names[runs[i].name] > 1) {
      runs[i].name = folders[i];
    }
  }
  const auto path =
      (folder.empty() ? fs::path() : make_run_folder(folder)) / "compare.svg";
  std::ofstream file(path, std::ios::binary);
  file << comparison_svg(runs);
  if (!file.flush()) {
    throw std::runtime_error("cannot write " + path.string());
  }
  out << comparison_table(runs);
  const auto sets = data_sets(folders);
  if (sets.size() > 1) {
    out << "note: these runs are of different data sets:";
    for (const auto& set : sets) {
      out << ' ' << set;
    }
    out << '\n';
  }
  out << "picture: " << path.string() << '\n';
  return kDone;
}

}  // namespace stepsize::trainer
