#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "csrc/distributed/bucket.h"
#include "csrc/distributed/gradient_hooks.h"
#include "csrc/distributed/share_agreement.h"

namespace stepsize::detail {

/// Sums of gradients that begin while backward() makes the rest.
///
/// An average is a round: each rank sends each bucket once, in one fixed order,
/// some during backward() and the rest in agree(), whatever it has computed or
/// whether it has failed. So the ranks' exchanges match whatever happens on
/// one. What is sent early may be out of date by then; the ranks agree on which
/// buckets go out again, and which of them rest, and come last, in the next
/// rounds. A round in which agree() throws stays open: what is under way is
/// part of the next try.
///
/// A parameter that no rank wants a gradient of is in no bucket. Where one
/// turns up all the same, all ranks see it in agree(); it has a bucket from the
/// next round on.
class EarlySums {
 public:
  /// `wanted`: of which parameters some rank wants a gradient. `channel`: over
  /// which nothing else travels. Parameters lie on the CPU. All is the same on
  /// all ranks.
  EarlySums(
      const std::vector<at::Tensor>& parameters,
      std::vector<bool> wanted,
      std::shared_ptr<Reduction> channel,
      int64_t bucket_bytes);
  ~EarlySums();
  EarlySums(const EarlySums&) = delete;
  EarlySums& operator=(const EarlySums&) = delete;

  /// Whether these are its parameters, in any order.
  bool covers(const std::vector<at::Tensor>& like) const;

  /// Whether this parameter is in a bucket; the same on all ranks.
  bool has(const at::Tensor& parameter) const;

  /// As agree_on_share(), with the sums of all buckets under way after it.
  Agreement agree(
      const std::vector<at::Tensor>& like,
      const RankShare& share,
      Reduction& reduction,
      const AverageOptions& options);
  /// To be called after agree(), in this order. finish() calls
  /// take(i, sum / count) for each of its tensors that is in a bucket, in
  /// memory that is lent for the call; the round has ended then, whatever
  /// take() throws.
  void wait();
  void finish(
      double count,
      const std::function<void(std::size_t, const at::Tensor&)>& take);

  /// While held, backward() sends nothing. Counts.
  void hold(bool held);
  /// Sends what the others wait for, leaves them, and never throws.
  void give_up() noexcept;

  /// Buckets in all that went out during backward(), and of these again.
  int64_t sent_early() const;
  int64_t sent_again() const;

 private:
  struct EarlyBucket : Bucket {
    // Of what went out early; empty where it did not.
    std::vector<std::optional<uint64_t>> contents;
    // Members whose gradient has not come.
    std::size_t missing = 0;
    // Whether it has gone out early for nothing in this round, on some rank;
    // for how many rounds more it does not go out early for that, and for how
    // many it did not the last time. The same on all ranks.
    bool was_in_vain = false;
    int64_t rest = 0;
    int64_t last_rest = 0;
  };

  void lay_out();
  void hear(std::size_t parameter);
  void send(EarlyBucket& bucket, const std::vector<at::Tensor>& tensors);
  bool is_stale(
      const EarlyBucket& bucket, const std::vector<at::Tensor>& tensors) const;
  bool was_in_vain(const EarlyBucket& bucket) const;
  void check_unchanged() const;
  void learn();
  void begin_round();
  void send_rest() noexcept;

  // hear() may come from several threads.
  mutable std::mutex mutex_;
  std::vector<at::Tensor> parameters_;
  // Shape and type of each as they were at first; one element of memory.
  std::vector<at::Tensor> like_;
  std::unordered_map<const void*, std::size_t> places_;
  // Of which parameters some rank has wanted or had a gradient.
  std::vector<bool> wanted_;
  std::shared_ptr<Reduction> channel_;
  int64_t bucket_bytes_;
  // In the order in which they go out.
  std::vector<EarlyBucket> buckets_;
  std::vector<std::optional<std::size_t>> bucket_of_;
  // How often each gradient has been added to in this round and the last one,
  // and is to be before it goes out: the more often of the last two, so that a
  // bucket waits for the last of several backward().
  std::vector<int64_t> heard_;
  std::vector<int64_t> heard_before_;
  std::vector<int64_t> expected_;
  std::size_t next_ = 0;
  int64_t held_ = 0;
  int64_t sent_early_ = 0;
  int64_t sent_again_ = 0;
  // Of agree()'s tensors each one's parameter.
  std::vector<std::size_t> order_;
  // The last member, which goes first.
  std::unique_ptr<GradientHooks> hooks_;
};

/// Those of an OverlappedReduction that are for these tensors; else null.
EarlySums* early_sums_for(
    Reduction& reduction, const std::vector<at::Tensor>& like);

}  // namespace stepsize::detail
