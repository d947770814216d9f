// Whole runs with each optimizer, on a small set.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "examples/trainer/cli/optimizer_options.h"
#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/run/run.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class OptimizerRunsTest : public testing::Test {
 protected:
  void SetUp() override { write_bars(data(), 48, 20); }

  fs::path data() const { return folder_ / "data"; }
  fs::path out() const { return folder_ / "run"; }

  // What the run tells a person.
  std::string train(const std::vector<std::string>& more) const {
    std::vector<std::string> words{
        "stepsize-train",
        "--data-dir",
        data().string(),
        "--out",
        out().string(),
        "--overwrite",
        "--batch-size",
        "8",
        "--threads",
        "1"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<const char*> arguments;
    for (const auto& word : words) {
      arguments.push_back(word.c_str());
    }
    const auto command = parse_command_line(
        static_cast<int>(arguments.size()), arguments.data());
    std::ostringstream out;
    std::ostringstream err;
    EXPECT_FALSE(command.exit_status);
    EXPECT_EQ(run(command, out, err, /*bar=*/false), kDone) << err.str();
    EXPECT_EQ(err.str(), "");
    return out.str();
  }

  // The cells of steps.csv, without the names of the columns.
  std::vector<std::vector<std::string>> rows() const {
    std::istringstream in(read_text(out() / "steps.csv"));
    std::string line;
    std::getline(in, line);
    EXPECT_EQ(
        line,
        "step,lr,train_loss,grad_norm,sharpness,lr_sharpness,batch,noise_"
        "scale");
    std::vector<std::vector<std::string>> result;
    while (std::getline(in, line)) {
      auto& cells = result.emplace_back();
      // A last cell that is empty would not be seen.
      std::istringstream row(line + ",.");
      for (std::string cell; std::getline(row, cell, ',');) {
        cells.push_back(cell);
      }
    }
    return result;
  }

  TemporaryFolder folder_;
};

// All optimizers, the policy that measures the sharpness, and state in eight
// bits.
std::vector<std::string> ways() {
  auto all = optimizer_names();
  all.emplace_back("power-sgd --policy sharpness");
  all.emplace_back("clipped-adamw --state-type 8bit");
  return all;
}

// Of "power-sgd --policy sharpness" the first word, and all with more.
std::string name_of(const std::string& way) {
  return way.substr(0, way.find(' '));
}

bool measures_sharpness(const std::string& way) {
  return way.find("--policy sharpness") != std::string::npos;
}

