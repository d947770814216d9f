// What can be had of a run when it is over: summary, weights, another test.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/loop/train.h"
#include "examples/trainer/model/image_model.h"
#include "sample_files.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class FinishedRunTest : public TrainProgramTest {
 protected:
  fs::path weights() const { return folder_ / "weights.pt"; }
  fs::path last_checkpoint() const {
    return out() / "checkpoints/checkpoint-0000000008.ckpt";
  }
  std::string export_to(const fs::path& path) const {
    return " --export '" + path.string() + "'";
  }
  Outcome evaluate_it(const fs::path& path, const std::string& more) const {
    return start("--evaluate '" + path.string() + "' " + more);
  }
};

std::vector<float> floats(const torch::Tensor& tensor) {
  const auto* first = tensor.data_ptr<float>();
  return {first, first + tensor.numel()};
}

TEST_F(FinishedRunTest, NamesBestEpochAndFiles) {
  const auto outcome = train("");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("best epoch "),
          HasSubstr(" of 2: test loss "),
          HasSubstr("files in " + out().string() + ":\n"),
          HasSubstr("log.csv loss.svg lr.svg report.html steps.csv"),
          HasSubstr("checkpoints/best.ckpt")));
  const auto files = outcome.out.substr(outcome.out.find("files in "));
  EXPECT_THAT(files, Not(HasSubstr("run.lock")));
}

// What the log says of the last epoch, with early stopping of the best one, is
// what the weights that are shipped do: of Schedule-Free the mean.
TEST_F(FinishedRunTest, ShipsTheWeightsThatWereTested) {
  for (const std::string stop : {"", " --early-stop 3"}) {
    const auto outcome = train(
        "--optimizer schedule-free-adamw --overwrite --epochs 3" + stop +
        export_to(weights()));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    auto losses = column(out() / "log.csv", "test_loss");
    auto wanted = losses.back();
    if (!stop.empty()) {
      wanted = *std::min_element(
          losses.begin(), losses.end(), [](const auto& a, const auto& b) {
            return std::stod(a) < std::stod(b);
          });
    }
    auto model = make_model("cnn", {1, kBarsSide, kBarsSide, 10});
    torch::load(model, weights().string());
    const auto sets = load_sets("fashion-mnist", data());
    BatchSourceOptions options;
    options.batch_size = 100;
    BatchSource images(
        sets.test, normalization_of(sets.train.images), options, torch::kCPU);
    EXPECT_NEAR(evaluate(*model, images)->loss, std::stod(wanted), 1e-6);
    // The checkpoint has what is trained, and is tested with the mean too.
    const auto best = *std::min_element(
        losses.begin(), losses.end(), [](const auto& a, const auto& b) {
          return std::stod(a) < std::stod(b);
        });
    const auto tested = evaluate_it(out() / "checkpoints/best.ckpt", "");
    EXPECT_THAT(
        tested.out, HasSubstr("loss " + format("%.4f", std::stod(best))));
  }
}

// As a program does that knows nothing of the trainer but its network.
TEST_F(FinishedRunTest, ExportedWeightsMakeTheSameAnswers) {
  // The page's program takes images of Fashion-MNIST's size.
  write_bars(data(), 60, 40, 28);
  const auto outcome = train("--epochs 3" + export_to(weights()));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("weights: " + weights().string()));
  auto model = make_model("cnn", {1, 28, 28, 10});
  torch::load(model, weights().string());
  torch::serialize::InputArchive archive;
  archive.load_from(weights().string());
  torch::Tensor scale;
  torch::Tensor shift;
  archive.read("input_scale", scale, /*is_buffer=*/true);
  archive.read("input_shift", shift, /*is_buffer=*/true);
  const auto sets = load_sets("fashion-mnist", data());
  BatchSourceOptions options;
  options.batch_size = 100;
  BatchSource images(
      sets.test, {floats(scale), floats(shift)}, options, torch::kCPU);
  const auto result = evaluate(*model, images);
  EXPECT_NEAR(
      result->loss,
      std::stod(column(out() / "log.csv", "test_loss").back()),
      1e-6);
  EXPECT_EQ(
      result->accuracy,
      std::stod(column(out() / "log.csv", "test_accuracy").back()));
  // The program of the page says what the trainer's own network does.
  const auto answer_file = folder_ / "answer";
  const std::string command = "'" STEPSIZE_READ_WEIGHTS "' '" +
                              weights().string() + "' > '" +
                              answer_file.string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  model->eval();
  const auto black = torch::zeros({1, 1, 28, 28}) + shift;
  const auto answer = model->forward(black).argmax(1).item<std::int64_t>();
  EXPECT_EQ(read_text(answer_file), "class " + std::to_string(answer) + "\n");
  const std::string of_none =
      "'" STEPSIZE_READ_WEIGHTS "' nope.pt 2> '" + answer_file.string() + "'";
  const int status = std::system(of_none.c_str());
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
  EXPECT_THAT(
      read_text(answer_file),
      AllOf(
          HasSubstr("read-weights: nope.pt: open file failed"),
          Not(HasSubstr("frame #"))));
  // Nothing but the file stays.
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("tmp")));
  }
}

