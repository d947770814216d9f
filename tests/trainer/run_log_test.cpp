#include "examples/trainer/run/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/ramp.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RunPlan plan_of(const Schedule& schedule, std::int64_t steps) {
  RunPlan plan{schedule};
  plan.lr = 0.5;
  plan.steps = steps;
  return plan;
}

StepResult step_result(std::int64_t step, double lr, double grad_norm) {
  StepResult result{1, step, lr, 2.25};
  result.grad_norm = grad_norm;
  return result;
}

TEST(RunLog, WritesRowsAndPictures) {
  const TemporaryFolder folder;
  const auto out = folder / "a/b";
  RunLog log(out, plan_of(linear(3), 3));
  log.add(step_result(1, 0.5, 4));
  auto measured = step_result(2, 0.25, 0.125);
  measured.sharpness = 3;
  measured.batch = 256;
  measured.noise_scale = 1.5;
  log.add(measured);
  log.add(step_result(3, 0.25, std::numeric_limits<double>::quiet_NaN()));
  log.add(EpochResult{1, 3, 0.25, 1.875, 0.5, 1.75, 0.625, 100});
  log.draw();
  EXPECT_EQ(
      read_text(out / "log.csv"),
      "epoch,step,lr,train_loss,train_accuracy,test_loss,test_accuracy,"
      "images_per_second\n1,3,0.25,1.875,0.5,1.75,0.625,100\n");
  EXPECT_EQ(
      read_text(out / "steps.csv"),
      "step,lr,train_loss,grad_norm,sharpness,lr_sharpness,batch,noise_scale\n"
      "1,0.5,2.25,4,,,0,\n"
      "2,0.25,2.25,0.125,3,0.75,256,1.5\n"
      "3,0.25,2.25,nan,,,0,\n");
  for (const auto* name :
       {"lr.svg", "loss.svg", "accuracy.svg", "gradient.svg"}) {
    EXPECT_THAT(read_text(out / name), HasSubstr("</svg>")) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(out / "sharpness.svg"));
}

TEST(RunLog, DrawsTheRateBeforeTheRunAndDropsOldPictures) {
  const TemporaryFolder folder;
  for (const auto& name : result_pictures()) {
    write_plain(folder / name, {'o', 'l', 'd'});
  }
  const RunLog log(folder.path(), plan_of(constant(), 1000));
  EXPECT_TRUE(std::filesystem::exists(folder / "lr.svg"));
  for (const auto& name : result_pictures()) {
    EXPECT_FALSE(std::filesystem::exists(folder / name)) << name;
  }
}

TEST(RunLog, KeepsThePlannedRateWhereItWasTaken) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 2));
  const auto planned = read_text(folder / "lr.svg");
  log.add(step_result(1, 0.5, 1));
  log.draw();
  EXPECT_EQ(read_text(folder / "lr.svg"), planned);
  auto back = step_result(2, 0.25, 8);
  back.rolled_back = true;
  log.add(back);
  log.draw();
  EXPECT_THAT(
      read_text(folder / "lr.svg"),
      AllOf(
          HasSubstr(">planned<"),
          HasSubstr(">taken<"),
          HasSubstr(">rollback<")));
  EXPECT_THAT(read_text(folder / "gradient.svg"), HasSubstr(">rollback<"));
}

TEST(RunLog, DrawsWhereGradientsAreClipped) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.max_norm = 2;
  RunLog log(folder.path(), plan);
  log.add(step_result(1, 0.5, 1));
  log.add(step_result(2, 0.5, 4));
  log.draw();
  EXPECT_THAT(
      read_text(folder / "gradient.svg"),
      AllOf(HasSubstr(">norm<"), HasSubstr(">max norm 2<")));
}

TEST(RunLog, DrawsTheSharpnessOfARunThatMeasuresIt) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.rate = RateOrigin::kFound;
  plan.stability_limit = 3.8;
  RunLog log(folder.path(), plan);
  const auto planned = read_text(folder / "lr.svg");
  EXPECT_THAT(planned, HasSubstr(">factor<"));
  for (const std::int64_t step : {1, 2}) {
    auto result = step_result(step, 0.5, 1);
    result.sharpness = 4;
    log.add(result);
  }
  log.draw();
  EXPECT_THAT(
      read_text(folder / "sharpness.svg"),
      AllOf(
          HasSubstr(">sharpness<"),
          HasSubstr(">rate x sharpness<"),
          HasSubstr(">its limit 3.8<")));
  EXPECT_THAT(read_text(folder / "lr.svg"), Not(HasSubstr(">factor<")));
}

