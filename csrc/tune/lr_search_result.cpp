#include <stepsize/tune/lr_search_result.h>

#include <c10/util/Exception.h>
#include <stepsize/report/csv_writer.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <ostream>
#include <utility>

#include "csrc/text/number.h"
#include "csrc/tune/search_columns.h"

namespace stepsize {
namespace {

std::string padded_cell(const std::string& text, std::size_t width) {
  return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

// Columns as wide as they must be, two blanks apart, aligned to the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += (i == 0 ? "" : "  ") + padded_cell(row[i], widths[i]);
    }
    text += '\n';
  }
  return text;
}

// Finished ones by their loss, then those stopped, then those diverged.
bool comes_before(const SearchedTrial& a, const SearchedTrial& b) {
  if (a.status != b.status) return a.status < b.status;
  if (a.loss != b.loss && !std::isnan(a.loss) && !std::isnan(b.loss)) {
    return a.loss < b.loss;
  }
  return a.number < b.number;
}

}  // namespace

const char* to_string(TrialStatus status) {
  switch (status) {
    case TrialStatus::kFinished:
      return "finished";
    case TrialStatus::kStopped:
      return "stopped";
    case TrialStatus::kDiverged:
      return "diverged";
  }
  return "unknown";
}

bool LRSearchResult::has_best() const {
  return std::any_of(trials.begin(), trials.end(), [](const auto& trial) {
    return trial.status == TrialStatus::kFinished;
  });
}

const SearchedTrial& LRSearchResult::best() const {
  TORCH_CHECK(
      has_best(),
      "LRSearchResult: there must be a trial that has finished, got none of ",
      std::to_string(trials.size()));
  return *std::min_element(trials.begin(), trials.end(), comes_before);
}

double LRSearchResult::best(const std::string& name) const {
  const std::size_t index = space.index_of(name);
  return best().values[index];
}

Trial LRSearchResult::best_trial(int64_t seed) const {
  return Trial(space, best().values, seed);
}

LinePlot LRSearchResult::plot(
    const std::string& name, const std::string& title) const {
  const std::size_t index = space.index_of(name);
  LinePlot plot(title);
  plot.x_label(name == "lr" ? "learning rate" : name).y_label("loss");
  plot.x_log(space.numbers()[index].scale == SearchScale::kLog);
  double lowest = std::numeric_limits<double>::infinity();
  double highest = -lowest;
  const auto include = [&](double value) {
    if (!std::isfinite(value)) return;
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  };
  // Losses of runs that came near to divergence would leave the rest flat: the
  // model says how high the picture is, where there is one.
  if (!responses.empty()) {
    for (const double loss : responses[index].losses) include(loss);
    for (const SearchedTrial& trial : trials) {
      if (trial.loss < lowest) include(trial.loss);
    }
  }
  if (lowest > highest) {  // of all diverged: the places where they were
    const SearchNumber& number = space.numbers()[index];
    plot.x_range(number.low, number.high).y_range(0, 1);
    highest = 1;
  }
  const bool is_log = lowest > 0 && lowest < highest;
  plot.y_log(is_log);
  double top = highest;
  if (lowest < highest) {
    constexpr double kRoom = 0.08;
    if (is_log) {
      const double room = std::pow(highest / lowest, kRoom);
      top = highest * room;
      plot.y_range(lowest / room, top);
    } else {
      const double room = kRoom * (highest - lowest);
      top = highest + room;
      plot.y_range(lowest - room, top);
    }
  }
  if (!responses.empty()) {
    const Response& response = responses[index];
    plot.line("model", response.values, response.losses);
    plot.line("95% band of the mean", response.values, response.lows);
    plot.line("95% band of the mean", response.values, response.highs);
  }
  const auto add = [&](const char* series, auto takes) {
    std::vector<double> x;
    std::vector<double> y;
    for (const SearchedTrial& trial : trials) {
      const bool beyond = !(trial.loss <= top);
      if (!takes(trial, beyond)) continue;
      x.push_back(trial.values[index]);
      y.push_back(beyond ? top : trial.loss);
    }
    if (!x.empty()) plot.points(series, std::move(x), std::move(y));
  };
  add("finished", [](const SearchedTrial& trial, bool beyond) {
    return trial.status == TrialStatus::kFinished && !beyond;
  });
  add("stopped", [](const SearchedTrial& trial, bool beyond) {
    return trial.status == TrialStatus::kStopped && !beyond;
  });
  add("off the top", [](const SearchedTrial& trial, bool beyond) {
    return trial.status != TrialStatus::kDiverged && beyond;
  });
  add("diverged", [](const SearchedTrial& trial, bool) {
    return trial.status == TrialStatus::kDiverged;
  });
  if (has_best()) {
    const double value = best().values[index];
    plot.mark(value, "best " + detail::short_number_text(value, 2));
  }
  return plot;
}

