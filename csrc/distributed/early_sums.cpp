#include "csrc/distributed/early_sums.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "csrc/distributed/failure.h"

namespace stepsize::detail {
namespace {

using Tensors = std::vector<at::Tensor>;

// A number that tells contents apart. Each word moves the earlier ones on, so
// that their order counts; eight at a time, for the speed of memory.
uint64_t content_digest(const unsigned char* bytes, std::size_t size) {
  constexpr std::size_t kLanes = 8;
  constexpr std::size_t kBlock = kLanes * sizeof(uint64_t);
  constexpr unsigned kLeft = 5;
  constexpr unsigned kRight = 64 - kLeft;
  constexpr uint64_t kMix = 0x9e3779b97f4a7c15;
  std::array<uint64_t, kLanes> lanes{};
  std::array<uint64_t, kLanes> words{};
  const auto add = [&] {
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes[i] = ((lanes[i] << kLeft) | (lanes[i] >> kRight)) + words[i];
    }
  };
  std::size_t done = 0;
  for (; done + kBlock <= size; done += kBlock) {
    std::memcpy(words.data(), bytes + done, kBlock);
    add();
  }
  words.fill(0);
  if (size > done) std::memcpy(words.data(), bytes + done, size - done);
  add();
  uint64_t digest = size;
  for (const uint64_t lane : lanes) {
    digest = (digest ^ lane) * kMix;
    digest ^= digest >> 32U;
  }
  return digest;
}

// None where the elements do not fill their memory.
std::optional<uint64_t> content_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return 0;
  if (!tensor.is_non_overlapping_and_dense()) return std::nullopt;
  const auto elements = static_cast<std::size_t>(tensor.numel());
  uint64_t digest = content_digest(
      static_cast<const unsigned char*>(tensor.data_ptr()),
      elements * tensor.element_size());
  // Another order of the same numbers is other contents.
  for (const int64_t stride : tensor.strides()) {
    digest = digest * 31 + static_cast<uint64_t>(stride);
  }
  return digest;
}

}  // namespace

EarlySums::EarlySums(
    const Tensors& parameters,
    std::shared_ptr<Reduction> channel,
    int64_t bucket_bytes)
    : parameters_(parameters),
      channel_(std::move(channel)),
      bucket_of_(parameters.size()),
      heard_(parameters.size(), 0),
      expected_(parameters.size(), 1) {
  for (const at::Tensor& own : parameters) {
    like_.push_back(at::empty({}, own.options()).expand(own.sizes()));
  }
  // The last parameters are used last, and their gradients come first.
  const Tensors reversed(parameters.rbegin(), parameters.rend());
  const std::vector<bool> all(reversed.size(), true);
  for (Bucket& bucket : buckets_of(reversed, all, bucket_bytes)) {
    for (std::size_t& member : bucket.members) {
      member = parameters.size() - 1 - member;
    }
    EarlyBucket& own = buckets_.emplace_back();
    static_cast<Bucket&>(own) = std::move(bucket);
    allocate(own, like_);
    for (const std::size_t i : own.members) bucket_of_[i] = buckets_.size() - 1;
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    places_.emplace(parameters[i].unsafeGetTensorImpl(), i);
  }
  begin_round();
  hooks_ = std::make_unique<GradientHooks>(
      parameters, [this](std::size_t i) { hear(i); });
}

EarlySums::~EarlySums() {
  hooks_.reset();
  // Else the others' would wait for them, and so would the channel's end.
  send_rest();
}

bool EarlySums::covers(const Tensors& like) const {
  if (like.size() != parameters_.size()) return false;
  std::vector<bool> seen(like.size(), false);
  for (const at::Tensor& tensor : like) {
    const auto place = places_.find(tensor.unsafeGetTensorImpl());
    if (place == places_.end() || seen[place->second]) return false;
    seen[place->second] = true;
  }
  return true;
}

void EarlySums::hear(std::size_t parameter) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // What has a graph is part of a longer computation.
  if (held_ > 0 || c10::GradMode::is_enabled()) return;
  if (++heard_[parameter] == expected_[parameter]) {
    --buckets_[bucket_of_[parameter]].missing;
  }
  while (next_ < buckets_.size() && buckets_[next_].missing == 0 &&
         buckets_[next_].rest == 0 && can_pack(buckets_[next_])) {
    EarlyBucket& bucket = buckets_[next_];
    Tensors gradients(parameters_.size());
    bucket.contents.clear();
    for (const std::size_t i : bucket.members) {
      gradients[i] = parameters_[i].grad();
      bucket.contents.push_back(content_of(gradients[i]));
    }
    send(bucket, gradients);
    ++next_;
    ++sent_early_;
  }
}

bool EarlySums::can_pack(const EarlyBucket& bucket) const {
  return std::all_of(
      bucket.members.begin(), bucket.members.end(), [&](std::size_t i) {
        const at::Tensor& own = parameters_[i].grad();
        return !own.defined() ||
               (own.layout() == at::kStrided && own.device().is_cpu() &&
                own.sizes() == like_[i].sizes() &&
                own.is_non_overlapping_and_dense());
      });
}

void EarlySums::send(EarlyBucket& bucket, const Tensors& tensors) {
  const c10::AutoGradMode no_grad(false);
  for_each_part(bucket, like_, [&](std::size_t i, at::Tensor part) {
    tensors[i].defined() ? part.copy_(tensors[i]) : part.zero_();
  });
  bucket.wait = channel_->start_sum(bucket.flat);
}

