#include "examples/trainer/loop/training_state.h"

#include "examples/trainer/loop/archive.h"

namespace stepsize::trainer {

void TrainingState::save(torch::serialize::OutputArchive& archive) const {
  write_int(archive, "epoch", epoch);
  write_int(archive, "in_epoch", in_epoch ? 1 : 0);
  write_int(archive, "step", step);
  write_int(archive, "images", images);
  write_double(archive, "lr", lr);
  write_int(archive, "hopeless", hopeless ? 1 : 0);
  write_double(archive, "loss_sum", loss_sum);
  write_int(archive, "right", right);
  write_double(archive, "seconds", seconds);
}

void TrainingState::load(torch::serialize::InputArchive& archive) {
  TrainingState read;
  read.epoch = read_count(archive, "epoch");
  read.in_epoch = read_count(archive, "in_epoch") != 0;
  read.step = read_count(archive, "step");
  read.images = read_count(archive, "images");
  read.lr = read_double(archive, "lr");
  read.hopeless = read_count(archive, "hopeless") != 0;
  read.loss_sum = read_double(archive, "loss_sum");
  read.right = read_count(archive, "right");
  read.seconds = read_double(archive, "seconds");
  TORCH_CHECK(
      read.epoch >= 1,
      "the saved state of the run: 'epoch' must be >= 1, got ",
      read.epoch);
  *this = read;
}

}  // namespace stepsize::trainer
