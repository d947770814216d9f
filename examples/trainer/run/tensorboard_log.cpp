#include "examples/trainer/run/tensorboard_log.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstddef>
#include <exception>
#include <fstream>
#include <iterator>
#include <ostream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {
namespace {

// Those that EventWriter has made: events.out.tfevents.TIME.stepsize.PID.N.
std::vector<std::filesystem::path> event_files(
    const std::filesystem::path& folder) {
  const std::string start = "events.out.tfevents.";
  constexpr std::size_t kDigits = 10;
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (std::filesystem::directory_iterator it(folder, ignored), end; it != end;
       it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    if (name.rfind(start, 0) == 0 &&
        name.find(".stepsize.") == start.size() + kDigits) {
      files.push_back(it->path());
    }
  }
  return files;
}

// As plain text in a table of Markdown.
std::string plain_cell(const std::string& text) {
  std::string cell;
  for (const char letter : text) {
    const std::string special = "\\`*_{}[]<>&#|~\n";
    cell += special.find(letter) == std::string::npos
                ? std::string(1, letter)
                : "&#" + std::to_string(static_cast<int>(letter)) + ";";
  }
  return cell;
}

}  // namespace

void check_tensorboard(
    const std::filesystem::path& folder, bool takes_over, std::ostream& err) {
  if (folder.empty()) {
    return;
  }
  const std::string place = "--tensorboard " + folder.string() + ": ";
  std::error_code ignored;
  // What is there of the path; nothing is made yet.
  auto there = std::filesystem::absolute(folder);
  while (!std::filesystem::exists(there, ignored) &&
         there.has_relative_path()) {
    there = there.parent_path();
  }
  const int error = !std::filesystem::is_directory(there, ignored) ? ENOTDIR
                    : access(there.c_str(), W_OK | X_OK) != 0      ? errno
                                                                   : 0;
  if (error != 0) {
    throw std::runtime_error(
        place + "cannot be written: " + there.string() + ": " +
        std::generic_category().message(error));
  }
  if (!takes_over && !event_files(folder).empty()) {
    throw std::invalid_argument(
        place +
        "holds the events of a run; go on with it by --resume, replace "
        "it by --out and --overwrite, or name another folder");
  }
  if (!EventWriter::draws_svg()) {
    err << "warning: " << place
        << "no pictures, since stepsize::tensorboard was built without "
           "librsvg\n";
  }
}

template <typename Write>
void TensorBoardLog::guarded(const Write& write) {
  if (!error_.empty()) {
    return;
  }
  try {
    write();
  } catch (const std::exception& error) {
    error_ = error.what();
  }
}

TensorBoardLog::TensorBoardLog(
    const std::filesystem::path& folder,
    const OptionValues& options,
    std::int64_t steps) {
  const auto earlier = event_files(folder);
  if (steps > 0) {
    events_.emplace(folder.string(), steps + 1);
  } else {
    events_.emplace(folder.string());
    // TensorBoard would go on showing the curves that this run has not.
    for (const auto& file : earlier) {
      std::filesystem::remove(file);
    }
  }
  std::string table = "| option | value |\n| --- | --- |\n";
  for (const auto& [flag, value] : options) {
    table += "| " + plain_cell(flag) + " | " + plain_cell(value) + " |\n";
  }
  events_->text("options", steps, table);
}

void TensorBoardLog::add(const StepResult& result) {
  guarded([&] {
    const auto add = [&](const char* tag, double value) {
      events_->scalar(tag, result.step, value);
    };
    add("update/loss", result.loss);
    add("update/lr", result.lr);
    // Not known where the optimizer does not clip.
    if (!std::isnan(result.grad_norm)) {
      add("update/grad_norm", result.grad_norm);
    }
    if (result.sharpness) {
      add("update/sharpness", *result.sharpness);
      add("update/lr_sharpness", result.lr * *result.sharpness);
    }
    if (result.noise_scale) {
      add("update/noise_scale", *result.noise_scale);
    }
  });
}

void TensorBoardLog::add(const EpochResult& result) {
  guarded([&] {
    const auto add = [&](const char* tag, double value) {
      events_->scalar(tag, result.step, value);
    };
    add("epoch/train_loss", result.train_loss);
    add("epoch/train_accuracy", result.train_accuracy);
    add("epoch/test_loss", result.test_loss);
    add("epoch/test_accuracy", result.test_accuracy);
    add("epoch/images_per_second", result.images_per_second);
  });
}

void TensorBoardLog::add(const CurvatureMeasurement& row) {
  guarded([&] {
    const auto add = [&](const char* tag, double value) {
      events_->scalar(tag, row.update, value);
    };
    add("curvature/sharpness", row.sharpness);
    if (row.lr_sharpness) {
      add("curvature/lr_sharpness", *row.lr_sharpness);
    }
    if (row.trace) {
      add("curvature/trace", *row.trace);
    }
  });
}

void TensorBoardLog::add_pictures(
    const std::filesystem::path& run_folder, std::int64_t step) {
  if (!EventWriter::draws_svg()) {
    return;
  }
  auto names = result_pictures();
  names.insert(names.begin(), "lr.svg");
  guarded([&] {
    for (const auto& name : names) {
      std::ifstream file(run_folder / name, std::ios::binary);
      if (!file) {
        continue;
      }
      const std::string svg{std::istreambuf_iterator<char>(file), {}};
      events_->svg(
          "pictures/" + std::filesystem::path(name).stem().string(), step, svg);
    }
  });
}

}  // namespace stepsize::trainer
