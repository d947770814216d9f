// Checkpoints and ranks: what is checked before a file or a peer is looked for.

#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/safetensors.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/connect.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/distributed/reduction.h>
#include <torch/nn/modules/linear.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

/// One rank of one: a sum is what it brings.
class Alone : public Reduction {
 public:
  int64_t rank() const override { return 0; }
  int64_t world_size() const override { return 1; }
  void sum(at::Tensor& /*tensor*/) override {}
  void broadcast(at::Tensor& /*bytes*/, int64_t /*root*/) override {}
};

ConnectOptions two_ranks() {
  return ConnectOptions("127.0.0.1:1").world_size(2);
}

void add_connect(OptionTable& table) {
  OptionCases cases(table, "ConnectOptions", "connect");
  cases
      .count(
          "world_size",
          {0, -1, INT64_MIN, kMostCount},
          {},
          [](int64_t v) { connect(two_ranks().world_size(v)); })
      .count(
          "rank",
          {-1, 2, INT64_MIN, kMostCount},
          {},
          [](int64_t v) { connect(two_ranks().rank(v)); })
      .number(
          "timeout_seconds",
          {0, -1, -kSmallest, kHuge, kNaN, kInfinity, -kInfinity},
          {},
          [](double v) { connect(two_ranks().timeout_seconds(v)); });
  for (const std::string master :
       {"",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:-1",
        "host:99999999999999999999",
        "host:1x"}) {
    cases.refuses(
        "master", "'" + master + "'", {"master", "'" + master + "'"}, [master] {
          connect(ConnectOptions(master).world_size(2));
        });
  }
}

void add_averages(OptionTable& table) {
  const auto average_with = [](int64_t bucket_bytes) {
    const torch::Tensor w = leaf({1, 2});
    w.mutable_grad() = torch::ones_like(w);
    Alone alone;
    average_gradients({w}, alone, AverageOptions().bucket_bytes(bucket_bytes));
  };
  OptionCases(table, "AverageOptions", "average")
      .count("bucket_bytes", kNotCount, {1, kMostCount}, average_with);
  const auto overlap_with = [](int64_t bucket_bytes) {
    const OverlappedReduction overlapped(
        std::make_shared<Alone>(),
        {leaf({1, 2})},
        OverlappedReductionOptions().bucket_bytes(bucket_bytes));
  };
  OptionCases(table, "OverlappedReductionOptions", "OverlappedReduction")
      .count("bucket_bytes", kNotCount, {1, kMostCount}, overlap_with)
      .refuses("channel", "the ranks", {"channel", "another group"}, [] {
        const auto ranks = std::make_shared<Alone>();
        const OverlappedReduction overlapped(
            ranks, {leaf({1, 2})}, OverlappedReductionOptions().channel(ranks));
      });
  for (const int64_t root : {int64_t{-1}, int64_t{1}, INT64_MIN, kMostCount}) {
    const std::string got = "got " + text_of(root);
    OptionCases(table, "broadcast_state", "broadcast_state")
        .refuses("root", text_of(root), {"root", got}, [root] {
          torch::nn::LinearImpl linear(1, 1);
          Alone alone;
          broadcast_state(linear, alone, root);
        });
    OptionCases(table, "Reduction", "Reduction")
        .refuses("root", text_of(root), {"root", got}, [root] {
          Alone().broadcast_text("text", root);
        });
  }
  OptionCases(table, "share_weight", "share_weight")
      .count("examples", {-1, INT64_MIN}, {1, kMostCount}, [](int64_t v) {
        Alone alone;
        share_weight(v, alone);
      });
}

using Names = std::vector<std::string>;

// A file with a module "net" of a "weight" and a "bias", and the load of it.
void load_some(const LoadOptions& options) {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.ckpt");
  torch::nn::Linear linear(2, 1);
  Checkpoint checkpoint;
  checkpoint.module("net", linear);
  save_checkpoint(path, checkpoint);
  load_checkpoint(path, checkpoint, options);
}

void add_load(OptionTable& table) {
  OptionCases cases(table, "LoadOptions", "load_checkpoint");
  const auto add = [&cases](
                       const std::string& knob,
                       const std::string& taken,
                       const std::function<LoadOptions(const Names&)>& with) {
    for (const std::string name : {"nowhere", ""}) {
      cases.refuses(knob, "'" + name + "'", {knob, "'" + name + "'"}, [=] {
        load_some(with({name}));
      });
    }
    cases.takes(knob, taken, [=] { load_some(with({taken})); });
    cases.takes(knob, "{}", [=] { load_some(with({})); });
  };
  add("only", "net", [](const Names& names) {
    return LoadOptions().only(names);
  });
  // All of it: there is no other item.
  cases.refuses("leave_out", "'nowhere'", {"leave_out", "'nowhere'"}, [] {
    load_some(LoadOptions().leave_out({"nowhere"}));
  });
  add("what_fits_of", "net", [](const Names& names) {
    return LoadOptions().what_fits_of(names);
  });
  add("only_tensors", "weight", [](const Names& names) {
    return LoadOptions().only_tensors(names);
  });
  add("leave_out_tensors", "weight", [](const Names& names) {
    return LoadOptions().leave_out_tensors(names);
  });
}

// A file of a "weight" and a "bias", and the load of it.
void load_safetensors_with(const SafetensorsOptions& options) {
  const TemporaryFolder folder;
  const std::string path = folder.file("linear.safetensors");
  torch::nn::Linear linear(2, 1);
  save_safetensors(path, *linear);
  load_safetensors(path, *linear, options);
}

void add_safetensors(OptionTable& table) {
  OptionCases cases(table, "SafetensorsOptions", "load_safetensors");
  const auto add =
      [&cases](
          const std::string& knob,
          const std::function<SafetensorsOptions(const Names&)>& with) {
        for (const std::string name : {"nowhere", ""}) {
          cases.refuses(knob, "'" + name + "'", {knob, "'" + name + "'"}, [=] {
            load_safetensors_with(with({name}));
          });
        }
        cases.takes(
            knob, "weight", [=] { load_safetensors_with(with({"weight"})); });
        cases.takes(knob, "{}", [=] { load_safetensors_with(with({})); });
      };
  add("only_tensors", [](const Names& names) {
    return SafetensorsOptions().only_tensors(names);
  });
  add("leave_out_tensors", [](const Names& names) {
    return SafetensorsOptions().leave_out_tensors(names);
  });
}

}  // namespace

OptionTable ranks_table() {
  OptionTable table;
  add_connect(table);
  add_averages(table);
  add_load(table);
  add_safetensors(table);
  OptionCases(table, "CheckpointFolderOptions", "CheckpointFolder")
      .count("keep_last", kNotCount, {1, kMostCount}, [](int64_t v) {
        CheckpointFolder("folder", CheckpointFolderOptions().keep_last(v));
      });
  OptionCases(table, "CheckpointFolder", "CheckpointFolder")
      .refuses("path", "''", {"path", "empty"}, [] { CheckpointFolder(""); })
      .count("step", kNegativeCount, {}, [](int64_t v) {
        CheckpointFolder("folder").save(v, Checkpoint());
      });
  return table;
}

}  // namespace stepsize::test