TEST_F(FinishedRunTest, FindsBeforeTrainingThatItCannotExport) {
  const auto absent = folder_ / "absent";
  const auto outcome = train(export_to(absent / "w.pt"));
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("--export"), HasSubstr("no folder " + absent.string())));
  EXPECT_THAT(train(export_to(data())).err, HasSubstr("it is a folder"));
}

TEST_F(FinishedRunTest, EvaluatesACheckpointAndExportsIt) {
  ASSERT_EQ(train("--optimizer clipped-sgd" + export_to(weights())).status, 0);
  const auto again = folder_ / "again.pt";
  const auto outcome = evaluate_it(last_checkpoint(), export_to(again));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const double loss = std::stod(column(out() / "log.csv", "test_loss").back());
  const double share =
      std::stod(column(out() / "log.csv", "test_accuracy").back());
  char text[80];
  std::snprintf(
      text,
      sizeof text,
      "40 test images: loss %.4f, accuracy %.2f%%\n",
      loss,
      100 * share);
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("cnn on fashion-mnist after 8 updates"), HasSubstr(text)));
  EXPECT_EQ(read_text(again), read_text(weights()));
  // A checkpoint is read and nothing is written beside it.
  EXPECT_EQ(column(out() / "log.csv", "epoch").size(), 2U);
}

TEST_F(FinishedRunTest, EvaluatesOneThatWasMadeLonger) {
  for (const std::string more :
       {"--checkpoint-every 3", "--batch-schedule 32", "--early-stop 3"}) {
    ASSERT_EQ(train("--schedule 'linear to 0.5' " + more).status, 0);
    const auto longer =
        start("--resume --epochs 3 --out '" + out().string() + "'");
    ASSERT_EQ(longer.status, 0) << longer.err;
    const auto best = out() / "checkpoints/best.ckpt";
    EXPECT_THAT(evaluate_it(best, "").out, HasSubstr("40 test images: loss"));
  }
}

TEST_F(FinishedRunTest, RefusesADamagedCheckpoint) {
  ASSERT_EQ(train("").status, 0);
  auto bytes = read_text(last_checkpoint());
  bytes[bytes.size() / 2] ^= 1;
  const auto damaged = folder_ / "damaged.ckpt";
  std::ofstream(damaged, std::ios::binary) << bytes;
  const auto outcome = evaluate_it(damaged, export_to(weights()));
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err, AllOf(HasSubstr(damaged.string()), HasSubstr("checksum")));
  EXPECT_FALSE(fs::exists(weights()));
  EXPECT_THAT(evaluate_it(folder_ / "absent", "").err, HasSubstr("absent"));
  EXPECT_THAT(evaluate_it(out(), "").err, HasSubstr("checkpoints/best.ckpt"));
}

TEST_F(FinishedRunTest, RefusesOtherImages) {
  ASSERT_EQ(train("").status, 0);
  const auto other = folder_ / "other";
  write_bars(other, 50, 40);
  const auto outcome =
      evaluate_it(last_checkpoint(), "--data-dir '" + other.string() + "'");
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr("50 training and 40 test images"));
}

TEST_F(FinishedRunTest, SaysHowToExportARunThatHasEnded) {
  ASSERT_EQ(train("").status, 0);
  const auto outcome =
      start("--resume --out '" + out().string() + "'" + export_to(weights()));
  EXPECT_THAT(outcome.out, HasSubstr("--evaluate " + out().string()));
}

TEST_F(FinishedRunTest, ComparesRuns) {
  ASSERT_EQ(train("").status, 0);
  const auto second = folder_ / "second";
  ASSERT_EQ(train("--batch-size 8 --out '" + second.string() + "'").status, 0);
  const auto outcome = start(
      "--compare '" + out().string() + "' '" + second.string() + "/' --out '" +
      (folder_ / "both").string() + "'");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("\nrun "), HasSubstr("\nsecond "), HasSubstr("%")));
  EXPECT_THAT(
      read_text(folder_ / "both/compare.svg"),
      AllOf(HasSubstr("second"), HasSubstr("</svg>")));
  const auto absent = start("--compare '" + (folder_ / "none").string() + "'");
  expect_refusal(absent, 1);
  EXPECT_THAT(absent.err, HasSubstr("none/steps.csv"));
}

TEST_F(FinishedRunTest, SaysThatRunsAreOfDifferentDataSets) {
  ASSERT_EQ(train("").status, 0);
  const auto second = folder_ / "second";
  const std::string to_second = " --out '" + second.string() + "'";
  const auto compare = [&] {
    return start(
        "--compare '" + out().string() + "' '" + second.string() + "' --out '" +
        (folder_ / "both").string() + "'");
  };
  ASSERT_EQ(train(to_second).status, 0);
  EXPECT_THAT(compare().out, Not(HasSubstr("data sets")));
  // The files have the same names.
  ASSERT_EQ(train("--dataset mnist" + to_second).status, 0);
  const auto outcome = compare();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      HasSubstr("\nnote: these runs are of different data sets: fashion-mnist "
                "mnist\n"));
}

}  // namespace
}  // namespace stepsize::trainer