TEST(RunLog, DrawsTheBatchAndItsNoiseScale) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.batch_varies = true;
  RunLog log(folder.path(), plan);
  for (const std::int64_t step : {1, 2}) {
    auto result = step_result(step, 0.5, 1);
    result.batch = 100 * step;
    result.noise_scale = 300;
    log.add(result);
  }
  log.draw();
  EXPECT_THAT(
      read_text(folder / "batch.svg"),
      AllOf(HasSubstr(">batch<"), HasSubstr(">gradient noise scale<")));
}

// The y coordinates of the first line of a picture.
std::vector<double> heights(const std::string& picture) {
  const std::string start = "points=\"";
  const auto from = picture.find(start, picture.find("<polyline"));
  std::istringstream in(picture.substr(
      from + start.size(), picture.find('"', from + start.size()) - from));
  std::vector<double> result;
  double x = 0;
  double y = 0;
  for (char comma = 0; in >> x >> comma >> y;) {
    result.push_back(y);
  }
  return result;
}

TEST(RunLog, DrawsWhatFollowsAHugeValueAsItIs) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 1000));
  for (std::int64_t step = 1; step <= 1000; ++step) {
    log.add(step_result(step, 0.5, step == 300 ? 1e22 : 2));
  }
  log.draw();
  const auto norms = heights(read_text(folder / "gradient.svg"));
  ASSERT_FALSE(norms.empty());
  // Means of eleven: the same height on either side of the spike, and no gap.
  EXPECT_EQ(norms.front(), norms.back());
  EXPECT_LT(*std::min_element(norms.begin(), norms.end()), norms.front() - 100);
}

TEST(RunLog, DrawsOneNormThatIsNoNumberAsOneGap) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 1000));
  for (std::int64_t step = 1; step <= 1000; ++step) {
    log.add(step_result(
        step, 0.5, step == 500 ? std::numeric_limits<double>::infinity() : 2));
  }
  log.draw();
  // Means are taken over eleven updates: those near it count without it.
  std::size_t lines = 0;
  const auto picture = read_text(folder / "gradient.svg");
  for (auto at = picture.find("<polyline"); at != std::string::npos;
       at = picture.find("<polyline", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 2U);
  EXPECT_THAT(picture, Not(HasSubstr("nan")));
}

// A log of two epochs of two updates, and what it wrote.
struct WrittenLog {
  explicit WrittenLog(const std::filesystem::path& out) {
    RunLog log(out, plan_of(constant(), 4));
    for (std::int64_t epoch = 1; epoch <= 2; ++epoch) {
      for (std::int64_t step = 2 * epoch - 1; step <= 2 * epoch; ++step) {
        auto result = step_result(step, 0.1, step == 2 ? INFINITY : 1.0 / 3);
        result.rolled_back = step == 2;
        if (step == 3) {
          result.sharpness = 0.7;
          result.noise_scale = 12.5;
        }
        log.add(result);
      }
      log.add(EpochResult{epoch, 2 * epoch, 0.1, 0.3, 0.5, 1e-7, 0.7, 9.9});
    }
    log.draw();
    place = log.place();
    steps = read_text(out / "steps.csv");
    epochs = read_text(out / "log.csv");
  }

  LogPlace place;
  std::string steps;
  std::string epochs;
};

TEST(RunLog, GoesOnWithoutAGapOrADoubleRow) {
  const TemporaryFolder folder;
  const WrittenLog written(folder.path());
  EXPECT_EQ(written.place.steps, 4);
  EXPECT_EQ(written.place.epochs, 2);
  const auto loss = read_text(folder / "loss.svg");
  const auto gradient = read_text(folder / "gradient.svg");
  // A run that was killed may leave half a row.
  write_plain(folder / "steps.csv", [&] {
    Bytes bytes(written.steps.begin(), written.steps.end());
    bytes.insert(bytes.end(), {'5', ',', '0'});
    return bytes;
  }());
  LogPlace place = written.place;
  place.steps = 3;
  place.epochs = 1;
  RunLog log(folder.path(), plan_of(constant(), 4), place);
  ASSERT_EQ(log.epochs().size(), 1U);
  EXPECT_EQ(log.epochs()[0].test_loss, 1e-7);
  log.add(step_result(4, 0.1, 1.0 / 3));
  log.add(EpochResult{2, 4, 0.1, 0.3, 0.5, 1e-7, 0.7, 9.9});
  EXPECT_EQ(read_text(folder / "steps.csv"), written.steps);
  EXPECT_EQ(read_text(folder / "log.csv"), written.epochs);
  EXPECT_EQ(log.place().rollbacks, written.place.rollbacks);
  // The pictures have the rows of before, and the rollback.
  log.draw();
  EXPECT_EQ(read_text(folder / "loss.svg"), loss);
  EXPECT_EQ(read_text(folder / "gradient.svg"), gradient);
}

