#include "examples/trainer/run/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

void write_text(const std::filesystem::path& path, const std::string& text) {
  write_plain(path, {text.begin(), text.end()});
}

constexpr const char* kSteps =
    "step,lr,train_loss,grad_norm,sharpness,lr_sharpness,batch,noise_scale\n"
    "1,0.1,2.5,1,,,100,\n2,0.1,nan,1,,,20,\n3,0.1,2,1,,,100,\n"
    "4,0.1,1.5,1,,,20,\n";
constexpr const char* kEpochs =
    "epoch,step,lr,train_loss,train_accuracy,test_loss,test_accuracy,"
    "images_per_second\n"
    "1,2,0.1,2.5,0.25,0.75,0.75,2\n2,4,0.1,1.5,0.5,1.25,0.5,4\n";

class ComparisonTest : public testing::Test {
 protected:
  void write(const std::string& steps, const std::string& epochs) const {
    write_text(folder_ / "steps.csv", steps);
    write_text(folder_ / "log.csv", epochs);
  }
  std::string error() const {
    return message_of([&] { read_run_tables(folder_.path()); });
  }

  TemporaryFolder folder_;
};

TEST_F(ComparisonTest, TableHasBestAccuracyLastLossAndTime) {
  write(kSteps, kEpochs);
  auto run = read_run_tables(folder_.path());
  run.name = "a";
  // 120 images at 2 a second, and 120 at 4.
  EXPECT_EQ(
      comparison_table({run}),
      "run  epochs  best accuracy  in  final loss  training\n"
      "a         2         75.00%   1        1.25      1:30\n");
}

TEST_F(ComparisonTest, TableIsNarrowWhateverTheNames) {
  write(kSteps, kEpochs);
  auto run = read_run_tables(folder_.path());
  run.name = std::string(200, 'n') + "-the-end";
  auto begun = run;
  begun.epochs.clear();
  const auto table = comparison_table({run, begun});
  EXPECT_THAT(
      table,
      AllOf(
          HasSubstr("-the-end"),
          HasSubstr("  no test; loss 1.5 at update 4\n")));
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 79U) << line;
  }
}

TEST_F(ComparisonTest, ReadsARunThatIsOn) {
  write(std::string(kSteps) + "5,0.1,1.", std::string(kEpochs) + "3,5");
  const auto run = read_run_tables(folder_.path());
  EXPECT_EQ(run.steps.size(), 4U);
  EXPECT_EQ(run.epochs.size(), 2U);
  EXPECT_EQ(run.name, folder_.path().filename());
  EXPECT_EQ(read_run_tables(folder_ / "").name, run.name);
}

TEST_F(ComparisonTest, DrawsAllRunsInOneDocument) {
  write(kSteps, kEpochs);
  auto first = read_run_tables(folder_.path());
  first.name = "first";
  auto second = first;
  second.name = "second";
  second.steps.clear();
  second.epochs.clear();
  const auto svg = comparison_svg({first, second});
  EXPECT_THAT(
      svg,
      AllOf(
          HasSubstr("Test accuracy"),
          HasSubstr("Training loss"),
          HasSubstr(">first<"),
          HasSubstr(">second<")));
  EXPECT_EQ(svg.rfind("<svg xmlns", 0), 0U);
}

TEST_F(ComparisonTest, NamesFileAndLineOfABadTable) {
  EXPECT_THAT(error(), HasSubstr("there is no such file"));
  write("step,lr\n", kEpochs);
  EXPECT_THAT(error(), HasSubstr("steps.csv: it has no column train_loss"));
  write(std::string(kSteps) + "5,0.1,x,1,,,20,\n", kEpochs);
  EXPECT_THAT(error(), HasSubstr("steps.csv: line 6 is no row: 5,0.1,x"));
  write(kSteps, std::string(kEpochs) + "3,5,0.1,2.5,0.25,0.75,0.75,2\n");
  EXPECT_THAT(
      error(),
      HasSubstr("log.csv: line 4 is of update 5, and steps.csv has 4"));
  write(kSteps, std::string(kEpochs) + "3,4,0.1,2.5,0.25,0.75,0.75,2\n");
  EXPECT_THAT(error(), HasSubstr("log.csv: line 4 is of update 4"));
}

TEST_F(ComparisonTest, LeavesOutWhatWasStoppedBeforeItsTraining) {
  const TemporaryFolder empty;
  write_text(empty / "run.lock", "");
  std::ostringstream out;
  EXPECT_THAT(
      message_of([&] { compare_runs({empty.path().string()}, {}, out); }),
      HasSubstr("--compare: there is no run to compare"));
  EXPECT_THAT(out.str(), HasSubstr("stopped before its training, left out"));
}

TEST(CompareRuns, RefusesMoreThanCanBeToldApart) {
  std::ostringstream out;
  EXPECT_THAT(
      message_of(
          [&] { compare_runs(std::vector<std::string>(13, "a"), {}, out); }),
      HasSubstr("at most 12 runs can be told apart in one picture, got 13"));
}

}  // namespace
}  // namespace stepsize::trainer