std::vector<std::string> arguments_of(
    const std::string& way, const std::vector<std::string>& more) {
  std::istringstream words("--optimizer " + way);
  std::vector<std::string> arguments{
      std::istream_iterator<std::string>(words), {}};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST_F(OptimizerRunsTest, EachLearnsAndLogsWhatItKnows) {
  for (const std::string& way : ways()) {
    SCOPED_TRACE(way);
    const std::string name = name_of(way);
    const bool measures = measures_sharpness(way);
    // Its rate starts near 0.
    const int epochs = name == "dog" ? 12 : 3;
    const auto said =
        train(arguments_of(way, {"--epochs", std::to_string(epochs)}));
    EXPECT_THAT(said, HasSubstr("\n" + name + ": lr "));
    const auto steps = rows();
    ASSERT_EQ(steps.size(), 6U * epochs);
    double loss = 0;
    for (const auto& cells : steps) {
      ASSERT_EQ(cells.size(), 9U);
      EXPECT_GT(std::stod(cells[3]), 0);
      EXPECT_EQ(cells[4].empty(), !measures);
      if (measures) {
        EXPECT_NEAR(
            std::stod(cells[5]),
            std::stod(cells[1]) * std::stod(cells[4]),
            1e-12 * std::stod(cells[5]));
      } else {
        EXPECT_EQ(cells[5], "");
      }
      loss = std::stod(cells[2]);
    }
    // ln 10 is the loss of a guess.
    EXPECT_LT(loss, 0.8 * std::log(10.0));
    EXPECT_THAT(read_text(out() / "gradient.svg"), HasSubstr("</svg>"));
    EXPECT_EQ(fs::exists(out() / "sharpness.svg"), measures);
  }
}

// The columns of curvature.csv, without its first line.
std::vector<std::vector<std::string>> curvature_rows(const fs::path& path) {
  std::istringstream in(read_text(path));
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(
      line,
      "update,lr,sharpness,effective_sharpness,lr_sharpness,limit,trace,"
      "trace_error");
  std::vector<std::vector<std::string>> result;
  while (std::getline(in, line)) {
    auto& cells = result.emplace_back();
    std::istringstream row(line + ",.");
    for (std::string cell; std::getline(row, cell, ',');) {
      cells.push_back(cell);
    }
  }
  return result;
}

// Whose steps are no multiple of the gradient, or of what a preconditioner that
// is known makes of it: there is no limit to compare the curvature with.
const std::set<std::string>& without_limit() {
  static const std::set<std::string> names{
      "lion",
      "sam-sgd",
      "schedule-free-sgd",
      "lars",
      "lamb",
      "hypergradient-adam",
      "schedule-free-adamw",
      "prodigy",
      "dadapt-adam",
      "muon",
      "adahessian",
      "sophia-h"};
  return names;
}

TEST_F(OptimizerRunsTest, EachIsWatchedAndDoesNotNotice) {
  for (const std::string& way : ways()) {
    SCOPED_TRACE(way);
    const std::string name = name_of(way);
    train(arguments_of(way, {"--augment", "crop-flip"}));
    const auto alone = read_text(out() / "steps.csv");
    EXPECT_FALSE(fs::exists(out() / "curvature.csv"));
    const auto said = train(arguments_of(
        way,
        {"--augment",
         "crop-flip",
         "--monitor",
         "curvature",
         "--monitor-every",
         "5"}));
    EXPECT_EQ(read_text(out() / "steps.csv"), alone);
    EXPECT_THAT(
        said,
        AllOf(
            HasSubstr("\nmonitor: curvature, every 5 updates\n"),
            HasSubstr("\ncurvature: sharpness "),
            HasSubstr("curvature.csv")));
    const auto watched = curvature_rows(out() / "curvature.csv");
    ASSERT_EQ(watched.size(), 3U);
    const auto steps = rows();
    const bool descends = name.find("sgd") != std::string::npos;
    const bool has_limit = without_limit().count(name) == 0;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      const auto& cells = watched[i];
      ASSERT_EQ(cells.size(), 9U);
      EXPECT_EQ(cells[0], std::vector<std::string>({"1", "5", "10"})[i]);
      // The rate of that update.
      EXPECT_EQ(cells[1], steps[std::stoul(cells[0]) - 1][1]);
      EXPECT_GT(std::stod(cells[2]), 0);
      if (!has_limit) {
        EXPECT_EQ(cells[3], cells[2]);
      } else if (name == "dog") {
        EXPECT_EQ(cells[3], cells[2]);  // it has no decay
      } else if (descends) {
        // |s H v + d v| is at most |Hv| + d with the coupled decay d and s <=
        // 1, what clips the gradient; rounding of float32 comes on top.
        EXPECT_LE(std::stod(cells[3]), std::stod(cells[2]) + 5.1e-4);
        if (name != "clipped-sgd") {
          EXPECT_GE(std::stod(cells[3]), std::stod(cells[2]) - 5.1e-4);
        }
        EXPECT_NE(cells[3], cells[2]);
      } else {
        EXPECT_EQ(cells[3] == cells[2], !has_limit);
      }
      EXPECT_EQ(cells[4].empty(), !has_limit);
      EXPECT_EQ(cells[5].empty(), !has_limit);
      if (has_limit && name.find("adam") != std::string::npos) {
        // (2 + 2 m) / (1 - m) with beta1 = 0.9.
        EXPECT_NEAR(std::stod(cells[5]), 38, 1e-9);
      }
      EXPECT_EQ(cells[6] + cells[7], "");
    }
    EXPECT_EQ(said.find("rate x sharpness") != std::string::npos, has_limit);
    EXPECT_THAT(
        read_text(out() / "sharpness.svg"),
        HasSubstr(measures_sharpness(way) ? ">monitored<" : ">sharpness<"));
  }
  // A budget that no second measurement fits into.
  EXPECT_THAT(
      train(
          {"--monitor",
           "curvature",
           "--monitor-every",
           "2",
           "--monitor-budget",
           "1e-6"}),
      HasSubstr(
          "\nmonitor: curvature, every 2 updates, in 1e-06% of the time\n"));
  EXPECT_EQ(curvature_rows(out() / "curvature.csv").size(), 1U);
  // What is no longer asked for goes with the run that it was of.
  train({});
  EXPECT_FALSE(fs::exists(out() / "curvature.csv"));
  EXPECT_FALSE(fs::exists(out() / "sharpness.svg"));
}

TEST_F(OptimizerRunsTest, DrawsTheRateThatIsFound) {
  const auto said = train({"--optimizer", "prodigy", "--epochs", "3"});
  EXPECT_THAT(
      said,
      AllOf(
          HasSubstr("prodigy: lr 1 of the rate that is found, "),
          HasSubstr("\nprodigy: rate ")));
  EXPECT_THAT(
      read_text(out() / "lr.svg"),
      AllOf(HasSubstr(">found<"), HasSubstr(">taken<")));
  // d, which never falls, is what the schedule's factor was taken of.
  const auto steps = rows();
  double found = 0;
  for (std::size_t i = 2; i + 1 < steps.size(); ++i) {
    // 1 at the end of the warm-up, and then down a cosine.
    constexpr double kPi = 3.14159265358979323846;
    const double factor =
        (1 + std::cos(kPi * (static_cast<double>(i) - 1.8) / 16.2)) / 2;
    const double d = std::stod(steps[i][1]) / factor;
    EXPECT_GE(d, found * (1 - 1e-6)) << i;
    found = d;
  }
  EXPECT_GT(found, 1e-5);
}

