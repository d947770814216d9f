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

constexpr uint64_t kContentMix = 0x9e3779b97f4a7c15;

// One to one for each of the two: a word that has changed changes the rest.
uint64_t mixed(uint64_t digest, uint64_t word) {
  digest = (digest ^ word) * kContentMix;
  // Else a word's high bits never reach the low ones. By 32 one number's sign
  // would fall on that of its neighbor.
  return digest ^ (digest >> 29U);
}

// A number that tells contents apart, by their order too: not even zeros leave
// it as it is. Eight words at a time, as a product takes long to come.
uint64_t content_digest(const unsigned char* bytes, std::size_t size) {
  constexpr std::size_t kLanes = 8;
  constexpr std::size_t kBlock = kLanes * sizeof(uint64_t);
  std::array<uint64_t, kLanes> lanes{};
  std::array<uint64_t, kLanes> words{};
  lanes.fill(kContentMix);
  const auto add = [&] {
    for (std::size_t i = 0; i < kLanes; ++i) {
      lanes[i] = mixed(lanes[i], words[i]);
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
  for (const uint64_t lane : lanes) digest = mixed(digest, lane);
  return digest;
}

// None of what does not go into a bucket as it is: a sparse one, say.
std::optional<uint64_t> content_of(
    const at::Tensor& tensor, const at::Tensor& like) {
  if (!tensor.defined()) return 0;
  if (tensor.layout() != at::kStrided || !tensor.device().is_cpu() ||
      tensor.sizes() != like.sizes() ||
      !tensor.is_non_overlapping_and_dense()) {
    return std::nullopt;
  }
  const auto elements = static_cast<std::size_t>(tensor.numel());
  uint64_t digest = content_digest(
      static_cast<const unsigned char*>(tensor.data_ptr()),
      elements * tensor.element_size());
  // Another order of the same numbers is other contents.
  for (const int64_t stride : tensor.strides()) {
    digest = mixed(digest, static_cast<uint64_t>(stride));
  }
  return digest;
}

}  // namespace

EarlySums::EarlySums(
    const Tensors& parameters,
    std::vector<bool> wanted,
    std::shared_ptr<Reduction> channel,
    int64_t bucket_bytes)
    : parameters_(parameters),
      wanted_(std::move(wanted)),
      channel_(std::move(channel)),
      bucket_bytes_(bucket_bytes),
      heard_(parameters.size(), 0),
      heard_before_(parameters.size(), 0),
      expected_(parameters.size(), 1) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& own = parameters[i];
    like_.push_back(at::empty({}, own.options()).expand(own.sizes()));
    places_.emplace(own.unsafeGetTensorImpl(), i);
  }
  lay_out();
  begin_round();
  hooks_ = std::make_unique<GradientHooks>(
      parameters, [this](std::size_t i) { hear(i); });
}

void EarlySums::lay_out() {
  // The last parameters are used last, and their gradients come first.
  const Tensors reversed(like_.rbegin(), like_.rend());
  const std::vector<bool> wanted(wanted_.rbegin(), wanted_.rend());
  buckets_.clear();
  for (Bucket& bucket : buckets_of(reversed, wanted, bucket_bytes_)) {
    for (std::size_t& member : bucket.members) {
      member = like_.size() - 1 - member;
    }
    EarlyBucket& own = buckets_.emplace_back();
    static_cast<Bucket&>(own) = std::move(bucket);
    allocate(own, like_);
  }
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

bool EarlySums::has(const at::Tensor& parameter) const {
  return bucket_of_[places_.at(parameter.unsafeGetTensorImpl())].has_value();
}

void EarlySums::hear(std::size_t parameter) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // What has a graph is part of a longer computation.
  if (held_ > 0 || c10::GradMode::is_enabled()) return;
  const auto own_bucket = bucket_of_[parameter];
  if (++heard_[parameter] == expected_[parameter] && own_bucket) {
    --buckets_[*own_bucket].missing;
  }
  while (next_ < buckets_.size() && buckets_[next_].missing == 0 &&
         buckets_[next_].rest == 0) {
    EarlyBucket& bucket = buckets_[next_];
    Tensors gradients(parameters_.size());
    for (const std::size_t i : bucket.members) {
      const at::Tensor& own = parameters_[i].grad();
      bucket.contents.push_back(content_of(own, like_[i]));
      // The others do not wait for one that must go out again, and then rests.
      if (bucket.contents.back()) gradients[i] = own;
    }
    send(bucket, gradients);
    ++next_;
    ++sent_early_;
  }
}

void EarlySums::send(EarlyBucket& bucket, const Tensors& tensors) {
  const c10::AutoGradMode no_grad(false);
  for_each_part(bucket, like_, [&](std::size_t i, at::Tensor part) {
    tensors[i].defined() ? part.copy_(tensors[i]) : part.zero_();
  });
  bucket.wait = channel_->start_sum(bucket.flat);
}

