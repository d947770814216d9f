#include "examples/trainer/run/run_checkpoints.h"

#include <stepsize/checkpoint/checkpoint_info.h>

#include <stdexcept>
#include <utility>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

CheckpointFolder open_folder(const fs::path& run) {
  return CheckpointFolder(
      checkpoint_folder(run).string(), CheckpointFolderOptions().keep_last(2));
}

std::string reason_of(const std::exception& error) {
  const auto* own = dynamic_cast<const c10::Error*>(&error);
  return own != nullptr ? own->what_without_backtrace() : error.what();
}

// "cnn on fashion-mnist, saved after 94 updates".
std::string run_text(const std::string& checkpoint) {
  try {
    const auto record = to_record(read_checkpoint_info(checkpoint).values);
    return record.options.at("--model") + " on " +
           record.options.at("--dataset") + ", saved after " +
           counted(record.step, "update");
  } catch (const std::exception&) {
    return checkpoint;
  }
}

}  // namespace

fs::path checkpoint_folder(const fs::path& run) { return run / "checkpoints"; }

RunRecord read_record(const fs::path& run, std::ostream& err) {
  const auto found = open_folder(run).find_latest();
  if (!found) {
    throw std::runtime_error(
        "--resume: there is no checkpoint in " +
        checkpoint_folder(run).string() +
        "; leave --resume out to start a run" +
        (fs::exists(run / "lr_search.jsonl")
             ? ", which goes on with the search in " + run.string()
             : ""));
  }
  for (const auto& damaged : found.passed_over) {
    err << "warning: " << damaged.path << " is passed over: " << damaged.reason
        << '\n';
  }
  return to_record(read_checkpoint_info(found.path).values);
}

void check_unused(const fs::path& run) {
  const auto folder = open_folder(run);
  const auto newest = folder.latest() ? folder.latest() : folder.best();
  if (newest) {
    throw std::invalid_argument(
        "--out " + run.string() + ": holds the run of " + run_text(*newest) +
        "; go on with --resume, or replace it with --overwrite");
  }
}

RunCheckpoints::RunCheckpoints(
    const fs::path& run, const RunParts& parts, RunRecord record)
    : folder_(open_folder(run)), parts_(parts), record_(std::move(record)) {
  // "updater" is what runs of 0.1 have called it: they are gone on with.
  checkpoint_.module("model", parts_.model)
      .optimizer("optimizer", parts_.optimizer.inner())
      .state("updater", parts_.optimizer)
      .state("scheduler", parts_.scheduler)
      .state("images", parts_.train)
      .state("training", parts_.state)
      .tensor("rollbacks", rollbacks_);
  if (parts_.early_stopping != nullptr) {
    checkpoint_.state("early_stopping", *parts_.early_stopping);
  }
  if (parts_.monitor != nullptr) {
    checkpoint_.state("curvature", *parts_.monitor);
  }
  if (parts_.ensemble != nullptr) {
    checkpoint_.state("ensemble", *parts_.ensemble);
  }
}

void RunCheckpoints::clear() { folder_.clear(); }

LogPlace RunCheckpoints::load() {
  folder_.load_latest(checkpoint_);
  auto options = std::move(record_.options);
  record_ = to_record(checkpoint_.values());
  record_.options = std::move(options);
  LogPlace place;
  place.steps = parts_.state.step;
  place.epochs = parts_.state.epoch - 1;
  if (parts_.monitor != nullptr) {
    place.curvature = parts_.monitor->measurements();
  }
  const auto* rollback = rollbacks_.data_ptr<std::int64_t>();
  place.rollbacks.assign(rollback, rollback + rollbacks_.numel());
  return place;
}

void RunCheckpoints::load(const std::string& path, const LoadOptions& options) {
  load_checkpoint(path, checkpoint_, options);
}

bool RunCheckpoints::save(
    const LogPlace& place, std::optional<double> test_loss) {
  return save_by(
      place, [&] { folder_.save(record_.step, checkpoint_, test_loss); });
}

bool RunCheckpoints::save_for_other(const LogPlace& place) {
  return save_by(place, [this] {
    fs::create_directories(folder_.path());
    save_checkpoint(path_of(record_.step), checkpoint_);
  });
}

bool RunCheckpoints::save_by(
    const LogPlace& place, const std::function<void()>& write) {
  record_.step = parts_.state.step;
  record_.epochs_done = parts_.state.epoch - 1;
  record_.stopped_early =
      parts_.early_stopping != nullptr && parts_.early_stopping->stopped();
  rollbacks_ = torch::tensor(
      c10::ArrayRef<std::int64_t>(place.rollbacks), torch::kInt64);
  checkpoint_.values() = to_values(record_);
  try {
    write();
    error_.clear();
  } catch (const std::exception& error) {
    error_ = reason_of(error);
  }
  return error_.empty();
}

bool RunCheckpoints::save(RunLog& log, std::optional<double> test_loss) {
  try {
    log.sync();
  } catch (const std::exception& error) {
    error_ = reason_of(error);
    return false;
  }
  return save(log.place(), test_loss);
}

void RunCheckpoints::remove(std::int64_t step) {
  std::error_code not_there;
  fs::remove(path_of(step), not_there);
}

std::string RunCheckpoints::path_of(std::int64_t step) const {
  return (fs::path(folder_.path()) /
          format("checkpoint-%010lld.ckpt", static_cast<long long>(step)))
      .string();
}

}  // namespace stepsize::trainer
