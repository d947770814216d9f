#pragma once

#include <c10/util/Exception.h>
#include <stepsize/data/resumable_sampler.h>
#include <torch/data/worker_exception.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace stepsize {

/// The batches of any loader of torch::data, epoch after epoch without an end:
///
///     auto loader = torch::data::make_data_loader(dataset, sampler, options);
///     EndlessLoader batches(*loader, sampler);
///     for (int64_t step = 0; step < 10000; ++step) {
///       auto batch = batches.next();
///
/// A loader with workers has one iterator at a time, so the range test, the
/// accumulation and the training that draw from one loader share one of these:
/// make it once, and let nothing else iterate over the loader.
///
/// With a ResumableSampler, which must be the loader's, it counts there what it
/// has delivered, and goes where the sampler is set or loaded, in the midst of
/// an epoch too. Datasets with a state have no sampler: their place is theirs.
template <typename Loader>
class EndlessLoader {
 public:
  using BatchType = typename Loader::BatchType;

  /// The loader must outlive it.
  explicit EndlessLoader(Loader& loader) : loader_(&loader) {}

  /// Throws c10::Error for a loader with workers that does not keep the order.
  EndlessLoader(Loader& loader, const ResumableSampler& sampler)
      : loader_(&loader), sampler_(sampler) {
    const auto& options = loader.options();
    TORCH_CHECK(
        options.workers == 0 || options.enforce_ordering,
        "EndlessLoader: with a sampler that resumes, enforce_ordering of the "
        "loader must be true, got false");
    sampler_->attach();
  }

  /// Owns the loader.
  explicit EndlessLoader(std::unique_ptr<Loader> loader)
      : EndlessLoader(checked(loader)) {
    owned_ = std::move(loader);
  }
  EndlessLoader(std::unique_ptr<Loader> loader, const ResumableSampler& sampler)
      : EndlessLoader(checked(loader), sampler) {
    owned_ = std::move(loader);
  }

  EndlessLoader(const EndlessLoader&) = delete;
  EndlessLoader& operator=(const EndlessLoader&) = delete;
  ~EndlessLoader() = default;

  /// The next batch; after the last one of an epoch the first of the next.
  ///
  /// Throws c10::Error where an epoch has no batch, and what the dataset throws
  /// (torch::data::WorkerException with workers): that batch counts as taken,
  /// and the next call gives the one after it.
  BatchType next() {
    auto batch = next_in_epoch();
    if (!batch) batch = next_in_epoch();
    return std::move(*batch);
  }

  /// The next batch, or once nothing where the epoch ends:
  ///
  ///     while (batches.epoch() < 10) {
  ///       while (auto batch = batches.next_in_epoch()) { ... }
  ///       scheduler.step();
  ///     }
  ///
  /// A run that was saved after the last batch and resumed is told the end
  /// first. Throws as next() does.
  std::optional<BatchType> next_in_epoch() {
    if (sampler_ && sampler_->changes() != changes_) give_up();
    if (!iterator_) {
      if (sampler_ && sampler_->is_at_end()) {
        end_epoch();
        return std::nullopt;
      }
      begin();
    }
    bool there = fetch();
    while (!there && is_cut_short()) {
      sampler_->set_place(sampler_->place());
      begin();
      there = fetch();
    }
    if (!there) {
      iterator_.reset();
      check_not_empty();
      end_epoch();
      return std::nullopt;
    }
    if (sampler_) {
      sampler_->delivered();
    } else {
      ++batches_;
    }
    return std::move(**iterator_);
  }

  /// Gives up the rest of an epoch of which batches were taken: the next batch
  /// is the first of the following one. A loader with workers cannot be
  /// stopped; with a ResumableSampler a few batches are waited for, without one
  /// the rest of the epoch.
  void start_epoch() {
    if (sampler_ && sampler_->changes() != changes_) give_up();
    if (batches() == 0) return;
    // First, since the sampler then gives no more.
    if (sampler_) sampler_->end_epoch();
    give_up();
    if (!sampler_) end_epoch();
  }

  /// The epoch of the last batch, from 0 on.
  int64_t epoch() const { return sampler_ ? sampler_->place().epoch : epoch_; }
  /// The batches of this epoch that were delivered.
  int64_t batches() const {
    return sampler_ ? sampler_->place().batches : batches_;
  }

 private:
  using Iterator = decltype(std::declval<Loader&>().begin());

  static Loader& checked(const std::unique_ptr<Loader>& loader) {
    TORCH_CHECK(loader != nullptr, "EndlessLoader: the loader is null");
    return *loader;
  }

  void begin() {
    const int64_t resets = sampler_ ? sampler_->resets() : 0;
    iterator_.emplace(loader_->begin());
    fetched_ = false;
    if (!sampler_) return;
    if (sampler_->resets() == resets) {
      iterator_.reset();
      TORCH_CHECK(
          false,
          "EndlessLoader: the loader does not use the sampler: give "
          "make_data_loader() the same one");
    }
    changes_ = sampler_->changes();
    begun_at_ = batches();
  }

  // LibTorch asks for no other batch in the place of one that threw, so that
  // a loader with workers comes to an end after a few of these.
  bool is_cut_short() const {
    return sampler_ && sampler_->has_more() && batches() > begun_at_;
  }

  void check_not_empty() {
    if (batches() > 0) return;
    // The next call tries this epoch again.
    if (sampler_) sampler_->set_place(sampler_->place());
    TORCH_CHECK(
        false,
        "EndlessLoader: epoch ",
        epoch(),
        " of the loader has no batch: the dataset is empty, or it has fewer "
        "examples than a batch and the loader's drop_last is set");
  }

  // Whether there is one more batch.
  bool fetch() {
    try {
      if (fetched_) ++*iterator_;
      const bool there = *iterator_ != loader_->end();
      fetched_ = true;
      return there;
    } catch (const torch::data::WorkerException&) {
      count_lost();
      throw;
    } catch (...) {
      // With workers it is the wait that failed, and no batch is lost.
      if (loader_->options().workers == 0) count_lost();
      throw;
    }
  }

  void count_lost() {
    if (sampler_) {
      sampler_->skip();
    } else {
      ++batches_;
    }
  }

  // Leaves the iterator, with no batch of it under way.
  void give_up() {
    while (iterator_ && loader_->options().workers > 0) {
      try {
        if (!fetch()) break;
      } catch (const torch::data::WorkerException&) {
        continue;  // Nobody asked for that batch.
      }
    }
    iterator_.reset();
    if (sampler_) changes_ = sampler_->changes();
  }

  void end_epoch() {
    if (sampler_) {
      sampler_->end_epoch();
      if (!iterator_) changes_ = sampler_->changes();
    } else {
      ++epoch_;
      batches_ = 0;
    }
  }

  std::unique_ptr<Loader> owned_;
  Loader* loader_;
  std::optional<ResumableSampler> sampler_;
  std::optional<Iterator> iterator_;
  // Whether the iterator has its first batch.
  bool fetched_ = false;
  // The sampler's changes and the batches of the epoch when the iterator began.
  int64_t changes_ = 0;
  int64_t begun_at_ = 0;
  // Without a sampler.
  int64_t epoch_ = 0;
  int64_t batches_ = 0;
};

}  // namespace stepsize