bool EarlySums::was_in_vain(const EarlyBucket& bucket) const {
  // Not where another backward() came, for which the next round waits.
  const bool has_learned = std::any_of(
      bucket.members.begin(), bucket.members.end(), [&](std::size_t i) {
        return heard_[i] > expected_[i];
      });
  return !bucket.contents.empty() && !has_learned;
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
  // Sent for a try that came to nothing.
  if (bucket.contents.empty()) return true;
  for (std::size_t m = 0; m < bucket.members.size(); ++m) {
    const std::size_t i = bucket.members[m];
    const auto& sent = bucket.contents[m];
    if (!sent || sent != content_of(tensors[i], like_[i])) return true;
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
  // Of each bucket, and then of each whether it was in vain.
  const std::size_t count = buckets_.size();
  std::vector<double> stale(2 * count, 0.0);
  double all_stale = 0;
  for (std::size_t b = 0; b < next_ && !own.failure; ++b) {
    if (!is_stale(buckets_[b], tensors)) continue;
    stale[b] = 1;
    stale[count + b] = was_in_vain(buckets_[b]) ? 1 : 0;
    ++all_stale;
  }
  for (; next_ < count; ++next_) send(buckets_[next_], tensors);
  own.numbers.insert(own.numbers.begin(), all_stale);
  Agreement agreement = agree_on_share(like, own, reduction, options, true);
  const bool is_any_stale = agreement.sums.front() > 0;
  agreement.sums.erase(agreement.sums.begin());
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (agreement.present[i]) wanted_[order_[i]] = true;
  }
  if (!is_any_stale) return agreement;
  at::Tensor sums = at::from_blob(
      stale.data(), {static_cast<int64_t>(stale.size())}, at::kDouble);
  reduction.sum(sums);
  for (std::size_t b = 0; b < count; ++b) {
    if (stale[b] == 0) continue;
    EarlyBucket& bucket = buckets_[b];
    bucket.wait();
    if (!bucket.contents.empty()) ++sent_again_;
    bucket.contents.clear();
    bucket.was_in_vain = stale[count + b] > 0;
    send(bucket, tensors);
  }
  return agreement;
}

void EarlySums::wait() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const EarlyBucket& bucket : buckets_) bucket.wait();
}

void EarlySums::finish(
    double count,
    const std::function<void(std::size_t, const at::Tensor&)>& take) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const c10::AutoGradMode no_grad(false);
  std::vector<std::size_t> index_of(order_.size());
  for (std::size_t i = 0; i < order_.size(); ++i) index_of[order_[i]] = i;
  // The round has ended, also where `take` throws.
  std::vector<EarlyBucket> summed = buckets_;
  learn();
  begin_round();
  hooks_->refresh();
  for (EarlyBucket& bucket : summed) {
    bucket.flat.div_(count);
    for_each_part(bucket, like_, [&](std::size_t i, const at::Tensor& part) {
      take(index_of[i], part);
    });
  }
}

void EarlySums::learn() {
  constexpr int64_t kLongestRest = 64;
  for (EarlyBucket& bucket : buckets_) {
    if (bucket.was_in_vain) {
      bucket.last_rest =
          std::min(kLongestRest, std::max<int64_t>(1, 2 * bucket.last_rest));
      bucket.rest = bucket.last_rest;
    } else if (bucket.rest > 0) {
      --bucket.rest;
    } else {
      bucket.last_rest = 0;
    }
    bucket.was_in_vain = false;
  }
  // Not from an average without a backward().
  const auto was_heard = [](int64_t times) { return times > 0; };
  if (std::any_of(heard_.begin(), heard_.end(), was_heard)) {
    for (std::size_t i = 0; i < heard_.size(); ++i) {
      // A short update, as at the end of an epoch, is not the rule.
      expected_[i] = std::max(heard_[i], heard_before_[i]);
    }
    heard_before_ = heard_;
  }
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    if (wanted_[i] && !bucket_of_[i]) {
      lay_out();
      break;
    }
  }
}

void EarlySums::begin_round() {
  next_ = 0;
  std::fill(heard_.begin(), heard_.end(), 0);
  // From the last parameters on; but what rests keeps no other waiting.
  std::sort(
      buckets_.begin(),
      buckets_.end(),
      [](const EarlyBucket& one, const EarlyBucket& other) {
        const bool rests = one.rest > 0;
        if (rests != (other.rest > 0)) return !rests;
        return one.members.front() > other.members.front();
      });
  bucket_of_.assign(parameters_.size(), std::nullopt);
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    EarlyBucket& bucket = buckets_[b];
    bucket.contents.clear();
    bucket.missing = 0;
    for (const std::size_t i : bucket.members) {
      bucket_of_[i] = b;
      if (expected_[i] > 0) ++bucket.missing;
    }
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
