// Several processes that train one model, as a user starts them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "sample_files.h"
#include "tests/support/ranks.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ProcessesTest : public TrainProgramTest {
 protected:
  std::vector<Running> begin_ranks(
      const std::string& arguments,
      int count = 2,
      const std::string& timeout = "20") const {
    const std::string master = test::free_master();
    std::vector<Running> ranks;
    for (int rank = 0; rank < count; ++rank) {
      const std::string number = std::to_string(rank);
      ranks.push_back(begin(
          arguments + " --world-size " + std::to_string(count) + " --rank " +
              number + " --master " + master + " --timeout " + timeout,
          "rank" + number));
    }
    return ranks;
  }

  std::vector<Outcome> run_ranks(
      const std::string& arguments, int count = 2) const {
    std::vector<Outcome> outcomes;
    for (const auto& rank : begin_ranks(arguments, count)) {
      outcomes.push_back(finish(rank));
    }
    return outcomes;
  }

  // Returns when steps.csv has so many rows.
  static void wait_for_rows(const fs::path& run, std::int64_t rows) {
    for (int i = 0; i < 60000; ++i) {
      if (fs::exists(run / "steps.csv")) {
        const auto text = read_text(run / "steps.csv");
        if (std::count(text.begin(), text.end(), '\n') > rows) {
          return;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    FAIL() << "there are less than " << rows << " updates";
  }

  static void expect_near(
      const fs::path& a, const fs::path& b, const std::string& name) {
    const auto left = column(a, name);
    const auto right = column(b, name);
    ASSERT_EQ(left.size(), right.size());
    ASSERT_FALSE(left.empty());
    for (std::size_t i = 0; i < left.size(); ++i) {
      EXPECT_NEAR(std::stod(left[i]), std::stod(right[i]), 1e-5)
          << name << " in row " << i + 1;
    }
  }
};

// Gloo tells of its connections where they take a while.
std::string without_info_of_gloo(const std::string& text) {
  std::istringstream in(text);
  std::string rest;
  for (std::string line; std::getline(in, line);) {
    const bool is_info = line.rfind('[', 0) == 0 &&
                         line.find("gloo/") != std::string::npos &&
                         line.find(" INFO ") != std::string::npos;
    if (!is_info) rest += line + '\n';
  }
  return rest;
}

class SharedRunTest : public ProcessesTest,
                      public testing::WithParamInterface<const char*> {};

TEST_P(SharedRunTest, ReachesTheLossesOfOneWithTwiceTheBatch) {
  // The last batch of an epoch has 9 images: 4 for one and 5 for the other.
  const std::string options =
      std::string("--limit-train 41 --no-lr-check ") + GetParam();
  const auto one = train(options);
  ASSERT_EQ(one.status, 0) << one.err;
  const auto shared = folder_ / "shared";
  const auto two = run_ranks(
      arguments(options) + " --batch-size 8 --out '" + shared.string() + "'");
  ASSERT_EQ(two[0].status, 0) << two[0].err;
  EXPECT_EQ(two[1].status, 0);
  EXPECT_EQ(two[1].out, "");
  EXPECT_EQ(without_info_of_gloo(two[1].err), "");
  EXPECT_THAT(two[0].out, HasSubstr("(2 processes of 1 thread)"));
  expect_near(shared / "steps.csv", out() / "steps.csv", "train_loss");
  expect_near(shared / "steps.csv", out() / "steps.csv", "lr");
  EXPECT_EQ(
      column(shared / "steps.csv", "batch"),
      column(out() / "steps.csv", "batch"));
  for (const auto* name : {"train_accuracy", "test_loss", "test_accuracy"}) {
    expect_near(shared / "log.csv", out() / "log.csv", name);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers,
    SharedRunTest,
    testing::Values(
        "--lr 0.001",
        "--lr 0.0001 --augment crop-flip --model resnet20 --epochs 1",
        "--optimizer adam --lr 0.0001",
        "--optimizer adamw --lr 0.0001",
        "--optimizer rmsprop --lr 0.00001",
        "--optimizer clipped-sgd --lr 0.001",
        "--optimizer clipped-adamw --lr 0.0001 --accumulate 2",
        "--optimizer lion --lr 0.000001",
        "--optimizer rollback-sgd --lr 0.001",
        "--optimizer sam-sgd --lr 0.001",
        "--optimizer lars --lr 0.1",
        "--optimizer lamb --lr 0.0001",
        "--optimizer hypergradient-sgd --lr 0.001",
        "--optimizer schedule-free-sgd --lr 0.001",
        "--optimizer schedule-free-adamw --lr 0.0001",
        "--optimizer hypergradient-adam --lr 0.0001",
        "--optimizer prodigy",
        "--optimizer dadapt-adam",
        "--optimizer dog",
        "--optimizer muon --lr 0.0001",
        "--optimizer adahessian --lr 0.0001",
        "--optimizer sophia-h --lr 0.00001",
        "--optimizer power-sgd --epochs 1 --safety 0.1",
        "--optimizer power-sgd --policy sharpness --epochs 1 --safety 0.1",
        "--lr 0.001 --batch-schedule 32 --epochs 4",
        "--lr 0.0001 --early-stop 1 --epochs 3"));

TEST_F(ProcessesTest, TakePartWithoutAnImage) {
  // Of the last batch, one image, the first has none.
  const auto shared = folder_ / "shared";
  const std::string options = "--limit-train 33 --no-lr-check --lr 0.01 ";
  ASSERT_EQ(train(options).status, 0);
  const auto two = run_ranks(
      arguments(options) + " --batch-size 8 --out '" + shared.string() + "'");
  ASSERT_EQ(two[0].status, 0) << two[0].err << two[1].err;
  expect_near(shared / "steps.csv", out() / "steps.csv", "train_loss");
}

// The statistics that the mean is tested with are those of whole batches, also
// in the one process that evaluates.
TEST_F(ProcessesTest, SaveWhatIsEvaluatedAlike) {
  const auto shared = folder_ / "shared";
  const auto two = run_ranks(
      arguments("--optimizer schedule-free-sgd --lr 0.1 --no-lr-check ") +
      " --batch-size 8 --out '" + shared.string() + "'");
  ASSERT_EQ(two[0].status, 0) << two[0].err << two[1].err;
  const auto losses = column(shared / "log.csv", "test_loss");
  double best = std::stod(losses.front());
  for (const auto& loss : losses) best = std::min(best, std::stod(loss));
  const auto outcome =
      start("--evaluate '" + (shared / "checkpoints/best.ckpt").string() + "'");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto at = outcome.out.find("loss ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NEAR(std::stod(outcome.out.substr(at + 5)), best, 1e-4);
}

TEST_F(ProcessesTest, FindOneRate) {
  const std::string options = "--lr auto --schedule constant --epochs 1 ";
  ASSERT_EQ(train(options).status, 0);
  const auto shared = folder_ / "shared";
  const auto two = run_ranks(
      arguments(options) + " --batch-size 8 --out '" + shared.string() + "'");
  ASSERT_EQ(two[0].status, 0) << two[0].err;
  EXPECT_EQ(two[1].status, 0) << two[1].err;
  EXPECT_THAT(two[0].out, HasSubstr("suggested"));
  // At high rates what is left of a loss may be rounding alone.
  const auto one_test = column(out() / "lr_range.csv", "loss");
  const auto two_tests = column(shared / "lr_range.csv", "loss");
  const std::size_t early = 33;
  ASSERT_GT(std::min(one_test.size(), two_tests.size()), early);
  for (std::size_t i = 0; i < early; ++i) {
    EXPECT_NEAR(std::stod(one_test[i]), std::stod(two_tests[i]), 1e-5)
        << "update " << i;
  }
  const auto rate = [](const fs::path& run) {
    return std::stod(column(run / "steps.csv", "lr").front());
  };
  // Which moves where the curve ends, and by that the rate by a percent or two,
  // as the processor rounds.
  EXPECT_NEAR(rate(shared) / rate(out()), 1, 0.05);
}

struct Loss {
  int processes;
  int lost;
};

class LostRankTest : public ProcessesTest,
                     public testing::WithParamInterface<Loss> {};

TEST_P(LostRankTest, EndsTheOthersOfWhichOneSavesAllThatWasDone) {
  const auto [processes, lost] = GetParam();
  const std::string options =
      "--batch-size 8 --no-lr-check --lr 0.01 --epochs 7 "
      "--optimizer rollback-sgd ";
  const auto whole = folder_ / "whole";
  for (const auto& outcome : run_ranks(
           arguments(options) + " --out '" + whole.string() + "'", processes)) {
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  auto ranks = begin_ranks(arguments(options), processes);
  wait_for_rows(out(), 9);
  const auto killed = ranks.begin() + lost;
  const auto killed_at = std::chrono::steady_clock::now();
  kill(killed->process, SIGKILL);
  EXPECT_EQ(finish(*killed).status, 128 + SIGKILL);
  ranks.erase(killed);
  std::vector<Outcome> left;
  for (const auto& rank : ranks) {
    left.push_back(finish(rank));
  }
  const std::chrono::duration<double> passed =
      std::chrono::steady_clock::now() - killed_at;
  // At once where its connection tells, else by the time-out of 20 s.
  EXPECT_LT(passed.count(), 25);
  const std::string who =
      processes == 2 ? "rank " + std::to_string(lost) : "another rank";
  for (const auto& outcome : left) {
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    EXPECT_THAT(
        outcome.err,
        AllOf(HasSubstr("has lost " + who), Not(HasSubstr("frame #"))));
  }
  EXPECT_THAT(
      left[0].err,
      AllOf(
          HasSubstr("saved in "),
          HasSubstr(
              "launch.sh -n " + std::to_string(processes) +
              " -- --resume --out ")));
  // One that may not save does not tell what it finds: it may be out of date.
  for (std::size_t i = 1; i < left.size(); ++i) {
    EXPECT_THAT(
        left[i].err,
        AllOf(Not(HasSubstr("checkpoint")), Not(HasSubstr("saved in"))));
  }
  for (const auto& outcome :
       run_ranks("--resume --out '" + out().string() + "'", processes)) {
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  EXPECT_EQ(read_text(out() / "steps.csv"), read_text(whole / "steps.csv"));
  EXPECT_EQ(timeless(out() / "log.csv"), timeless(whole / "log.csv"));
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, LostRankTest, testing::Values(Loss{2, 0}, Loss{2, 1}, Loss{3, 2}));

TEST_F(ProcessesTest, WaitNoLongerThanTheTimeOutForOneThatHangs) {
  const auto ranks = begin_ranks(
      arguments("--batch-size 8 --no-lr-check --lr 0.01 --epochs 500"), 2, "9");
  wait_for_rows(out(), 3);
  kill(ranks[1].process, SIGSTOP);
  const auto left = finish(ranks[0]);
  EXPECT_EQ(left.status, 4) << left.err;
  EXPECT_THAT(
      left.err,
      AllOf(
          HasSubstr("has lost rank 1"),
          HasSubstr("the time-out is 9 s"),
          HasSubstr("saved in ")));
  // One that comes back finds that the others have gone.
  kill(ranks[1].process, SIGCONT);
  const auto late = finish(ranks[1]);
  EXPECT_EQ(late.status, 4) << late.err;
  EXPECT_THAT(
      late.err,
      HasSubstr("rank 1: ProcessGroupReduction: rank 1 of 2 "
                "has lost rank 0"));
}

TEST_F(ProcessesTest, AreStartedStoppedAndGoneOnWithByTheScript) {
  const std::string launch = std::string("'") + STEPSIZE_LAUNCH +
                             "' -n 2 --program '" + STEPSIZE_TRAIN + "' -- ";
  const auto script = begin_shell(
      "exec " + launch +
          arguments("--batch-size 8 --no-lr-check --lr 0.01 --epochs 50"),
      "launch");
  wait_for_rows(out(), 5);
  kill(script.process, SIGTERM);
  const auto stopped = finish(script);
  EXPECT_EQ(stopped.status, 128 + SIGTERM) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("stopped by SIGTERM after update"));
  // Said once.
  EXPECT_EQ(stopped.err.find("stopped by"), stopped.err.rfind("stopped by"));

  const auto alone = start("--resume --out '" + out().string() + "'");
  expect_refusal(alone, 1);
  EXPECT_THAT(
      alone.err, HasSubstr("is one of 2 processes; start as many, not 1"));
  // As many epochs as are begun.
  const auto rows = column(out() / "steps.csv", "step").size();
  const auto epochs = std::to_string(rows / 4 + 1);
  const auto resumed = finish(begin_shell(
      "exec " + launch + "--resume --out '" + out().string() + "' --epochs " +
          epochs,
      "resumed"));
  EXPECT_EQ(resumed.status, 0) << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("goes on after"));
}

TEST_F(ProcessesTest, SayWhatDoesNotFitTogether) {
  const auto refusal = [&](const std::string& options, const char* message) {
    const auto outcome = train(options);
    expect_refusal(outcome, 1);
    EXPECT_THAT(outcome.err, HasSubstr(message));
  };
  refusal("--world-size 2", "--world-size 2 wants --master HOST:PORT");
  refusal(
      "--world-size 1 --rank 1",
      "--rank 1: must be less than --world-size, which is 1");
  refusal(
      "--world-size 2 --rank 1 --timeout 1 --master " + test::free_master(),
      "rank 1: connect: rank 1 of 2 has not met the others at 127.0.0.1:");

  const std::string master = test::free_master();
  const auto with = [&](const std::string& rank, const std::string& options) {
    return begin(
        arguments(options + " --world-size 2 --rank " + rank) + " --master " +
            master,
        "rank" + rank);
  };
  const auto first = with("0", "--seed 1");
  const auto other = with("1", "--seed 2");
  for (const auto& outcome : {finish(first), finish(other)}) {
    expect_refusal(outcome, 1);
    EXPECT_THAT(outcome.err, HasSubstr("rank 1: --seed is 2, rank 0 has 1"));
  }
  const auto by_half = with("0", "--amp bf16");
  const auto by_float = with("1", "--amp off");
  for (const auto& outcome : {finish(by_half), finish(by_float)}) {
    expect_refusal(outcome, 1);
    EXPECT_THAT(
        outcome.err, HasSubstr("rank 1: --amp is not there, rank 0 has bf16"));
  }
}

// What BatchNorm sums up over ranks it sums up in double precision, and its
// images are of bfloat16.
TEST_F(ProcessesTest, TrainByAutocast) {
  const std::string options = "--limit-train 41 --no-lr-check --lr 0.001";
  ASSERT_EQ(train(options + " --amp bf16").status, 0);
  const auto losses_of_two = [&](const std::string& amp) {
    const auto shared = folder_ / ("shared_" + amp);
    const auto two = run_ranks(
        arguments(options) + " --amp " + amp + " --batch-size 8 --out '" +
        shared.string() + "'");
    EXPECT_EQ(two[0].status, 0) << two[0].err;
    EXPECT_EQ(two[1].status, 0) << two[1].err;
    return column(shared / "steps.csv", "train_loss");
  };
  const auto one = column(out() / "steps.csv", "train_loss");
  const auto both = losses_of_two("bf16");
  ASSERT_EQ(one.size(), both.size());
  ASSERT_FALSE(one.empty());
  // In float32 they lose about the same, but not the same to all digits.
  EXPECT_NE(both, losses_of_two("off"));
  for (std::size_t i = 0; i < one.size(); ++i) {
    // Sums in another order end on another side of a rounding to 2^-9.
    EXPECT_NEAR(std::stod(one[i]), std::stod(both[i]), 0.02) << i;
  }
}

// What the ranks say, each with options of its own.
class DifferentRanksTest : public ProcessesTest {
 protected:
  std::vector<Outcome> run_with(
      const std::string& common,
      const std::string& of_first,
      const std::string& of_other) const {
    const std::string master = test::free_master();
    const auto with = [&](const char* rank, const std::string& own) {
      return begin(
          common + " " + own + " --world-size 2 --master " + master +
              " --rank " + rank,
          std::string("rank") + rank);
    };
    const auto first = with("0", of_first);
    const auto other = with("1", of_other);
    return {finish(first), finish(other)};
  }

  static void expect_all_say(
      const std::vector<Outcome>& outcomes, const std::string& message) {
    for (const auto& outcome : outcomes) {
      EXPECT_EQ(outcome.status, 1) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(message));
    }
  }
};

TEST_F(DifferentRanksTest, RefuseOtherOptions) {
  expect_all_say(
      run_with(arguments(""), "--batch-size 8", "--batch-size 4 --seed 2"),
      "rank 1: --batch-size is 4, rank 0 has 8; --seed is 2, rank 0 has 1");
  expect_all_say(
      run_with(arguments("--batch-size 8 --lr 0.1"), "", "--no-lr-check"),
      "rank 1: --no-lr-check is yes, rank 0 has no");
  EXPECT_FALSE(fs::exists(out() / "steps.csv"));
}

TEST_F(DifferentRanksTest, RefuseOtherImages) {
  // A file of CIFAR-10 that one does not have, and one of equal size with other
  // contents.
  const auto write = [&](const std::string& name, int files, int pixel) {
    const auto folder = folder_ / name;
    fs::create_directories(folder);
    const auto records = [&](int first) {
      Bytes bytes;
      for (int i = 0; i < 10; ++i) {
        const auto record = cifar_record(
            {static_cast<std::uint8_t>(i)},
            static_cast<std::uint8_t>(first + i));
        bytes.insert(bytes.end(), record.begin(), record.end());
      }
      return bytes;
    };
    for (int i = 1; i <= files; ++i) {
      write_plain(
          folder / ("data_batch_" + std::to_string(i) + ".bin"),
          records(i == 1 ? pixel : 20 * i));
    }
    write_plain(folder / "test_batch.bin", records(200));
    return " --data-dir '" + folder.string() + "'";
  };
  const auto two = write("two", 2, 20);
  const auto one = write("one", 1, 20);
  const auto changed = write("changed", 2, 21);
  const std::string common =
      "--dataset cifar10 --batch-size 4 --epochs 1 "
      "--out '" +
      out().string() + "'";
  expect_all_say(
      run_with(common, two, one),
      "rank 1: the data is 10 training and 10 test images, 3x32x32, 10 "
      "classes, checksum ");
  const auto outcomes = run_with(common, two, changed);
  expect_all_say(
      outcomes,
      "rank 1: the data is 20 training and 10 test images, 3x32x32, 10 "
      "classes, checksum ");
  EXPECT_THAT(
      outcomes[0].err,
      HasSubstr("rank 0 has 20 training and 10 test images, 3x32x32, 10 "
                "classes, checksum "));
  EXPECT_FALSE(fs::exists(out() / "steps.csv"));
  // The same images in another folder are the same.
  const auto copy = write("copy", 2, 20);
  for (const auto& outcome : run_with(common, two, copy)) {
    EXPECT_EQ(outcome.status, 0) << outcome.err;
  }
}

TEST_F(DifferentRanksTest, RefuseOtherCheckpoints) {
  const auto other = folder_ / "other";
  const std::string options =
      "--batch-size 8 --no-lr-check --lr 0.01 --schedule constant --epochs 1";
  for (const auto& outcome : run_ranks(arguments(options))) {
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  fs::copy(out(), other, fs::copy_options::recursive);
  const auto resumed = [&](const fs::path& folder, const char* epochs) {
    return "--resume --out '" + folder.string() + "' --epochs " + epochs;
  };
  for (const auto& outcome : run_ranks(resumed(other, "2"))) {
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
  expect_all_say(
      run_with("", resumed(out(), "3"), resumed(other, "3")),
      "rank 1: 'epochs done' in the checkpoint is 2, rank 0 has 1");
}

}  // namespace
}  // namespace stepsize::trainer
