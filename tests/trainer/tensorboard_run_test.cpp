// --tensorboard: the curves are those of the tables.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// What is in the records of a file; tests/tensorboard reads them in full.
std::vector<std::string> records_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> records;
  for (std::size_t at = 0; at + 16 <= bytes.size();) {
    std::uint64_t size = 0;
    std::memcpy(&size, bytes.data() + at, sizeof size);
    records.push_back(bytes.substr(at + 12, size));
    at += size + 16;
  }
  return records;
}

class TensorBoardRunTest : public TrainProgramTest {
 protected:
  fs::path events() const { return folder_ / "events"; }
  std::string option() const {
    return " --tensorboard '" + events().string() + "'";
  }
  // In the order of their names.
  std::vector<fs::path> files() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(events())) {
      paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  // Of a curve in a file: the float that ends each of its records.
  static std::vector<float> curve(
      const fs::path& file, const std::string& tag) {
    std::vector<float> values;
    for (const auto& record : records_of(file)) {
      if (record.find(tag) == std::string::npos) continue;
      std::memcpy(
          &values.emplace_back(), &record.at(record.size() - 4), sizeof(float));
    }
    return values;
  }
  std::vector<float> table(
      const std::string& name, const std::string& column_name) const {
    std::vector<float> values;
    for (const auto& cell : column(out() / name, column_name)) {
      values.push_back(static_cast<float>(std::strtod(cell.c_str(), nullptr)));
    }
    return values;
  }
};

TEST_F(TensorBoardRunTest, HasTheRowsOfTheTables) {
  const auto outcome = train("--optimizer clipped-sgd" + option());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err.find("warning"), std::string::npos) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("curves: tensorboard --logdir "));
  ASSERT_EQ(files().size(), 1U);
  const auto file = files().front();
  EXPECT_EQ(curve(file, "update/loss"), table("steps.csv", "train_loss"));
  EXPECT_EQ(curve(file, "update/lr"), table("steps.csv", "lr"));
  EXPECT_EQ(curve(file, "update/grad_norm"), table("steps.csv", "grad_norm"));
  EXPECT_EQ(curve(file, "epoch/test_loss"), table("log.csv", "test_loss"));
  EXPECT_EQ(
      curve(file, "epoch/test_accuracy"), table("log.csv", "test_accuracy"));
  EXPECT_EQ(curve(file, "epoch/test_loss").size(), 2U);
}

TEST_F(TensorBoardRunTest, ARunThatGoesOnHasAFileFromThereOn) {
  ASSERT_EQ(train(option()).status, 0);
  const auto outcome =
      start("--resume --out '" + out().string() + "' --epochs 3" + option());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  ASSERT_EQ(files().size(), 2U);
  const auto losses = table("log.csv", "test_loss");
  ASSERT_EQ(losses.size(), 3U);
  EXPECT_EQ(
      curve(files()[1], "epoch/test_loss"), std::vector<float>{losses.back()});
  // After the version the start of a session, at the ninth update.
  EXPECT_EQ(records_of(files()[1]).at(1).substr(9), "\x10\x09:\x02\x08\x01");
}

TEST_F(TensorBoardRunTest, NamesAFolderThatCannotBe) {
  std::ofstream(events()) << "";
  const auto outcome = train(option());
  EXPECT_NE(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("cannot make \"" + events().string()));
}

}  // namespace
}  // namespace stepsize::trainer