TEST_F(OptimizerRunsTest, LearnsItsRateOnAConstantSchedule) {
  const auto said = train({"--optimizer", "hypergradient-sgd"});
  EXPECT_THAT(
      said,
      AllOf(
          HasSubstr("\nschedule: constant"),
          HasSubstr("\nhypergradient-sgd: rate 0.01 .. ")));
  EXPECT_THAT(
      read_text(out() / "lr.svg"),
      AllOf(HasSubstr(">planned<"), HasSubstr(">taken<")));
}

TEST_F(OptimizerRunsTest, WarnsWhereThereIsNothingToLearn) {
  const auto warning = [](const std::string& optimizer,
                          const std::string& schedule) {
    std::ostringstream err;
    CommandLine command;
    command.options.optimizer = optimizer;
    command.options.schedule = schedule;
    command.options.epochs = 2;
    plan_schedule(command.options, 6 * command.options.batch_size, err);
    return err.str();
  };
  const auto is_warning = HasSubstr("hypergradient-sgd learns its rate from");
  EXPECT_THAT(warning("hypergradient-sgd", "cosine"), is_warning);
  // Of twelve updates one has another rate than the one before.
  EXPECT_EQ(warning("hypergradient-sgd", "step 6 gamma .1"), "");
  EXPECT_EQ(warning("hypergradient-sgd", "constant"), "");
  EXPECT_EQ(warning("dog", "cosine"), "");
}

TEST_F(OptimizerRunsTest, SaysHowManyUpdatesWereClipped) {
  const auto said = train(
      {"--optimizer", "clipped-sgd", "--max-norm", "0.001", "--epochs", "1"});
  EXPECT_THAT(
      said,
      AllOf(
          HasSubstr(", max norm 0.001\n"),
          HasSubstr("clipped-sgd: clipped 6 of 6 updates (100%)\n")));
  EXPECT_THAT(read_text(out() / "gradient.svg"), HasSubstr(">max norm 0.001<"));
  EXPECT_THAT(
      train({"--optimizer", "clipped-adamw", "--max-norm", "1e6"}),
      HasSubstr("clipped-adamw: clipped 0 of 12 updates (0%)\n"));
  // Norms that are never clipped have nothing to tell.
  EXPECT_THAT(train({"--epochs", "1"}), Not(HasSubstr("sgd: clipped")));
}

TEST_F(OptimizerRunsTest, GoesBackFromAnAbsurdRateAndLearns) {
  // With sgd the loss of the third update is above ten thousand.
  const auto said = train(
      {"--optimizer",
       "rollback-sgd",
       "--lr",
       "10",
       "--schedule",
       "constant",
       "--epochs",
       "10"});
  EXPECT_THAT(said, Not(HasSubstr(" 0 rollbacks")));
  const auto steps = rows();
  // The rate of the update, and not the schedule's.
  EXPECT_LT(std::stod(steps.back()[1]), 1);
  EXPECT_LT(std::stod(steps.back()[2]), std::log(10.0));
  EXPECT_THAT(
      read_text(out() / "lr.svg"),
      AllOf(
          HasSubstr(">planned<"),
          HasSubstr(">taken<"),
          HasSubstr(">rollback<")));
}

TEST_F(OptimizerRunsTest, SaysWhatItsPolicyCost) {
  EXPECT_THAT(
      train({"--optimizer", "power-sgd", "--policy", "polyak"}),
      AllOf(
          HasSubstr(", policy polyak, safety 0.5\n"),
          HasSubstr("power-sgd: 0 loss evaluations and 0 gradients besides "
                    "those of the updates\n")));
}

TEST_F(OptimizerRunsTest, MeasuresItsRate) {
  const auto said = train(
      arguments_of("power-sgd --policy sharpness", {"--schedule", "constant"}));
  EXPECT_THAT(
      said,
      AllOf(
          HasSubstr(", policy sharpness, safety 0.5\n"),
          HasSubstr(" Hessian products, rate "),
          HasSubstr("power-sgd: sharpness ")));
  EXPECT_THAT(
      read_text(out() / "sharpness.svg"), HasSubstr(">rate x sharpness<"));
  for (const auto& cells : rows()) {
    // Half of the limit at most.
    EXPECT_LE(std::stod(cells[5]), 0.5 * (2 - 2 * 0.9) * (1 + 1e-9));
  }
}

}  // namespace
}  // namespace stepsize::trainer
