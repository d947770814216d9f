#include <stepsize/checkpoint/checkpoint_folder.h>

#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint_info.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "csrc/checkpoint/checkpoint_file.h"
#include "csrc/checkpoint/durable_file.h"
#include "csrc/checkpoint/save.h"
#include "csrc/core/check.h"
#include "csrc/state/metric_order.h"

namespace stepsize {
namespace {

namespace fs = std::filesystem;

constexpr char kCheckpointFolder[] = "CheckpointFolder";
constexpr char kStart[] = "checkpoint-";
constexpr char kEnd[] = ".ckpt";
constexpr char kBest[] = "best.ckpt";
constexpr std::size_t kDigits = 10;

struct Found {
  int64_t step;
  std::string path;
};

std::string file_name(int64_t step) {
  const std::string digits = std::to_string(step);
  const std::size_t zeros = kDigits - std::min(kDigits, digits.size());
  return kStart + std::string(zeros, '0') + digits + kEnd;
}

// The step in the name of a checkpoint; -1 where it is another file's name.
int64_t step_of(const std::string& name) {
  const std::string start = kStart;
  const std::string end = kEnd;
  if (name.size() <= start.size() + end.size() || name.rfind(start, 0) != 0) {
    return -1;
  }
  int64_t step = 0;
  for (std::size_t i = start.size(); i < name.size() - end.size(); ++i) {
    const int digit = name[i] - '0';
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    if (digit < 0 || digit > 9 || step > (kMost - digit) / 10) return -1;
    step = 10 * step + digit;
  }
  // Only the one name that a step has.
  return file_name(step) == name ? step : -1;
}

// One pass over a folder, in any order. None where it is not there.
std::vector<Found> list_once(const std::string& folder) {
  std::vector<Found> found;
  std::error_code failure;
  fs::directory_iterator next(folder, failure);
  const bool absent = failure == std::errc::no_such_file_or_directory;
  while (!failure && next != fs::directory_iterator()) {
    const int64_t step = step_of(next->path().filename().string());
    if (step >= 0) found.push_back({step, next->path().string()});
    next.increment(failure);
  }
  TORCH_CHECK(
      absent || !failure,
      kCheckpointFolder,
      ": ",
      folder,
      ": cannot be listed: ",
      failure.message());
  return found;
}

// The checkpoints of a folder, earliest step first.
std::vector<Found> checkpoints_of(const std::string& folder) {
  std::vector<Found> found;
  // While another process saves, one pass may see neither the file that has
  // come behind it nor the one that has gone before it.
  constexpr int kPasses = 10;
  for (int i = 0; i < kPasses && found.empty(); ++i) found = list_once(folder);
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return a.step < b.step;
  });
  return found;
}

std::string file_path(const std::string& folder, int64_t step) {
  return (fs::path(folder) / file_name(step)).string();
}

std::string best_path(const std::string& folder) {
  return (fs::path(folder) / kBest).string();
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void name_too(const std::string& saved, const std::string& path) {
  if (detail::link_durably(saved, path)) return;
  detail::copy_durably(kCheckpointFolder, saved, path);
}

// The newest checkpoint that `take`, which is given its path, does not find
// damaged.
template <typename Take>
CheckpointLoadResult newest_of(
    const std::vector<Found>& present,
    const std::string& folder,
    const Take& take) {
  CheckpointLoadResult result;
  std::string reasons;
  for (auto found = present.rbegin(); found != present.rend(); ++found) {
    try {
      take(found->path);
    } catch (const detail::CheckpointDamage& damage) {
      result.passed_over.push_back(
          {found->path, damage.what_without_backtrace()});
      reasons += "\n  " + result.passed_over.back().reason;
      continue;
    }
    result.path = found->path;
    result.step = found->step;
    return result;
  }
  TORCH_CHECK(
      present.empty(),
      kCheckpointFolder,
      ": ",
      folder,
      ": none of its checkpoints can be loaded:",
      reasons);
  return result;
}

template <typename Take>
CheckpointLoadResult newest_in(const std::string& folder, const Take& take) {
  // Who saves may have removed a file since it was listed: a newer one is there
  // then. Not without end, since a name may lead nowhere.
  constexpr int kTries = 100;
  for (int i = 1;; ++i) {
    try {
      return newest_of(checkpoints_of(folder), folder, take);
    } catch (const detail::MissingFile&) {
      if (i == kTries) throw;
    }
  }
}

}  // namespace

CheckpointFolder::CheckpointFolder(
    std::string path, const CheckpointFolderOptions& options)
    : path_(std::move(path)), options_(options) {
  TORCH_CHECK(!path_.empty(), kCheckpointFolder, ": the path is empty");
  detail::check_option(
      options.keep_last() >= 1,
      kCheckpointFolder,
      "keep_last",
      ">= 1",
      options.keep_last());
}

std::string CheckpointFolder::save(
    int64_t step, const Checkpoint& checkpoint, std::optional<double> metric) {
  detail::check_option(step >= 0, kCheckpointFolder, "step", ">= 0", step);
  check_course(step);
  const bool best = options_.keep_best() && metric && std::isfinite(*metric) &&
                    is_best(step, *metric);
  detail::make_folder(kCheckpointFolder, path_);
  detail::remove_abandoned_files(path_);
  const std::string file = file_path(path_, step);
  // What comes after the name may fail, and what is there is known all the
  // same.
  knows_all_ = true;
  detail::save(kCheckpointFolder, file, checkpoint, step, metric, [this] {
    leave_course();
  });
  if (best) name_too(file, best_path(path_));
  remove_old(step);
  resumed_ = false;
  return file;
}

