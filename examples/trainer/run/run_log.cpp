#include "examples/trainer/run/run_log.h"
#include "examples/trainer/cli/text.h"
#include "examples/trainer/run/run_report.h"

#include <stepsize/tune/curvature_report.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace stepsize::trainer {
namespace {

// A row of a table of numbers that a run has written: a value a column,
// nothing for an empty cell.
using LogRow = std::vector<std::optional<double>>;

[[noreturn]] void refuse_table(
    const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error("cannot go on with " + path.string() + ": " + why);
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::size_t start = 0;
  while (true) {
    const auto comma = line.find(',', start);
    cells.push_back(line.substr(start, comma - start));
    if (comma == std::string::npos) {
      return cells;
    }
    start = comma + 1;
  }
}

// False where the text is no number.
bool read_cell(const std::string& text, std::optional<double>& value) {
  value = number_in<double>(text);
  return value || text.empty();
}

// Reads the first `rows` rows of a table with these columns; what comes after
// them may be anything. Throws std::runtime_error naming the path, and the
// line where one is to blame, where the file cannot be read, has other columns
// or fewer rows, or a cell is no number.
std::vector<LogRow> read_log_rows(
    const std::filesystem::path& path,
    const std::vector<std::string>& columns,
    std::int64_t rows) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    refuse_table(path, "it cannot be read");
  }
  std::vector<LogRow> table;
  std::string line;
  // Whole lines only: a run that was killed may leave half a one.
  const auto next = [&] { return std::getline(file, line) && !file.eof(); };
  if (!next() || cells_of(line) != columns) {
    refuse_table(
        path, "its first line does not name the columns of this program");
  }
  for (std::int64_t row = 1; row <= rows; ++row) {
    if (!next()) {
      refuse_table(
          path,
          "it ends after row " + std::to_string(row - 1) +
              ", and the checkpoint was saved after row " +
              std::to_string(rows) +
              "; where there is an earlier checkpoint, remove the last one to "
              "go on from it");
    }
    const auto cells = cells_of(line);
    auto& values = table.emplace_back(columns.size());
    bool sound = cells.size() == columns.size();
    for (std::size_t i = 0; sound && i < cells.size(); ++i) {
      sound = read_cell(cells[i], values[i]);
    }
    if (!sound) {
      refuse_table(
          path, "line " + std::to_string(row + 1) + " is no row: " + line);
    }
  }
  return table;
}

namespace fs = std::filesystem;

constexpr const char* kEpochTable = "log.csv";
constexpr const char* kStepTable = "steps.csv";
constexpr const char* kCurvatureTable = "curvature.csv";

const std::vector<std::string>& epoch_columns() {
  static const std::vector<std::string> columns{
      "epoch",
      "step",
      "lr",
      "train_loss",
      "train_accuracy",
      "test_loss",
      "test_accuracy",
      "images_per_second"};
  return columns;
}

const std::vector<std::string>& step_columns() {
  static const std::vector<std::string> columns{
      "step",
      "lr",
      "train_loss",
      "grad_norm",
      "sharpness",
      "lr_sharpness",
      "batch",
      "noise_scale"};
  return columns;
}

std::vector<CsvCell> cells(const EpochResult& result) {
  return {
      result.epoch,
      result.step,
      result.lr,
      result.train_loss,
      result.train_accuracy,
      result.test_loss,
      result.test_accuracy,
      result.images_per_second};
}

std::vector<CsvCell> cells(const StepResult& result) {
  std::optional<double> lr_sharpness;
  if (result.sharpness) {
    lr_sharpness = result.lr * *result.sharpness;
  }
  return {
      result.step,
      result.lr,
      result.loss,
      result.grad_norm,
      result.sharpness,
      lr_sharpness,
      result.batch,
      result.noise_scale};
}

using Row = LogRow;

double number(const std::optional<double>& value) {
  return value.value_or(std::numeric_limits<double>::quiet_NaN());
}

EpochResult epoch_result(const Row& row) {
  EpochResult result;
  result.epoch = static_cast<std::int64_t>(row[0].value_or(0));
  result.step = static_cast<std::int64_t>(row[1].value_or(0));
  result.lr = number(row[2]);
  result.train_loss = number(row[3]);
  result.train_accuracy = number(row[4]);
  result.test_loss = number(row[5]);
  result.test_accuracy = number(row[6]);
  result.images_per_second = number(row[7]);
  return result;
}

StepResult step_result(const Row& row) {
  StepResult result;
  result.step = static_cast<std::int64_t>(row[0].value_or(0));
  result.lr = number(row[1]);
  result.loss = number(row[2]);
  result.grad_norm = number(row[3]);
  result.sharpness = row[4];
  result.batch = static_cast<std::int64_t>(row[6].value_or(0));
  result.noise_scale = row[7];
  return result;
}

template <typename Result>
void check_count(
    const fs::path& path,
    const std::vector<Result>& results,
    std::int64_t Result::*count) {
  std::int64_t row = 0;
  for (const auto& result : results) {
    if (result.*count != ++row) {
      throw std::runtime_error(
          "cannot go on with " + path.string() + ": row " +
          std::to_string(row) + " has the number " +
          std::to_string(result.*count));
    }
  }
}

