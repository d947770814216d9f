#pragma once

#include <torch/arg.h>
#include <torch/data/samplers/base.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace stepsize {

template <typename Loader>
class EndlessLoader;

/// How far the batches of a loader have been taken.
struct SamplerPlace {
  int64_t epoch = 0;
  /// Batches of this epoch that were delivered, and the examples in them: those
  /// of this rank. Both are 0, or neither.
  int64_t batches = 0;
  int64_t examples = 0;
};

/// Options of ResumableSampler, with the names and defaults of Python's
/// torch.utils.data.DistributedSampler.
class ResumableSamplerOptions {
 public:
  /* implicit */ ResumableSamplerOptions(int64_t size);

  /// Examples in the dataset, >= 1; with drop_last >= num_replicas.
  TORCH_ARG(int64_t, size);
  /// Whether each epoch has an order of its own; else it is 0, 1, 2, ...
  TORCH_ARG(bool, shuffle) = true;
  /// The order of epoch e is that of a generator seeded with seed + e, of which
  /// LibTorch's takes the lower 32 bits.
  TORCH_ARG(uint64_t, seed) = 0;
  /// Ranks that share the examples, >= 1, and which of them this one is, in
  /// [0, num_replicas).
  TORCH_ARG(int64_t, num_replicas) = 1;
  TORCH_ARG(int64_t, rank) = 0;
  /// Where the examples do not divide evenly: true leaves out the last ones of
  /// the order, false repeats the first ones.
  TORCH_ARG(bool, drop_last) = false;
};

/// A sampler for torch::data::make_data_loader() that knows its place: a run
/// that is resumed gets the batches that it would have got, bit for bit.
///
///     ResumableSampler sampler(dataset.size().value());
///     auto loader = torch::data::make_data_loader(
///         dataset, sampler, torch::data::DataLoaderOptions(64).workers(2));
///     EndlessLoader batches(*loader, sampler);   // counts what it delivers
///     checkpoint.state("sampler", sampler);
///
/// The order depends on seed and epoch alone, and is that of Python's
/// DistributedSampler; the default generator is not touched. Rank r takes the
/// examples r, r + num_replicas, ... of it, all ranks equally many.
///
/// Copies share one place, since a loader takes a copy. One loader at a time
/// may use it. A loader with workers asks ahead of what it delivers, so the
/// place is that of the batches that were counted by delivered().
class ResumableSampler : public torch::data::samplers::Sampler<> {
 public:
  /// Throws c10::Error for an option out of range.
  explicit ResumableSampler(const ResumableSamplerOptions& options);

  // Whoever is moved from stays a handle to the same place.
  ResumableSampler(const ResumableSampler& other) = default;
  ResumableSampler& operator=(const ResumableSampler& other) = default;
  ~ResumableSampler() override = default;

  /// What a loader calls at its begin(). Goes to the place where the sampler
  /// stands, if nothing was asked for since it came there; else, and at the end
  /// of an epoch, to the start of the next one. Another size begins an epoch,
  /// too.
  void reset(torch::optional<std::size_t> new_size = torch::nullopt) override;

  /// What a loader calls for each batch: the next indices, or nothing at the
  /// end of the epoch, and between a change of place and the next reset().
  torch::optional<std::vector<std::size_t>> next(
      std::size_t batch_size) override;

  /// Counts the batch that was asked for longest ago as delivered.
  /// EndlessLoader does so; in a loop of your own call it at the start of the
  /// loop's body, with a loader that enforces the order. Throws c10::Error
  /// where no batch is under way.
  void delivered();

  /// Of the batches that were delivered; (e, all, all) at the end of epoch e.
  /// Throws c10::Error where batches were asked for and nobody counts.
  SamplerPlace place() const;
  /// Goes there, for what a loader asks from its next begin() on. Throws
  /// c10::Error for a place that the epoch does not have.
  void set_place(const SamplerPlace& place);

  /// Examples of an epoch that each rank gets.
  int64_t num_samples() const;
  uint64_t seed() const;

  /// The place and the seed. An archive of another size, shuffle, num_replicas
  /// or drop_last is refused; the rank is not in it. save() throws where
  /// place() does.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  template <typename Loader>
  friend class EndlessLoader;

  struct State;

  // For EndlessLoader: it counts from now on.
  void attach();
  // Grows with each change of place, and with each reset().
  int64_t changes() const;
  int64_t resets() const;
  bool is_at_end() const;
  // Whether there are examples that nobody has asked for.
  bool has_more() const;
  // Counts a batch that was lost, if one is under way.
  void skip();
  // Gives up what is under way and goes to the start of the next epoch.
  void end_epoch();

  std::shared_ptr<State> state_;
};

}  // namespace stepsize
