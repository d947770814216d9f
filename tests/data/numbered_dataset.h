#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize::test {

/// Example i is the number i. One of them may throw.
struct NumberedDataset
    : torch::data::datasets::
          BatchDataset<NumberedDataset, std::vector<int64_t>> {
  explicit NumberedDataset(std::size_t its_size, int64_t its_fault = 0)
      : count(its_size), fault(its_fault) {}

  std::vector<int64_t> get_batch(
      torch::ArrayRef<std::size_t> indices) override {
    std::vector<int64_t> batch(indices.begin(), indices.end());
    for (const int64_t value : batch) {
      if (fault > 0 && value % fault == 0) {
        throw std::runtime_error("example " + std::to_string(value));
      }
    }
    return batch;
  }
  torch::optional<std::size_t> size() const override { return count; }

  std::size_t count;
  int64_t fault;
};

/// 0, 1, ... up to a limit, from the dataset's own place; 0 again after a
/// reset. Reads in one thread.
struct CountingStream
    : torch::data::datasets::
          StatefulDataset<CountingStream, std::vector<int64_t>, std::size_t> {
  explicit CountingStream(int64_t its_limit) : limit(its_limit) {}

  torch::optional<std::vector<int64_t>> get_batch(std::size_t count) override {
    if (at == limit) return torch::nullopt;
    std::vector<int64_t> batch;
    for (; batch.size() < count && at < limit; ++at) batch.push_back(at);
    return batch;
  }
  void reset() override { at = 0; }
  torch::optional<std::size_t> size() const override { return torch::nullopt; }
  void save(torch::serialize::OutputArchive&) const override {}
  void load(torch::serialize::InputArchive&) override {}

  int64_t limit;
  int64_t at = 0;
};

using Batches = std::vector<std::vector<int64_t>>;

}  // namespace stepsize::test
