#include "examples/trainer/loop/training_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <sstream>

#include "examples/trainer/loop/archive.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::HasSubstr;

TrainingState state_in_midst() {
  TrainingState state;
  state.epoch = 3;
  state.in_epoch = true;
  state.step = 12345678901;
  state.images = 98765432109;
  state.lr = 0.1 + 0.2;
  state.hopeless = true;
  state.loss_sum = 1.0 / 3;
  state.right = 17;
  state.seconds = 2.5;
  return state;
}

// What reads the archive that `write` fills.
template <typename Write>
torch::serialize::InputArchive archive_of(const Write& write) {
  torch::serialize::OutputArchive out;
  write(out);
  std::stringstream bytes;
  out.save_to(bytes);
  torch::serialize::InputArchive in;
  in.load_from(bytes);
  return in;
}

TEST(TrainingState, LoadsWhatItSaved) {
  const auto state = state_in_midst();
  auto in = archive_of([&](auto& out) { state.save(out); });
  TrainingState other;
  other.load(in);
  EXPECT_EQ(other.epoch, state.epoch);
  EXPECT_EQ(other.in_epoch, state.in_epoch);
  EXPECT_EQ(other.step, state.step);
  EXPECT_EQ(other.images, state.images);
  EXPECT_EQ(other.lr, state.lr);
  EXPECT_EQ(other.hopeless, state.hopeless);
  EXPECT_EQ(other.loss_sum, state.loss_sum);
  EXPECT_EQ(other.right, state.right);
  EXPECT_EQ(other.seconds, state.seconds);
}

TEST(TrainingState, RefusesWhatIsNoneOfARunAndStaysAsItIs) {
  TrainingState state;
  const auto refusal = [&](torch::serialize::InputArchive in) {
    return message_of([&] { state.load(in); });
  };
  EXPECT_THAT(refusal(archive_of([](auto&) {})), HasSubstr("no 'epoch'"));
  auto no_epoch = state_in_midst();
  no_epoch.epoch = 0;
  EXPECT_THAT(
      refusal(archive_of([&](auto& out) { no_epoch.save(out); })),
      HasSubstr("'epoch' must be >= 1, got 0"));
  EXPECT_THAT(
      refusal(archive_of([](auto& out) { write_int(out, "epoch", -1); })),
      HasSubstr("'epoch' must be >= 0, got -1"));
  EXPECT_THAT(
      refusal(archive_of([](auto& out) { write_double(out, "epoch", 1); })),
      HasSubstr("'epoch' must be an integer"));
  EXPECT_EQ(state.epoch, 1);
  EXPECT_EQ(state.step, 0);
}

}  // namespace
}  // namespace stepsize::trainer
