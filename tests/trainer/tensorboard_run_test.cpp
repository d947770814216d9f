// --tensorboard: the curves are those of the tables.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/tensorboard/event_writer.h>

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
  // One warning, where there is nothing that could draw.
  EXPECT_EQ(
      outcome.err.find("warning") == std::string::npos,
      EventWriter::draws_svg())
      << outcome.err;
  EXPECT_EQ(outcome.err.rfind("warning"), outcome.err.find("warning"))
      << outcome.err;
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

// Of a schedule that has not come to its end, at a rate of 0.
TEST_F(TensorBoardRunTest, ARunThatGoesOnHasAFileFromThereOn) {
  ASSERT_EQ(train("--schedule constant" + option()).status, 0);
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

// TensorBoard shows a tag until the tag gets an event of a lower step.
TEST_F(TensorBoardRunTest, ANewRunTakesThePlaceOfTheFilesOfTheEarlierOne) {
  ASSERT_EQ(train("--monitor curvature" + option()).status, 0);
  ASSERT_EQ(files().size(), 1U);
  const auto earlier = files().front();
  EXPECT_FALSE(curve(earlier, "curvature/sharpness").empty());
  const auto other = events() / "events.out.tfevents.1700000000.a.stepsize.1.0";
  std::ofstream(other) << "";
  ASSERT_EQ(train(option()).status, 0);
  ASSERT_EQ(files().size(), 2U);
  EXPECT_FALSE(fs::exists(earlier));
  EXPECT_TRUE(fs::exists(other));
  for (const auto& file : files()) {
    EXPECT_TRUE(curve(file, "curvature/").empty());
  }
}

TEST_F(TensorBoardRunTest, AskedForItMayNotTakeThePlaceOfAnotherRun) {
  ASSERT_EQ(train(option()).status, 0);
  const auto before = files();
  const auto outcome = start(
      "--data-dir '" + data().string() + "' --out '" +
      (folder_ / "other").string() + "' --epochs 1" + option());
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr("holds the events of a run"));
  EXPECT_EQ(files(), before);
}

// Neither a name that Markdown would read nor one that is no UTF-8 is lost.
TEST_F(TensorBoardRunTest, ShowsTheOptionsAsTheyAre) {
  const auto odd = folder_ / "a|b*\xe9";
  write_bars(odd, 60, 40);
  const auto outcome = train("--data-dir '" + odd.string() + "'" + option());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      records_of(files().front()).at(1),
      HasSubstr("a&#124;b&#42;\xef\xbf\xbd |\n"));
}

TEST_F(TensorBoardRunTest, AFolderThatCannotBeEndsTheRunAndLeavesTheOldOne) {
  ASSERT_EQ(train("").status, 0);
  const auto checkpoint = out() / "checkpoints" / "best.ckpt";
  ASSERT_TRUE(fs::exists(checkpoint));
  std::ofstream(events()) << "";
  // The second is found only when the folder is made.
  for (const std::string& name : {std::string("x"), std::string(300, 'x')}) {
    const auto folder = name == "x" ? events() / name : folder_ / name;
    const auto outcome = train("--tensorboard '" + folder.string() + "'");
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.err, HasSubstr(folder.string()));
    EXPECT_TRUE(fs::exists(checkpoint));
  }
}

}  // namespace
}  // namespace stepsize::trainer
