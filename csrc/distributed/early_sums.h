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
/// buckets go out again. A round in which agree() throws stays open: what is
/// under way is part of the next try.
class EarlySums {
 public:
  /// `channel`: over which nothing else travels. Parameters lie on the CPU, and
  /// are the same on all ranks.
  EarlySums(
      const std::vector<at::Tensor>& parameters,
      std::shared_ptr<Reduction> channel,
      int64_t bucket_bytes);
  ~EarlySums();
  EarlySums(const EarlySums&) = delete;
  EarlySums& operator=(const EarlySums&) = delete;

  /// Whether these are its parameters, in any order.
  bool covers(const std::vector<at::Tensor>& like) const;

  /// As agree_on_share(), with all sums under way after it.
  Agreement agree(
      const std::vector<at::Tensor>& like,
      const RankShare& share,
      Reduction& reduction,
      const AverageOptions& options);
  /// To be called after agree(): take(i, sum / count) for each of its tensors,
  /// in memory that is lent for the call.
  void finish(
      double count,
      const std::function<void(std::size_t, const at::Tensor&)>& take);

  /// While held, backward() sends nothing. Counts.
  void hold(bool held);
  /// Sends what the others wait for, leaves them, and never throws.
  void give_up() noexcept;

  /// Buckets in all that went out during backward(), and out again.
  int64_t sent_early() const;
  int64_t sent_again() const;

 private:
  struct EarlyBucket : Bucket {
    // Of what went out early; none of what is not known to be there still.
    std::vector<std::optional<uint64_t>> contents;
    // Of agree(), in which it went out.
    int64_t call = 0;
    // Members whose gradient has not come.
    std::size_t missing = 0;
    // For how many rounds it does not go out early, as it was in vain, and for
    // how many it did not the last time.
    int64_t rest = 0;
    int64_t last_rest = 0;
  };

  void hear(std::size_t parameter);
  bool can_pack(const EarlyBucket& bucket) const;
  void send(EarlyBucket& bucket, const std::vector<at::Tensor>& tensors);
  bool is_stale(
      const EarlyBucket& bucket, const std::vector<at::Tensor>& tensors) const;
  void note_stale(EarlyBucket& bucket) const;
  void check_unchanged() const;
  void begin_round();
  void send_rest() noexcept;

  // hear() may come from several threads.
  mutable std::mutex mutex_;
  std::vector<at::Tensor> parameters_;
  // Shape and type of each as they were at first; one element of memory.
  std::vector<at::Tensor> like_;
  std::unordered_map<const void*, std::size_t> places_;
  std::shared_ptr<Reduction> channel_;
  std::vector<EarlyBucket> buckets_;
  std::vector<std::size_t> bucket_of_;
  // How often each gradient has been added to in this round, and was in the
  // last: so a bucket waits for the last of several backward().
  std::vector<int64_t> heard_;
  std::vector<int64_t> expected_;
  std::size_t next_ = 0;
  int64_t call_ = 0;
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
