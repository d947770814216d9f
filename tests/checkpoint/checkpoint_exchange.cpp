// Writes a checkpoint, or reads one that this program wrote, perhaps with
// another version of LibTorch:
//
//   checkpoint_exchange write FILE
//   checkpoint_exchange read FILE
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
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "tests/checkpoint/exchange_run.h"

namespace stepsize::test {
namespace {

constexpr int64_t kSteps = 5;
constexpr uint64_t kSeed = 23;

int differences = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  ++differences;
  std::cout << "differs: " << what << '\n';
}

// Two versions may round the last bit of a function in another way.
void expect_close(
    const at::Tensor& own, const at::Tensor& other, const std::string& what) {
  expect(at::allclose(own, other, 1e-9, 1e-12), what);
}

void expect_close(double own, double other, const std::string& what) {
  expect(std::abs(own - other) <= 1e-9 * std::abs(own), what);
}

using torch::serialize::InputArchive;

int64_t compare_archives(
    InputArchive& left, InputArchive& right, const std::string& place);

// Whether the bytes are an archive, such as a state's.
bool open_archive(const at::Tensor& bytes, InputArchive& archive) {
  if (bytes.scalar_type() != at::kByte || bytes.dim() != 1) return false;
  const at::Tensor plain = bytes.contiguous();
  const std::string text(
      static_cast<const char*>(plain.data_ptr()), plain.nbytes());
  if (text.substr(0, 4) != "PK\x03\x04") return false;
  std::istringstream stream(text);
  archive.load_from(stream);
  return true;
}

bool same_bits(const at::Tensor& left, const at::Tensor& right) {
  InputArchive left_archive;
  InputArchive right_archive;
  if (open_archive(left, left_archive) && open_archive(right, right_archive)) {
    // Two versions write the same values in other bytes.
    const int before = differences;
    compare_archives(left_archive, right_archive, "an archive within");
    return differences == before;
  }
  if (left.scalar_type() != right.scalar_type() ||
      left.sizes() != right.sizes()) {
    return false;
  }
  const at::Tensor a = left.detach().contiguous();
  const at::Tensor b = right.detach().contiguous();
  return a.nbytes() == 0 ||
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

bool same_bits(const c10::IValue& left, const c10::IValue& right) {
  if (left.tagKind() != right.tagKind()) return false;
  if (left.isTensor()) return same_bits(left.toTensor(), right.toTensor());
  if (left.isDouble()) {
    const double a = left.toDouble();
    const double b = right.toDouble();
    return std::memcmp(&a, &b, sizeof(a)) == 0;
  }
  if (left.isList()) {
    const auto a = left.toListRef();
    const auto b = right.toListRef();
    return std::equal(
        a.begin(),
        a.end(),
        b.begin(),
        b.end(),
        [](const c10::IValue& one, const c10::IValue& other) {
          return same_bits(one, other);
        });
  }
  return left == right;
}

std::vector<std::string> sorted_keys(InputArchive& archive) {
  auto keys = archive.keys();
  std::sort(keys.begin(), keys.end());
  return keys;
}

// What version 0.1, which wrote the files, did not save.
bool is_newer(const std::string& key) {
  static const std::vector<std::string> names{
      "cautious",
      "in_update",
      "option_list",
      "peak_lr",
      "slow_ratio",
      "rollback_trend",
      "rollback_trend_span",
      "roundings",
      "state_type",
      "total_rounding"};
  return std::find(names.begin(), names.end(), key) != names.end() ||
         (key.rfind("group_", 0) == 0 &&
          key.find("_rounding") != std::string::npos);
}

// All of the left, and no more than a later version adds, is on the right.
bool has_keys_of(
    const std::vector<std::string>& left,
    const std::vector<std::string>& right) {
  return std::includes(right.begin(), right.end(), left.begin(), left.end()) &&
         std::all_of(right.begin(), right.end(), [&](const std::string& key) {
           return is_newer(key) ||
                  std::binary_search(left.begin(), left.end(), key);
         });
}

// Returns how many values there are.
int64_t compare_archives(
    InputArchive& left, InputArchive& right, const std::string& place) {
  const auto keys = sorted_keys(left);
  expect(has_keys_of(keys, sorted_keys(right)), place + ": its keys");
  int64_t count = 0;
  for (const std::string& key : keys) {
    const std::string what = place + "/" + key;
    InputArchive left_part;
    InputArchive right_part;
    c10::IValue left_value;
    c10::IValue right_value;
    if (left.try_read(key, left_part) && right.try_read(key, right_part)) {
      count += compare_archives(left_part, right_part, what);
    } else {
      const bool found =
          left.try_read(key, left_value) && right.try_read(key, right_value);
      expect(found && same_bits(left_value, right_value), what);
      ++count;
    }
  }
  return count;
}

uint64_t number_at(
    const std::string& bytes, std::size_t offset, std::size_t size) {
  uint64_t number = 0;
  for (std::size_t i = size; i > 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[offset + i - 1]);
  }
  return number;
}

// Behind head and index; their sizes are in the head.
void open_data(const std::string& path, InputArchive& archive) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::istringstream data(
      bytes.substr(number_at(bytes, 12, 4) + number_at(bytes, 16, 8)));
  archive.load_from(data);
}

// What is loaded and saved again must be what the file has.
void compare_files(const std::string& path, const std::string& again) {
  const CheckpointInfo left = read_checkpoint_info(path);
  const CheckpointInfo right = read_checkpoint_info(again);
  const auto text_of = [](const CheckpointInfo& info) {
    std::string text;
    for (const auto& entry : info.entries) {
      text += entry.name + ": " + entry.class_name + ", kind " +
              std::to_string(static_cast<int>(entry.kind)) + "\n";
    }
    return text;
  };
  expect(text_of(left) == text_of(right), "entries");
  expect(left.counters == right.counters, "counters");
  expect(left.numbers == right.numbers, "numbers");
  expect(left.texts == right.texts, "texts");
  expect(left.values == right.values, "values");
  InputArchive left_data;
  InputArchive right_data;
  open_data(path, left_data);
  open_data(again, right_data);
  expect(compare_archives(left_data, right_data, "data") > 100, "all values");
}

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
  return differences == 0 ? 0 : 1;
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

  const std::string again = (std::filesystem::temp_directory_path() /
                             ("stepsize-exchange-" + std::to_string(getpid())))
                                .string();
  save_checkpoint(again, checkpoint);
  compare_files(path, again);
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
            << " wrote: " << differences << " differences\n";
  return differences == 0 ? 0 : 1;
}

}  // namespace
}  // namespace stepsize::test

int main(int argc, char** argv) {
  const std::string mode = argc == 3 ? argv[1] : "";
  try {
    if (mode == "write") return stepsize::test::write(argv[2]);
    if (mode == "read") return stepsize::test::read(argv[2]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  std::cerr << "usage: checkpoint_exchange write|read FILE\n";
  return 2;
}