std::string LRSearchResult::to_terminal(
    const TerminalPlotOptions& options) const {
  return stepsize::to_terminal(plot(space.numbers().front().name), options);
}

std::string LRSearchResult::table(int64_t rows) const {
  std::vector<SearchedTrial> sorted = trials;
  std::sort(sorted.begin(), sorted.end(), comes_before);
  std::vector<std::vector<std::string>> cells = {{"trial"}};
  for (const SearchNumber& number : space.numbers()) {
    cells[0].push_back(number.name);
  }
  cells[0].insert(cells[0].end(), {"loss", "+-", "steps", "status"});
  for (const SearchedTrial& trial : sorted) {
    if (static_cast<int64_t>(cells.size()) > rows) break;
    std::vector<std::string> row = {std::to_string(trial.number)};
    for (const double value : trial.values) {
      row.push_back(detail::short_number_text(value, 3));
    }
    row.push_back(detail::short_number_text(trial.loss));
    row.push_back(
        std::isnan(trial.loss_error)
            ? ""
            : detail::short_number_text(trial.loss_error, 2));
    row.push_back(std::to_string(trial.steps));
    row.emplace_back(to_string(trial.status));
    cells.push_back(std::move(row));
  }
  return aligned(cells);
}

void LRSearchResult::write_csv(const std::string& path) const {
  const auto* last = std::end(detail::kSearchColumns) - 1;
  std::vector<std::string> columns(std::begin(detail::kSearchColumns), last);
  for (const SearchNumber& number : space.numbers()) {
    columns.push_back(number.name);
  }
  if (space.has_schedule()) columns.emplace_back(*last);
  CsvWriter csv(path, columns);
  for (const SearchedTrial& trial : trials) {
    std::vector<CsvCell> row = {
        trial.number,
        to_string(trial.status),
        trial.loss,
        trial.loss_error,
        trial.steps};
    row.insert(row.end(), trial.values.begin(), trial.values.end());
    if (space.has_schedule()) {
      row.emplace_back(space.schedule_text(trial.values));
    }
    csv.row(row);
  }
}

void LRSearchResult::write_svg(
    const std::string& path,
    const std::string& name,
    const SvgOptions& options) const {
  stepsize::write_svg(path, plot(name), options);
}

std::ostream& operator<<(std::ostream& out, const LRSearchResult& result) {
  if (!result.has_best()) {
    return out << "no trial of " << result.trials.size() << " has finished\n";
  }
  out << "best of " << result.trials.size() << " trials: loss "
      << detail::short_number_text(result.best().loss) << " at";
  const auto& numbers = result.space.numbers();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    out << (i == 0 ? " " : ", ") << numbers[i].name << ' '
        << detail::short_number_text(result.best().values[i]);
  }
  out << '\n';
  if (numbers.size() > 1) {
    constexpr double kPercent = 100;
    out << "importance:";
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      out << (i == 0 ? " " : ", ") << numbers[i].name << ' '
          << std::lround(kPercent * result.importance[i]) << '%';
    }
    out << '\n';
  }
  return out << result.table();
}

}  // namespace stepsize
