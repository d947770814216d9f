// The reader of checkpoints, up to what they are loaded into (checkpoint_load
// has that). The last byte of the input says what the rest is:
//
// - the head alone, of a file of any length;
// - a whole file, as it came;
// - what an index is made of: lists of names and values which need not fit each
//   other, in an archive that LibTorch can read, under checksums that are
//   right.
//
// LibTorch's own reader of archives is not fuzzed. The checksums keep damage
// from it, and it is not made for archives that were written to do harm.

#include <fuzzer/FuzzedDataProvider.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "csrc/checkpoint/checkpoint_file.h"
#include "csrc/checkpoint/container.h"
#include "csrc/checkpoint/index.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "fuzz/checkpoint_bytes.h"
#include "fuzz/memory_file.h"
#include "fuzz/require.h"

namespace {

using stepsize::CheckpointInfo;
using stepsize::fuzz::checkpoint_bytes;
using stepsize::fuzz::require;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr int kModes = 3;

void read_head(FuzzedDataProvider& input) {
  const auto file_size = input.ConsumeIntegral<uint64_t>();
  const std::string bytes = input.ConsumeRemainingBytesAsString();
  stepsize::detail::CheckpointHead head;
  const std::string fault = stepsize::detail::read_checkpoint_head(
      bytes.data(), bytes.size(), file_size, head);
  if (!fault.empty()) return;
  require(head.torch_version.size() <= bytes.size(), "a version from nowhere");
  require(
      stepsize::detail::checkpoint_head_size(head) + head.index_size +
              head.data_size ==
          file_size,
      "sizes that do not add up");
  const std::string again = stepsize::detail::checkpoint_head_bytes(head);
  require(bytes.compare(0, again.size(), again) == 0, "another head");
}

// Whether the file was read; it is whole then.
bool read_file(const std::string& bytes) {
  const stepsize::fuzz::MemoryFile file({bytes.begin(), bytes.end()});
  try {
    stepsize::detail::CheckpointFile checkpoint("fuzz", file.path());
    const CheckpointInfo& info = checkpoint.info();
    require(info.file_size == static_cast<int64_t>(bytes.size()), "a size");
    // What was read is what is written.
    CheckpointInfo again;
    stepsize::detail::read_index(stepsize::detail::index_bytes(info), again);
    require(again.entries.size() == info.entries.size(), "other entries");
    require(again.counters == info.counters, "other counters");
    require(again.texts == info.texts, "other texts");
    require(again.values == info.values, "other values");
    require(again.step == info.step, "another step");
    InputArchive data;
    checkpoint.read_data(data);
    stepsize::detail::read_tensors(data, "fuzz", "tensors");
    return true;
  } catch (const c10::Error&) {
    return false;
  }
}

std::vector<std::string> strings(FuzzedDataProvider& input) {
  std::vector<std::string> texts(input.ConsumeIntegralInRange<size_t>(0, 3));
  for (std::string& text : texts) text = input.ConsumeRandomLengthString(8);
  return texts;
}

std::vector<int64_t> numbers(FuzzedDataProvider& input) {
  std::vector<int64_t> values(input.ConsumeIntegralInRange<size_t>(0, 3));
  for (int64_t& value : values) {
    value = input.ConsumeBool() ? input.ConsumeIntegralInRange<int64_t>(-1, 9)
                                : input.ConsumeIntegral<int64_t>();
  }
  return values;
}

std::vector<torch::Tensor> tensors(FuzzedDataProvider& input) {
  std::vector<torch::Tensor> values(input.ConsumeIntegralInRange<size_t>(0, 3));
  for (torch::Tensor& value : values) {
    const auto size = input.ConsumeIntegralInRange<int64_t>(-1, 3);
    if (size >= 0) {
      value = torch::ones(
          {size, 2}, input.ConsumeBool() ? torch::kFloat : torch::kLong);
    }
  }
  return values;
}

// A list of any kind, or none.
void write_any(
    OutputArchive& archive, const char* key, FuzzedDataProvider& input) {
  switch (input.ConsumeIntegralInRange(0, 5)) {
    case 0:
      break;
    case 5:
      stepsize::detail::write_tensors(archive, key, tensors(input));
      break;
    case 1:
      stepsize::detail::write_ints(archive, key, numbers(input));
      break;
    case 2:
      stepsize::detail::write_strings(archive, key, strings(input));
      break;
    case 3:
      stepsize::detail::write_double(
          archive, key, input.ConsumeFloatingPoint<double>());
      break;
    default:
      stepsize::detail::write_int(
          archive, key, input.ConsumeIntegral<int64_t>());
  }
}

void read_made_up(FuzzedDataProvider& input) {
  const std::string index =
      stepsize::detail::archive_bytes([&](OutputArchive& archive) {
        for (const char* key :
             {"names",
              "kinds",
              "classes",
              "random_state",
              "counter_names",
              "counters",
              "numbers",
              "number_names",
              "text_names",
              "texts",
              "values",
              "value_names",
              "has_step",
              "step",
              "metric",
              "has_metric"}) {
          const std::string name = key;
          const bool is_flag = name == "random_state" || name == "has_step" ||
                               name == "step" || name == "has_metric";
          if (input.ConsumeProbability<float>() < 0.02F) {
            write_any(archive, key, input);
          } else if (is_flag) {
            stepsize::detail::write_int(
                archive, key, input.ConsumeIntegralInRange<int64_t>(0, 1));
          } else if (name == "kinds" || name == "counters") {
            stepsize::detail::write_ints(archive, key, numbers(input));
          } else if (name == "numbers") {
            stepsize::detail::write_doubles(archive, key, {});
          } else if (name == "metric") {
            stepsize::detail::write_double(
                archive, key, input.ConsumeFloatingPoint<double>());
          } else {
            stepsize::detail::write_strings(archive, key, strings(input));
          }
        }
      });
  const std::string data =
      stepsize::detail::archive_bytes([&](OutputArchive& archive) {
        if (input.ConsumeBool()) return;
        write_any(archive, "tensors", input);
      });
  read_file(checkpoint_bytes(index, data));
}

std::string small_checkpoint() {
  CheckpointInfo info;
  info.entries = {
      {"model", stepsize::CheckpointEntryKind::kModule, "Net"},
      {"step", stepsize::CheckpointEntryKind::kCounter, ""}};
  info.counters["step"] = 7;
  info.numbers["best"] = 0.5;
  info.texts["note"] = "a note";
  info.step = 7;
  return checkpoint_bytes(
      stepsize::detail::index_bytes(info),
      stepsize::detail::archive_bytes([](OutputArchive& archive) {
        stepsize::detail::write_tensors(archive, "tensors", {});
      }));
}

void write_seed(const std::string& path, std::string bytes, char mode) {
  bytes.push_back(mode);
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

// With STEPSIZE_FUZZ_SEEDS in the environment: writes seeds to that folder and
// ends. A checkpoint is no text that a script could write.
extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const std::string whole = small_checkpoint();
  require(read_file(whole), "a sound checkpoint was refused");
  const char* folder = std::getenv("STEPSIZE_FUZZ_SEEDS");
  if (folder == nullptr) return 0;
  const std::string path = folder;
  // Numbers are taken from the end, the lowest byte last.
  std::string size;
  for (std::size_t i = 0; i < 8; ++i) {
    size.push_back(static_cast<char>(whole.size() >> (8 * (7 - i)) & 0xFFU));
  }
  write_seed(path + "/head", whole.substr(0, 50) + size, 0);
  write_seed(path + "/file", whole, 1);
  write_seed(path + "/cut", whole.substr(0, whole.size() / 2), 1);
  write_seed(path + "/made-up", std::string(64, '\1'), 2);
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  FuzzedDataProvider input(data, size - 1);
  switch (data[size - 1] % kModes) {
    case 0:
      read_head(input);
      break;
    case 1:
      read_file(input.ConsumeRemainingBytesAsString());
      break;
    default:
      read_made_up(input);
  }
  return 0;
}
