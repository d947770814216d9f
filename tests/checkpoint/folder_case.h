#pragma once

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"

namespace stepsize::test {

/// A folder that is yet to be made, and a run that is a step.
class FolderCase : public testing::Test {
 protected:
  FolderCase() : path(base.file("a/b")) { checkpoint.counter("step", step); }

  void save(
      CheckpointFolder& folder,
      int64_t at,
      std::optional<double> metric = std::nullopt) {
    step = at;
    folder.save(at, checkpoint, metric);
  }

  static std::vector<std::string> names(const CheckpointFolder& folder) {
    std::vector<std::string> names;
    for (const auto& file : folder.paths()) {
      names.push_back(std::filesystem::path(file).filename().string());
    }
    return names;
  }

  std::string file(const std::string& name) const { return path + "/" + name; }

  // The step that the best checkpoint was saved at.
  int64_t best_step() const {
    return read_checkpoint_info(file("best.ckpt")).step.value();
  }

  // Flips a bit of the data where they lie: a second name sees it too.
  void damage_in_place(const std::string& name) const {
    std::string bytes = read_bytes(file(name));
    char& last = bytes[bytes.size() - 1];
    last = static_cast<char>(last ^ 1);
    write_bytes(file(name), bytes);
  }

  // As before, but a second name keeps what it had.
  void damage(const std::string& name) const {
    const std::string bytes = read_bytes(file(name));
    std::filesystem::remove(file(name));
    write_bytes(file(name), bytes);
    damage_in_place(name);
  }

  TemporaryFolder base;
  std::string path;
  int64_t step = 0;
  Checkpoint checkpoint;
};

}  // namespace stepsize::test
