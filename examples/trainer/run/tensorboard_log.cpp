#include "examples/trainer/run/tensorboard_log.h"

#include <cmath>
#include <exception>
#include <fstream>
#include <iterator>

#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {

void check_tensorboard(const std::filesystem::path& /*folder*/) {}

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
  events_.emplace(folder.string(), steps > 0 ? steps + 1 : 0);
  std::string table = "| option | value |\n| --- | --- |\n";
  for (const auto& [flag, value] : options) {
    table += "| " + flag + " | " + value + " |\n";
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
