#include "tests/checkpoint/compact_exchange.h"

#include <ATen/Functions.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>

#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>
#include <vector>

#include "tests/checkpoint/exchange_checks.h"

namespace stepsize::test {
namespace {

constexpr int64_t kSteps = 5;

struct CompactRow {
  std::string name;
  at::Tensor weights;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
};

/// Optimizers of one matrix each, of the least size whose state is kept in
/// fewer bytes. The loops compute the same bits on each CPU and with each
/// version, as the gradients are exact.
struct CompactRun {
  CompactRun() {
    add<ClippedAdamW>(
        "AdamW, bfloat16",
        ClippedAdamWOptions(0.01).state_type(StateType::kBFloat16));
    add<ClippedAdamW>(
        "AdamW, 8-bit",
        ClippedAdamWOptions(0.01).state_type(StateType::kBlockwise8Bit));
    add<ClippedSGD>(
        "SGD, bfloat16",
        ClippedSGDOptions(0.01).momentum(0.9).state_type(StateType::kBFloat16));
    add<Lion>(
        "Lion, 8-bit", LionOptions(0.01).state_type(StateType::kBlockwise8Bit));
  }

  template <typename Class, typename Options>
  void add(const std::string& name, const Options& options) {
    CompactRow row;
    row.name = name;
    row.weights = at::zeros({64, 64}, at::kFloat).requires_grad_();
    row.optimizer =
        std::make_unique<Class>(std::vector<at::Tensor>{row.weights}, options);
    rows.push_back(std::move(row));
  }

  void train(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      ++steps;
      const at::Tensor numbers = at::arange(64 * 64, at::kLong);
      const at::Tensor gradient =
          ((numbers * (2 * steps + 1)).remainder(97) - 48).to(at::kFloat) /
          4096;
      for (CompactRow& row : rows) {
        row.weights.mutable_grad() = gradient.view({64, 64}).clone();
        row.optimizer->step();
      }
    }
  }

  // Without the weights, which would be most of the file.
  Checkpoint checkpoint() {
    Checkpoint made;
    for (CompactRow& row : rows) made.optimizer(row.name, *row.optimizer);
    made.counter("steps", steps);
    return made;
  }

  std::vector<CompactRow> rows;
  int64_t steps = 0;
};

// Nor may the two hold other state than the run itself.
void compare_runs(
    CompactRun& loaded, CompactRun& own, const std::string& path) {
  const std::string again = temporary_file("compact-exchange");
  const auto matches = [&](CompactRun& run) {
    save_checkpoint(again, run.checkpoint());
    compare_files(path, again, 10);
    std::filesystem::remove(again);
  };
  matches(loaded);
  matches(own);
}

}  // namespace

int write_compact(const std::string& path) {
  CompactRun run;
  run.train(kSteps);
  save_checkpoint(path, run.checkpoint());
  std::cout << "written by LibTorch "
            << read_checkpoint_info(path).torch_version << ": "
            << std::filesystem::file_size(path) << " bytes\n";
  return 0;
}

int read_compact(const std::string& path) {
  CompactRun own;
  own.train(kSteps);
  CompactRun loaded;
  loaded.train(1);
  Checkpoint checkpoint = loaded.checkpoint();
  load_checkpoint(path, checkpoint);
  compare_runs(loaded, own, path);

  for (std::size_t i = 0; i < own.rows.size(); ++i) {
    loaded.rows[i].weights.detach().copy_(own.rows[i].weights.detach());
  }
  own.train(2);
  loaded.train(2);
  const std::string later = temporary_file("compact-exchange-later");
  save_checkpoint(later, own.checkpoint());
  compare_runs(loaded, own, later);
  std::filesystem::remove(later);
  for (std::size_t i = 0; i < own.rows.size(); ++i) {
    expect(
        loaded.rows[i].weights.equal(own.rows[i].weights),
        own.rows[i].name + ": the weights two steps on");
  }
  std::cout << "read what LibTorch " << read_checkpoint_info(path).torch_version
            << " wrote: " << differences() << " differences\n";
  return differences() == 0 ? 0 : 1;
}

}  // namespace stepsize::test