TEST(RunLog, RefusesALogThatIsNotTheCheckpoints) {
  const TemporaryFolder folder;
  const WrittenLog written(folder.path());
  const auto refusal = [&] {
    return message_of(
        [&] { RunLog(folder.path(), plan_of(constant(), 4), written.place); });
  };
  const auto with_steps = [&](const std::string& text) {
    write_plain(folder / "steps.csv", Bytes(text.begin(), text.end()));
    const auto message = refusal();
    EXPECT_EQ(read_text(folder / "steps.csv"), text);
    return message;
  };
  const auto& steps = written.steps;
  EXPECT_EQ(with_steps(steps), "");
  EXPECT_THAT(
      with_steps(steps.substr(0, steps.size() - 1)),
      AllOf(
          HasSubstr((folder / "steps.csv").string()),
          HasSubstr("ends after row 3")));
  EXPECT_THAT(with_steps(steps.substr(1)), HasSubstr("columns"));
  EXPECT_THAT(with_steps(""), HasSubstr("columns"));
  const auto with = [&](const std::string& old, const std::string& text) {
    auto changed = steps;
    return changed.replace(changed.find(old), old.size(), text);
  };
  EXPECT_THAT(
      with_steps(with("\n3,", "\n3x,")), HasSubstr("line 4 is no row: 3x,"));
  EXPECT_THAT(with_steps(with("\n3,", "\n")), HasSubstr("line 4 is no row"));
  EXPECT_THAT(
      with_steps(with("\n3,", "\n7,")), HasSubstr("row 3 has the number 7"));
  std::filesystem::remove(folder / "steps.csv");
  EXPECT_THAT(refusal(), HasSubstr("cannot be read"));
  EXPECT_EQ(read_text(folder / "log.csv"), written.epochs);
}

// Lets no file grow beyond a size, as a full disk does, while it lives.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes)
      : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  void (*old_handler_)(int);
  rlimit old_{};
};

TEST(RunLog, KeepsRowsUntilThereIsRoom) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 3));
  log.add(step_result(1, 0.5, 1));
  const auto first = read_text(folder / "steps.csv");
  {
    const SizeLimit limit(first.size());
    log.add(step_result(2, 0.5, 1));
    log.add(EpochResult{1, 2, 0.5, 1, 0.5, 1, 0.5, 100});
    EXPECT_THAT(log.error(), HasSubstr((folder / "steps.csv").string()));
    EXPECT_THAT(message_of([&] { log.sync(); }), HasSubstr("steps.csv"));
    EXPECT_EQ(read_text(folder / "steps.csv"), first);
  }
  log.add(step_result(3, 0.5, 1));
  EXPECT_EQ(log.error(), "");
  EXPECT_EQ(
      read_text(folder / "steps.csv"),
      first + "2,0.5,2.25,1,,,0,\n3,0.5,2.25,1,,,0,\n");
  EXPECT_THAT(
      read_text(folder / "log.csv"), HasSubstr("\n1,2,0.5,1,0.5,1,0.5,100\n"));
  EXPECT_EQ(message_of([&] { log.sync(); }), "");
}

TEST(RunLog, NamesTheFolderThatItCannotMake) {
  const TemporaryFolder folder;
  write_plain(folder / "file", {});
  const auto out = folder / "file/run";
  EXPECT_THAT(
      message_of([&] { RunLog(out, plan_of(constant(), 1)); }),
      HasSubstr(out.string()));
}

TEST(RunLog, NamesTheFileThatItCannotReplace) {
  const TemporaryFolder folder;
  // A folder that is not empty is in the way of each file.
  std::vector<std::string> names = result_pictures();
  names.insert(names.end(), {"log.csv", "steps.csv", "lr.svg", "report.html"});
  for (const auto& name : names) {
    const auto out = folder / ("for-" + name);
    std::filesystem::create_directories(out / name / "in-the-way");
    EXPECT_THAT(
        message_of([&] { RunLog(out, plan_of(constant(), 1)); }),
        HasSubstr((out / name).string()));
  }
}

}  // namespace
}  // namespace stepsize::trainer