void CheckpointFolder::check_course(int64_t step) const {
  const auto present = checkpoints_of(path_);
  if (!knows_all_) {
    const bool is_used = !present.empty() || is_file(best_path(path_));
    TORCH_CHECK(
        !is_used,
        kCheckpointFolder,
        ": ",
        path_,
        ": has ",
        present.empty() ? kBest : file_name(present.back().step),
        ", which this object has neither saved nor loaded: go on from it with "
        "load_latest() or load_best(), remove all with clear(), or take "
        "another folder");
  }
  const bool has_later = !present.empty() && present.back().step > step;
  TORCH_CHECK(
      !has_later || resumed_,
      kCheckpointFolder,
      ": ",
      path_,
      ": has a checkpoint of step ",
      std::to_string(has_later ? present.back().step : step),
      ", which is later than ",
      std::to_string(step),
      ": go on from it with load_latest(), or take another folder");
}

// Whether what is saved now will be the best.
bool CheckpointFolder::is_best(int64_t step, double metric) const {
  const std::string path = best_path(path_);
  if (!is_file(path)) return true;
  try {
    detail::CheckpointFile best(kCheckpointFolder, path);
    const auto& known = best.info().metric;
    if (!known || best.info().step == step) return true;
    const bool is_better = detail::is_better(options_.mode(), metric, *known);
    if (!is_better) best.check_data();
    return is_better;
  } catch (const detail::CheckpointDamage&) {
    return true;  // it is the best of nothing
  }
}

// Removes what is later than the one that was loaded, the latest last: whatever
// kills the process, the latest is that of the course that was left, or the one
// that was loaded.
void CheckpointFolder::leave_course() {
  if (!loaded_) return;
  const auto present = checkpoints_of(path_);
  if (!present.empty() && present.back().step > *loaded_) {
    if (loaded_best_) name_too(best_path(path_), file_path(path_, *loaded_));
    for (const Found& found : present) {
      if (found.step <= *loaded_) continue;
      detail::remove_file(kCheckpointFolder, found.path);
    }
    detail::flush_names(path_);
  }
  loaded_.reset();
}

void CheckpointFolder::remove_old(int64_t step) const {
  auto present = checkpoints_of(path_);
  while (!present.empty() && present.back().step > step) {
    detail::remove_file(kCheckpointFolder, present.back().path);
    present.pop_back();
  }
  const auto count = static_cast<int64_t>(present.size());
  for (int64_t i = 0; i < count - options_.keep_last(); ++i) {
    detail::remove_file(
        kCheckpointFolder, present[static_cast<std::size_t>(i)].path);
  }
}

std::optional<std::string> CheckpointFolder::latest() const {
  const auto present = checkpoints_of(path_);
  if (present.empty()) return std::nullopt;
  return present.back().path;
}

std::optional<std::string> CheckpointFolder::best() const {
  const std::string path = best_path(path_);
  if (!is_file(path)) return std::nullopt;
  return path;
}

std::vector<std::string> CheckpointFolder::paths() const {
  std::vector<std::string> paths;
  for (auto& found : checkpoints_of(path_)) {
    paths.push_back(std::move(found.path));
  }
  return paths;
}

CheckpointLoadResult CheckpointFolder::load_latest(
    Checkpoint& checkpoint, const LoadOptions& options) {
  LoadResult items;
  auto result = newest_in(path_, [&](const std::string& path) {
    items = detail::load(kCheckpointFolder, path, checkpoint, options).result;
  });
  result.items = std::move(items);
  if (result) note_loaded(options, result.step, /*is_best=*/false);
  return result;
}

CheckpointLoadResult CheckpointFolder::find_latest() const {
  return newest_in(path_, [](const std::string& path) {
    detail::CheckpointFile(kCheckpointFolder, path).check_data();
  });
}

CheckpointLoadResult CheckpointFolder::load_best(
    Checkpoint& checkpoint, const LoadOptions& options) {
  CheckpointLoadResult result;
  const auto path = best();
  if (path) {
    auto loaded = detail::load(kCheckpointFolder, *path, checkpoint, options);
    result.path = *path;
    result.step = loaded.step.value_or(-1);
    result.items = std::move(loaded.result);
    note_loaded(options, loaded.step, /*is_best=*/true);
  }
  return result;
}

void CheckpointFolder::note_loaded(
    const LoadOptions& options, std::optional<int64_t> step, bool is_best) {
  // Who takes the weights alone does not go on with the course.
  if (!options.only().empty()) return;
  knows_all_ = true;
  resumed_ = true;
  loaded_ = step;
  loaded_best_ = is_best;
}

void CheckpointFolder::clear() {
  for (const Found& found : checkpoints_of(path_)) {
    detail::remove_file(kCheckpointFolder, found.path);
  }
  detail::remove_file(kCheckpointFolder, best_path(path_));
  detail::remove_abandoned_files(path_);
  knows_all_ = true;
  resumed_ = false;
  loaded_.reset();
}

}  // namespace stepsize
