#include "run_log.h"

#include <optional>
#include <stdexcept>

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

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
      epoch_table_(
          (folder / "log.csv").string(),
          {"epoch",
           "step",
           "lr",
           "train_loss",
           "train_accuracy",
           "test_loss",
           "test_accuracy",
           "images_per_second"}),
      step_table_(
          (folder / "steps.csv").string(),
          {"step",
           "lr",
           "train_loss",
           "grad_norm",
           "sharpness",
           "lr_sharpness",
           "batch",
           "noise_scale"}) {
  for (const auto& name : result_pictures()) {
    remove_picture(folder / name);
  }
  draw_plan(folder, plan);
}

void RunLog::add(const StepResult& result) {
  std::optional<double> lr_sharpness;
  if (result.sharpness) {
    lr_sharpness = result.lr * *result.sharpness;
  }
  step_table_.row(
      {result.step,
       result.lr,
       result.loss,
       result.grad_norm,
       result.sharpness,
       lr_sharpness,
       result.batch,
       result.noise_scale});
  steps_.push_back(result);
}

void RunLog::add(const EpochResult& result) {
  epoch_table_.row(
      {result.epoch,
       result.step,
       result.lr,
       result.train_loss,
       result.train_accuracy,
       result.test_loss,
       result.test_accuracy,
       result.images_per_second});
  epochs_.push_back(result);
}

void RunLog::draw() const { draw_results(folder_, plan_, steps_, epochs_); }

}  // namespace stepsize::trainer
