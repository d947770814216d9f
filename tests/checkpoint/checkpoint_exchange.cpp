// Writes a checkpoint, or reads one that this program wrote, perhaps with
// another version of LibTorch:
//
//   checkpoint_exchange write FILE
//   checkpoint_exchange read FILE
//   checkpoint_exchange write-compact FILE
//   checkpoint_exchange read-compact FILE
//
// The last two: of optimizers that keep their state in fewer bytes.
//
// The reader saves anew what it has loaded: all of it must be the file's, bit
// for bit. It also checks what is loaded against a run of its own, and that the
// run goes on from the file as its own does. Exits with 1 where something
// differs, and says what.

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>

#include <exception>
#include <filesystem>
#include <iostream>

#include "tests/checkpoint/compact_exchange.h"
#include "tests/checkpoint/exchange_checks.h"
#include "tests/checkpoint/exchange_run.h"

namespace stepsize::test {
namespace {

constexpr int64_t kSteps = 5;
constexpr uint64_t kSeed = 23;

void compare_watchers(
    const ExchangeRow& loaded,
    const ExchangeRow& own,
    const std::string& what) {
  if (own.guard) {
    expect(loaded.guard->rollbacks() == own.guard->rollbacks(), what);
    expect(loaded.guard->rate_scale() == own.guard->rate_scale(), what);
  }
  if (own.noise) {
    const NoiseScale left = loaded.noise->total();
    const NoiseScale right = own.noise->total();
    expect(left.updates == right.updates, what + ": updates");
    expect_close(right.noise_trace, left.noise_trace, what + ": noise");
  }
  if (own.stopping) {
    expect(loaded.stopping->best() == own.stopping->best(), what);
    expect(loaded.stopping->best_step() == own.stopping->best_step(), what);
    expect(loaded.stopping->stopped() == own.stopping->stopped(), what);
  }
}

void compare(ExchangeRun& loaded, ExchangeRun& own, const std::string& when) {
  expect(loaded.steps.equal(own.steps), "buffer, " + when);
  for (std::size_t i = 0; i < own.rows.size(); ++i) {
    ExchangeRow& left = *loaded.rows[i];
    ExchangeRow& right = *own.rows[i];
    const std::string what = right.name + ", " + when;
    expect_close(right.weights->first, left.weights->first, what);
    expect_close(right.weights->second, left.weights->second, what);
    for (std::size_t g = 0; g < right.optimizer->param_groups().size(); ++g) {
      const auto rate = [g](ExchangeRow& row) {
        return row.optimizer->param_groups()[g].options().get_lr();
      };
      expect_close(rate(right), rate(left), what + ": rate");
    }
    if (right.scheduler) {
      expect(
          left.scheduler->last_epoch() == right.scheduler->last_epoch(),
          what + ": scheduler");
    }
    compare_watchers(left, right, what);
  }
}

// A file in which nothing has happened would tell little.
void expect_events(ExchangeRun& run) {
  const auto& rollback =
      static_cast<RollbackSGD&>(*run.row("RollbackSGD").optimizer);
  expect(rollback.rollbacks() > 0, "no rollback of RollbackSGD");
  expect(run.row("guarded SGD").guard->rollbacks() > 0, "no rollback");
  const auto& measured =
      static_cast<PowerMethodSGD&>(*run.row("PowerMethodSGD").optimizer);
  expect(measured.products() > 0, "no product of PowerMethodSGD");
  ExchangeRow& watched = run.row("RMSprop");
  expect(watched.noise->total().updates == kSteps, "no noise");
  expect(watched.stopping->best_step() == 2, "no best step");
  auto& reduced = *run.row("AdamW").optimizer;
  expect(reduced.param_groups()[0].options().get_lr() < 0.05, "no plateau");
}

at::Tensor default_draw() { return at::rand({3}, at::kDouble); }

int write(const std::string& path) {
  ExchangeRun run;
  run.train(kSteps);
  run.fill();
  expect_events(run);
  Checkpoint checkpoint = run.checkpoint();
  checkpoint.values()["a name"] = "a value";
  at::manual_seed(kSeed);
  save_checkpoint(path, checkpoint);
  std::cout << "written by LibTorch "
            << read_checkpoint_info(path).torch_version << ": "
            << std::filesystem::file_size(path) << " bytes\n";
  return differences() == 0 ? 0 : 1;
}

int read(const std::string& path) {
  ExchangeRun own;
  own.train(kSteps);
  own.fill();
  expect_events(own);
  ExchangeRun loaded;
  // Another number of steps and other rates: a load must replace them all.
  loaded.train(1);
  for (const auto& row : loaded.rows) {
    for (auto& group : row->optimizer->param_groups()) {
      group.options().set_lr(0.77);
    }
  }
  loaded.none = at::ones({1});
  Checkpoint checkpoint = loaded.checkpoint();
  at::manual_seed(kSeed);
  const at::Tensor expected = default_draw();
  load_checkpoint(path, checkpoint);

  const std::string again = temporary_file("exchange");
  save_checkpoint(again, checkpoint);
  compare_files(path, again, 100);
  std::filesystem::remove(again);
  expect(default_draw().equal(expected), "the default generator");
  compare(loaded, own, "as loaded");
  expect(loaded.counter == own.counter, "counter");
  expect(loaded.number == own.number, "number");
  expect(loaded.text == own.text, "text");
  expect(loaded.half.defined() && loaded.half.equal(own.half), "half");
  expect(!loaded.none.defined(), "none");
  expect(checkpoint.values()["a name"] == "a value", "values");

  own.train(2);
  loaded.train(2);
  compare(loaded, own, "two steps on");
  const auto draw = [](ExchangeRun& run) {
    return at::rand({3}, run.generator, at::kDouble);
  };
  expect(draw(loaded).equal(draw(own)), "the generator");
  loaded.row("RMSprop").stopping->restore_best();
  own.row("RMSprop").stopping->restore_best();
  compare(loaded, own, "the best weights");
  std::cout << "read what LibTorch " << read_checkpoint_info(path).torch_version
            << " wrote: " << differences() << " differences\n";
  return differences() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace stepsize::test

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  try {
    if (mode == "write") return stepsize::test::write(argv[2]);
    if (mode == "read") return stepsize::test::read(argv[2]);
    if (mode == "write-compact") return stepsize::test::write_compact(argv[2]);
    if (mode == "read-compact") return stepsize::test::read_compact(argv[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  std::cerr << "usage: checkpoint_exchange "
               "write|read|write-compact|read-compact FILE\n";
  return 2;
}