void EarlySums::note_stale(EarlyBucket& bucket) const {
  constexpr int64_t kLongest = 64;
  // Nor is it in vain where another backward() came, for which the next round
  // waits.
  const bool has_gone_early = !bucket.contents.empty();
  const bool has_learned = std::any_of(
      bucket.members.begin(), bucket.members.end(), [&](std::size_t i) {
        return heard_[i] > expected_[i];
      });
  if (!has_gone_early || has_learned) return;
  bucket.last_rest =
      std::min(kLongest, std::max<int64_t>(1, 2 * bucket.last_rest));
  // The round that ends is one of them.
  bucket.rest = bucket.last_rest + 1;
}

void EarlySums::check_unchanged() const {
  for (std::size_t i = 0; i < like_.size(); ++i) {
    TORCH_CHECK(
        parameters_[i].sizes() == like_[i].sizes() &&
            parameters_[i].scalar_type() == like_[i].scalar_type() &&
            parameters_[i].device() == like_[i].device(),
        "OverlappedReduction: parameter ",
        i,
        " has had another shape, type or device: make a new one");
  }
}

bool EarlySums::is_stale(
    const EarlyBucket& bucket, const Tensors& tensors) const {
  if (bucket.call == call_) return false;
  if (bucket.contents.empty()) return true;
  for (std::size_t m = 0; m < bucket.members.size(); ++m) {
    const auto& sent = bucket.contents[m];
    if (!sent || sent != content_of(tensors[bucket.members[m]])) return true;
  }
  return false;
}

Agreement EarlySums::agree(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const c10::AutoGradMode no_grad(false);
  ++call_;
  order_.clear();
  for (const at::Tensor& tensor : like) {
    order_.push_back(places_.at(tensor.unsafeGetTensorImpl()));
  }
  RankShare own = share;
  own.failure = failure_of(like, share, options);
  if (!own.failure) own.failure = reduction.attempt([&] { check_unchanged(); });
  rethrow_lost_rank(own.failure);
  // In the order of the parameters; of a rank that has failed zeros.
  Tensors tensors(parameters_.size());
  if (!own.failure) {
    for (std::size_t i = 0; i < order_.size(); ++i) {
      tensors[order_[i]] = share.tensors[i];
    }
  }
  std::vector<double> stale(buckets_.size(), 0.0);
  double count = 0;
  for (std::size_t b = 0; b < next_ && !own.failure; ++b) {
    if (!is_stale(buckets_[b], tensors)) continue;
    stale[b] = 1;
    ++count;
    note_stale(buckets_[b]);
  }
  for (; next_ < buckets_.size(); ++next_) {
    EarlyBucket& bucket = buckets_[next_];
    bucket.contents.clear();
    bucket.call = call_;
    send(bucket, tensors);
  }
  own.numbers.insert(own.numbers.begin(), count);
  Agreement agreement = agree_on_share(like, own, reduction, options, true);
  const bool is_any_stale = agreement.sums.front() > 0;
  agreement.sums.erase(agreement.sums.begin());
  if (!is_any_stale) return agreement;
  at::Tensor sums = at::from_blob(
      stale.data(), {static_cast<int64_t>(stale.size())}, at::kDouble);
  reduction.sum(sums);
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    if (stale[b] == 0) continue;
    EarlyBucket& bucket = buckets_[b];
    bucket.wait();
    bucket.contents.clear();
    bucket.call = call_;
    send(bucket, tensors);
    ++sent_again_;
  }
  return agreement;
}

void EarlySums::finish(
    double count,
    const std::function<void(std::size_t, const at::Tensor&)>& take) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const c10::AutoGradMode no_grad(false);
  std::vector<std::size_t> index_of(order_.size());
  for (std::size_t i = 0; i < order_.size(); ++i) index_of[order_[i]] = i;
  // A rank must not keep some gradients and not others.
  for (const EarlyBucket& bucket : buckets_) bucket.wait();
  for (EarlyBucket& bucket : buckets_) {
    bucket.flat.div_(count);
    for_each_part(bucket, like_, [&](std::size_t i, const at::Tensor& part) {
      take(index_of[i], part);
    });
  }
  // Not after an average without a backward().
  const auto was_heard = [](int64_t times) { return times > 0; };
  if (std::any_of(heard_.begin(), heard_.end(), was_heard)) expected_ = heard_;
  begin_round();
  hooks_->refresh();
}

void EarlySums::begin_round() {
  next_ = 0;
  std::fill(heard_.begin(), heard_.end(), 0);
  for (EarlyBucket& bucket : buckets_) {
    if (bucket.rest > 0) {
      --bucket.rest;
    } else if (!bucket.contents.empty()) {
      bucket.last_rest = 0;
    }
    bucket.contents.clear();
    const auto is_awaited = [&](std::size_t i) { return expected_[i] > 0; };
    bucket.missing = static_cast<std::size_t>(std::count_if(
        bucket.members.begin(), bucket.members.end(), is_awaited));
  }
}

void EarlySums::hold(bool held) {
  const std::lock_guard<std::mutex> lock(mutex_);
  held_ += held ? 1 : -1;
}

void EarlySums::send_rest() noexcept {
  try {
    for (; next_ > 0 && next_ < buckets_.size(); ++next_) {
      send(buckets_[next_], Tensors(parameters_.size()));
    }
  } catch (const std::exception&) {
    // The others have left.
  }
}

void EarlySums::give_up() noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  send_rest();
  try {
    channel_->give_up();
  } catch (const std::exception&) {
    // As above.
  }
}

int64_t EarlySums::sent_early() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sent_early_;
}

int64_t EarlySums::sent_again() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return sent_again_;
}

}  // namespace stepsize::detail
