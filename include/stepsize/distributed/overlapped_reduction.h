#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace stepsize {

namespace detail {
class EarlySums;
EarlySums* early_sums_for(
    Reduction& reduction, const std::vector<at::Tensor>& like);
}  // namespace detail

/// Options of OverlappedReduction; bucket_bytes the same on every rank.
class OverlappedReductionOptions {
 public:
  /// Gradients travel in flat buckets of up to so many bytes, each as soon as
  /// it is full; >= 1. Smaller than those of average(), as what fills last is
  /// waited for; an average's own bucket_bytes do not count for these
  /// gradients, but must be the same on all ranks nevertheless.
  TORCH_ARG(int64_t, bucket_bytes) = 4 * 1024 * 1024;
  /// A group of the same ranks that nothing else uses, for the buckets; not
  /// `ranks` itself. Null: Reduction::duplicate() makes one.
  TORCH_ARG(std::shared_ptr<Reduction>, channel);
};

/// A reduction that sends the gradients of these parameters while backward()
/// still makes others. One line, in place of the reduction itself:
///
///     auto overlapped = std::make_shared<stepsize::OverlappedReduction>(
///         ranks, model->parameters());
///     optimizer.set_reduction(overlapped);  // or average_gradients(...)
///
/// Whatever averages the gradients of all these parameters through it finds
/// them under way, and gets what it would have got: of two ranks the same bits,
/// of more the same up to the order of sums. A gradient that has changed since
/// it went out, by another backward(), by clipping, by hand, goes out again; of
/// several backward() a step the buckets wait for as many as there were in the
/// one of the last two steps that had more. One that is made with a graph
/// (`create_graph`) does not go out early. All else passes through to `ranks`.
///
/// Parameters that no rank wants a gradient of (`requires_grad`) do not travel.
/// If they are trained later, they do so after backward() in the first step,
/// and with the others from then on. One that is trained and not used travels
/// as zeros.
///
/// With it backward() is part of an exchange: ranks that call it and no step,
/// as to look at a gradient, should hold a NoSync, or their buckets wait for
/// the others'. On parameters that are not on the CPU, with one rank, and where
/// there is no channel, it averages after backward(); overlaps() says so.
///
/// Memory: the buckets, for as long as it lives. Its destructor waits for those
/// under way, up to the ranks' time-out, where the others do not send theirs;
/// it must not run while a backward() of these parameters does.
class OverlappedReduction : public Reduction {
 public:
  /// To be called by all ranks. Throws c10::Error on all where one's parameter
  /// is no leaf, stands there twice or is not of floating point, where a
  /// channel is not of these ranks, and where they differ in shapes, types or
  /// bucket_bytes.
  OverlappedReduction(
      std::shared_ptr<Reduction> ranks,
      std::vector<at::Tensor> parameters,
      const OverlappedReductionOptions& options = {});
  ~OverlappedReduction() override;
  OverlappedReduction(const OverlappedReduction&) = delete;
  OverlappedReduction& operator=(const OverlappedReduction&) = delete;

  int64_t rank() const override { return ranks_->rank(); }
  int64_t world_size() const override { return ranks_->world_size(); }
  void sum(at::Tensor& tensor) override { ranks_->sum(tensor); }
  std::function<void()> start_sum(at::Tensor tensor) override;
  void broadcast(at::Tensor& bytes, int64_t root) override;
  std::shared_ptr<Reduction> duplicate() override;
  int64_t exchanges() const override { return ranks_->exchanges(); }
  void give_up() override;

  /// Whether gradients go out during backward(); the same on all ranks.
  bool overlaps() const { return early_ != nullptr; }
  /// How many buckets this rank has sent during backward(), and how many of
  /// these once more, as their gradients had changed on some rank by the step.
  int64_t sent_early() const;
  int64_t sent_again() const;

  /// While one lives, backward() sends nothing; the step does.
  ///
  ///     const stepsize::OverlappedReduction::NoSync no_sync(*overlapped);
  class NoSync {
   public:
    explicit NoSync(OverlappedReduction& reduction);
    ~NoSync();
    NoSync(const NoSync&) = delete;
    NoSync& operator=(const NoSync&) = delete;

   private:
    std::shared_ptr<detail::EarlySums> early_;
  };

 private:
  friend detail::EarlySums* detail::early_sums_for(
      Reduction& reduction, const std::vector<at::Tensor>& like);

  std::shared_ptr<Reduction> ranks_;
  std::shared_ptr<detail::EarlySums> early_;
};

}  // namespace stepsize