void flush_to_disk(const fs::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool is_flushed = file >= 0 && fsync(file) == 0;
  const int failure = errno;
  if (file >= 0) {
    close(file);
  }
  // Some file systems have nothing to flush a folder for.
  if (!is_flushed && failure != EINVAL && failure != ENOTSUP) {
    throw std::runtime_error(
        "cannot flush " + path.string() +
        " to the disk: " + std::generic_category().message(failure));
  }
}

void remove_picture(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    throw std::runtime_error(
        "cannot replace " + path.string() + ": " + error.message());
  }
}

}  // namespace

fs::path make_run_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder)) {
    throw std::runtime_error(
        "cannot make the folder " + folder.string() + ": " +
        (error ? error.message() : "something else has that name"));
  }
  return folder;
}

RunLog::RunLog(const fs::path& folder, const RunPlan& plan)
    : folder_(make_run_folder(folder)),
      plan_(plan),
      epoch_table_((folder / kEpochTable).string(), epoch_columns()),
      step_table_((folder / kStepTable).string(), step_columns()) {
  for (const auto& name : result_pictures()) {
    remove_picture(folder / name);
  }
  // An earlier run may have had them.
  remove_picture(folder / kCurvatureTable);
  remove_picture(folder / kRunReport);
  open_curvature_table();
  draw_plan(folder, plan);
}

RunLog::RunLog(
    const fs::path& folder, const RunPlan& plan, const LogPlace& place)
    : RunLog(folder, plan, place, read_back(folder, place)) {}

RunLog::RunLog(
    const fs::path& folder,
    const RunPlan& plan,
    const LogPlace& place,
    Rows rows)
    : folder_(folder),
      plan_(plan),
      place_(place),
      steps_(std::move(rows.steps)),
      epochs_(std::move(rows.epochs)),
      epoch_table_(
          (folder / kEpochTable).string(),
          epoch_columns(),
          CsvCut{"epoch", place.epochs + 1}),
      step_table_(
          (folder / kStepTable).string(),
          step_columns(),
          CsvCut{"step", place.steps + 1}),
      written_steps_(steps_.size()),
      written_epochs_(epochs_.size()) {
  open_curvature_table();
  write_rows();
  draw_plan(folder, plan);
}

void RunLog::open_curvature_table() {
  if (plan_.monitors) {
    curvature_table_.emplace(
        (folder_ / kCurvatureTable).string(), curvature_columns());
  }
}

RunLog::Rows RunLog::read_back(const fs::path& folder, const LogPlace& place) {
  const fs::path step_path = folder / kStepTable;
  const fs::path epoch_path = folder / kEpochTable;
  const auto steps = read_log_rows(step_path, step_columns(), place.steps);
  const auto epochs = read_log_rows(epoch_path, epoch_columns(), place.epochs);
  Rows rows;
  std::transform(
      steps.begin(), steps.end(), std::back_inserter(rows.steps), step_result);
  std::transform(
      epochs.begin(),
      epochs.end(),
      std::back_inserter(rows.epochs),
      epoch_result);
  check_count(step_path, rows.steps, &StepResult::step);
  check_count(epoch_path, rows.epochs, &EpochResult::epoch);
  for (const std::int64_t step : place.rollbacks) {
    if (step >= 1 && step <= place.steps) {
      rows.steps[static_cast<std::size_t>(step - 1)].rolled_back = true;
    }
  }
  return rows;
}

void RunLog::add(const StepResult& result) {
  steps_.push_back(result);
  ++place_.steps;
  if (result.rolled_back) {
    place_.rollbacks.push_back(result.step);
  }
  try_to_write();
}

void RunLog::add(const EpochResult& result) {
  epochs_.push_back(result);
  ++place_.epochs;
  try_to_write();
}

void RunLog::add(const CurvatureMeasurement& row) {
  place_.curvature.push_back(row);
  try_to_write();
}

void RunLog::write_rows() {
  for (; written_steps_ < steps_.size(); ++written_steps_) {
    step_table_.row(cells(steps_[written_steps_]));
  }
  for (; written_epochs_ < epochs_.size(); ++written_epochs_) {
    epoch_table_.row(cells(epochs_[written_epochs_]));
  }
  const auto& curvature = place_.curvature;
  while (curvature_table_ && written_curvature_ < curvature.size()) {
    curvature_table_->row(curvature_cells(curvature[written_curvature_]));
    ++written_curvature_;
  }
  error_.clear();
}

void RunLog::try_to_write() {
  try {
    write_rows();
  } catch (const std::runtime_error& error) {
    error_ = error.what();
  }
}

void RunLog::sync() {
  try_to_write();
  if (!error_.empty()) {
    throw std::runtime_error(error_);
  }
  flush_to_disk(folder_ / kStepTable);
  flush_to_disk(folder_ / kEpochTable);
  if (curvature_table_) {
    flush_to_disk(folder_ / kCurvatureTable);
  }
  // Their names too.
  flush_to_disk(folder_);
}

void RunLog::draw() const {
  const RunRows rows{steps_, epochs_, place_.curvature};
  draw_results(folder_, plan_, rows);
  write_report(folder_, plan_, rows);
}

}  // namespace stepsize::trainer
