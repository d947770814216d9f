#include <stepsize/distributed/overlapped_reduction.h>

#include <c10/util/Exception.h>
#include <stepsize/distributed/average.h>

#include <algorithm>
#include <exception>
#include <unordered_set>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/distributed/early_sums.h"
#include "csrc/distributed/share_agreement.h"

namespace stepsize {
namespace {

constexpr char kOverlappedReduction[] = "OverlappedReduction";

void check_leaves(
    const std::vector<at::Tensor>& parameters, int64_t bucket_bytes) {
  detail::check_option(
      bucket_bytes >= 1,
      kOverlappedReduction,
      "bucket_bytes",
      ">= 1",
      bucket_bytes);
  std::unordered_set<const void*> known;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& own = parameters[i];
    TORCH_CHECK(
        own.defined() && own.is_leaf() && own.layout() == at::kStrided &&
            at::isFloatingType(own.scalar_type()),
        kOverlappedReduction,
        ": parameter ",
        i,
        " must be a dense leaf of floating point");
    TORCH_CHECK(
        known.insert(own.unsafeGetTensorImpl()).second,
        kOverlappedReduction,
        ": parameter ",
        i,
        " stands there twice");
  }
}

void check_channel(
    const std::shared_ptr<Reduction>& channel,
    const std::shared_ptr<Reduction>& ranks) {
  if (channel == nullptr) return;
  TORCH_CHECK(
      channel != ranks,
      kOverlappedReduction,
      ": channel must be another group than the ranks'");
  TORCH_CHECK(
      channel->world_size() == ranks->world_size() &&
          channel->rank() == ranks->rank(),
      kOverlappedReduction,
      ": channel must be of the same ranks, got rank ",
      channel->rank(),
      " of ",
      channel->world_size(),
      " for rank ",
      ranks->rank(),
      " of ",
      ranks->world_size());
}

bool are_on_cpu(const std::vector<at::Tensor>& parameters) {
  return std::all_of(
      parameters.begin(), parameters.end(), [](const at::Tensor& own) {
        return own.device().is_cpu();
      });
}

}  // namespace

OverlappedReduction::OverlappedReduction(
    std::shared_ptr<Reduction> ranks,
    std::vector<at::Tensor> parameters,
    const OverlappedReductionOptions& options)
    : ranks_(std::move(ranks)) {
  TORCH_CHECK(
      ranks_ != nullptr, kOverlappedReduction, ": the ranks must not be null");
  RankShare share;
  share.failure = ranks_->attempt([&] {
    check_leaves(parameters, options.bucket_bytes());
    check_channel(options.channel(), ranks_);
  });
  for (const at::Tensor& own : parameters) {
    const bool wants = own.defined() && own.requires_grad();
    share.tensors.push_back(wants ? own : at::Tensor());
  }
  const detail::Agreement agreement = detail::agree_on_share(
      parameters,
      share,
      *ranks_,
      AverageOptions().bucket_bytes(options.bucket_bytes()),
      true);
  if (ranks_->world_size() == 1 || parameters.empty() ||
      ranks_->any(!are_on_cpu(parameters))) {
    return;
  }
  auto channel = options.channel();
  // All ranks make one or none.
  if (ranks_->any(channel == nullptr)) channel = ranks_->duplicate();
  if (ranks_->any(channel == nullptr)) return;
  early_ = std::make_shared<detail::EarlySums>(
      parameters,
      agreement.present,
      std::move(channel),
      options.bucket_bytes());
}

OverlappedReduction::~OverlappedReduction() = default;

std::function<void()> OverlappedReduction::start_sum(at::Tensor tensor) {
  return ranks_->start_sum(std::move(tensor));
}

void OverlappedReduction::broadcast(at::Tensor& bytes, int64_t root) {
  ranks_->broadcast(bytes, root);
}

std::shared_ptr<Reduction> OverlappedReduction::duplicate() {
  return ranks_->duplicate();
}

void OverlappedReduction::give_up() {
  ranks_->give_up();
  if (early_ != nullptr) early_->give_up();
}

int64_t OverlappedReduction::sent_early() const {
  return early_ != nullptr ? early_->sent_early() : 0;
}

int64_t OverlappedReduction::sent_again() const {
  return early_ != nullptr ? early_->sent_again() : 0;
}

OverlappedReduction::NoSync::NoSync(OverlappedReduction& reduction)
    : early_(reduction.early_) {
  if (early_ != nullptr) early_->hold(true);
}

OverlappedReduction::NoSync::~NoSync() {
  if (early_ != nullptr) early_->hold(false);
}

namespace detail {

EarlySums* early_sums_for(
    Reduction& reduction, const std::vector<at::Tensor>& like) {
  auto* const overlapped = dynamic_cast<OverlappedReduction*>(&reduction);
  if (overlapped == nullptr) return nullptr;
  EarlySums* const early = overlapped->early_.get();
  return early != nullptr && early->covers(like) ? early : nullptr;
}

}  // namespace detail
}  // namespace stepsize
