#include "examples/trainer/run/run_record.h"

#include <stepsize/report/csv_cell.h>
#include <zlib.h>

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

using Values = std::map<std::string, std::string>;

// Flags begin with two dashes, and nothing else does.
bool is_option(const std::string& key) { return key.rfind("--", 0) == 0; }

[[noreturn]] void refuse_entry(const std::string& key, const std::string& why) {
  throw std::runtime_error(
      "the checkpoint was not saved by this program: '" + key + "' " + why);
}

const std::string& text_at(const Values& values, const std::string& key) {
  const auto at = values.find(key);
  if (at == values.end()) {
    refuse_entry(key, "is missing");
  }
  return at->second;
}

template <typename Number>
Number number_at(const Values& values, const std::string& key) {
  const std::string& text = text_at(values, key);
  const auto number = number_in<Number>(text);
  if (!number) refuse_entry(key, "is no number: " + text);
  return *number;
}

std::int64_t count_at(
    const Values& values, const std::string& key, std::int64_t least) {
  const auto count = number_at<std::int64_t>(values, key);
  if (count < least) {
    refuse_entry(key, "must be >= " + std::to_string(least));
  }
  return count;
}

std::vector<Stretch> stretches_at(
    const Values& values, const std::string& key) {
  std::istringstream in(text_at(values, key));
  std::vector<Stretch> stretches;
  for (Stretch stretch; in >> stretch.images;) {
    if (!(in >> stretch.epochs) || stretch.images < 0 || stretch.epochs < 1) {
      refuse_entry(key, "must be pairs of images and epochs");
    }
    stretches.push_back(stretch);
  }
  return stretches;
}

unsigned long checksum(unsigned long sum, const torch::Tensor& tensor) {
  const auto whole = tensor.contiguous();
  // zlib counts in 32 bits.
  constexpr std::int64_t kMostBytes = 1 << 30;
  const auto* bytes = static_cast<const Bytef*>(whole.data_ptr());
  auto left = static_cast<std::int64_t>(whole.nbytes());
  while (left > 0) {
    const auto count = std::min(left, kMostBytes);
    sum = crc32(sum, bytes, static_cast<uInt>(count));
    bytes += count;
    left -= count;
  }
  return sum;
}

}  // namespace

Values to_values(const RunRecord& record) {
  Values values = record.options;
  values["data"] = record.data;
  values["rate"] = CsvCell(record.lr).text();
  values["planned epochs"] = std::to_string(record.planned_epochs);
  std::string stretches;
  for (const auto& stretch : record.stretches) {
    stretches += (stretches.empty() ? "" : " ") +
                 std::to_string(stretch.images) + " " +
                 std::to_string(stretch.epochs);
  }
  values["stretches"] = stretches;
  values["epochs done"] = std::to_string(record.epochs_done);
  values["updates"] = std::to_string(record.step);
  values["stopped early"] = record.stopped_early ? "1" : "0";
  return values;
}

RunRecord to_record(const Values& values) {
  RunRecord record;
  for (const auto& [key, value] : values) {
    if (is_option(key)) {
      record.options[key] = value;
    }
  }
  record.data = text_at(values, "data");
  record.lr = number_at<double>(values, "rate");
  record.planned_epochs = count_at(values, "planned epochs", 1);
  record.stretches = stretches_at(values, "stretches");
  record.epochs_done = count_at(values, "epochs done", 0);
  record.step = count_at(values, "updates", 0);
  record.stopped_early = count_at(values, "stopped early", 0) != 0;
  return record;
}

std::string data_text(const TrainTestSets& sets) {
  unsigned long sum = crc32(0, nullptr, 0);
  for (const auto* set : {&sets.train, &sets.test}) {
    sum = checksum(sum, set->images);
    sum = checksum(sum, set->labels);
  }
  const auto& images = sets.train.images;
  return format(
      "%lld training and %lld test images, %lldx%lldx%lld, %lld classes, "
      "checksum %08lx",
      static_cast<long long>(sets.train.size()),
      static_cast<long long>(sets.test.size()),
      static_cast<long long>(images.size(1)),
      static_cast<long long>(images.size(2)),
      static_cast<long long>(images.size(3)),
      static_cast<long long>(sets.classes),
      sum);
}

}  // namespace stepsize::trainer
