#include "csrc/distributed/share_agreement.h"

#include <ATen/Functions.h>
#include <c10/core/ScalarType.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/agree.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>

#include "csrc/core/check.h"
#include "csrc/distributed/failure.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

using Tensors = std::vector<at::Tensor>;

void check_share(
    const Tensors& like,
    const Tensors& tensors,
    const AverageOptions& options) {
  check_option(
      options.bucket_bytes() >= 1,
      "average",
      "bucket_bytes",
      ">= 1",
      options.bucket_bytes());
  TORCH_CHECK(
      tensors.size() == like.size(),
      "average: there must be one tensor for each of the ",
      like.size(),
      ", got ",
      tensors.size());
  for (std::size_t i = 0; i < like.size(); ++i) {
    TORCH_CHECK(
        like[i].defined(), "average: what tensor ", i, " is like is undefined");
    if (!tensors[i].defined()) continue;
    TORCH_CHECK(
        tensors[i].layout() == at::kStrided,
        "average: tensor ",
        i,
        " is sparse: only dense ones can be averaged");
    TORCH_CHECK(
        tensors[i].sizes() == like[i].sizes() &&
            tensors[i].scalar_type() == like[i].scalar_type() &&
            tensors[i].device() == like[i].device() &&
            at::isFloatingType(like[i].scalar_type()),
        "average: tensor ",
        i,
        " must be of floating point, and of the shape, type and device of what "
        "it stands for");
  }
}

// A number that tells two lists of numbers apart (FNV-1a, in words).
class Digest {
 public:
  void add(int64_t value) {
    constexpr uint64_t kPrime = 0x100000001b3;
    constexpr unsigned kHalf = 32;
    value_ = (value_ ^ static_cast<uint64_t>(value)) * kPrime;
    // Else a word's high bits never reach the low ones.
    value_ ^= value_ >> kHalf;
  }
  // In two numbers that a double holds.
  std::array<double, 2> halves() const {
    constexpr unsigned kHalf = 32;
    constexpr uint64_t kLow = 0xffffffff;
    return {
        static_cast<double>(value_ & kLow),
        static_cast<double>(value_ >> kHalf)};
  }

 private:
  uint64_t value_ = 0xcbf29ce484222325;
};

// What must be the same on all ranks, so that their sums are of one length and
// add up what belongs together.
struct Layout {
  const Tensors& like;
  const RankShare& share;
  const AverageOptions& options;
  bool overlaps;

  // Devices may have other numbers, and must only part the tensors alike.
  std::vector<int64_t> device_numbers() const {
    std::vector<at::Device> seen;
    std::vector<int64_t> numbers;
    for (const at::Tensor& tensor : like) {
      const at::Device device = tensor.defined() ? tensor.device() : at::kCPU;
      const auto at = std::find(seen.begin(), seen.end(), device);
      numbers.push_back(at - seen.begin());
      if (at == seen.end()) seen.push_back(device);
    }
    return numbers;
  }

  Digest digest() const {
    Digest digest;
    digest.add(static_cast<int64_t>(share.common.size()));
    for (const auto& [name, number] : share.common) {
      for (const char letter : name) digest.add(letter);
      int64_t bits = 0;
      std::memcpy(&bits, &number, sizeof(bits));
      digest.add(bits);
    }
    digest.add(static_cast<int64_t>(share.numbers.size()));
    digest.add(options.bucket_bytes());
    digest.add(overlaps ? 1 : 0);
    digest.add(static_cast<int64_t>(like.size()));
    const auto devices = device_numbers();
    for (std::size_t i = 0; i < like.size(); ++i) {
      if (!like[i].defined()) {
        digest.add(-1);
        continue;
      }
      digest.add(static_cast<int64_t>(like[i].scalar_type()));
      digest.add(devices[i]);
      digest.add(like[i].dim());
      for (const int64_t size : like[i].sizes()) digest.add(size);
    }
    return digest;
  }

  // The same in words.
  Facts facts() const {
    Facts facts{
        {"number of tensors", std::to_string(like.size())},
        {"number of numbers", std::to_string(share.numbers.size())},
        {"bucket_bytes", std::to_string(options.bucket_bytes())},
        {"OverlappedReduction", overlaps ? "yes" : "no"}};
    for (const auto& [name, number] : share.common) {
      facts.emplace_back(name, number_text(number));
    }
    const auto devices = device_numbers();
    for (std::size_t i = 0; i < like.size(); ++i) {
      std::ostringstream text;
      if (like[i].defined()) {
        text << like[i].scalar_type() << ' ' << like[i].sizes();
        if (devices[i] > 0) text << " on device " << devices[i] + 1;
      } else {
        text << "undefined";
      }
      facts.emplace_back("tensor " + std::to_string(i), text.str());
    }
    return facts;
  }
};

// Whether two ranks mean the same number: another machine's mathematics may
// have another last bit.
bool is_near(double one, double other) {
  constexpr double kTolerance = 1e-12;
  if (one == other) return true;
  if (std::isnan(one) || std::isnan(other)) {
    return std::isnan(one) && std::isnan(other);
  }
  return std::isfinite(one) && std::isfinite(other) &&
         std::abs(one - other) <=
             kTolerance * std::max(std::abs(one), std::abs(other));
}

// The numbers, those that are near rank 0's being rank 0's.
CommonNumbers rounded_to_first(CommonNumbers common, Reduction& reduction) {
  std::string bytes;
  for (const auto& [name, number] : common) {
    std::array<char, sizeof(number)> one{};
    std::memcpy(one.data(), &number, sizeof(number));
    bytes.append(one.data(), one.size());
  }
  bytes = reduction.broadcast_text(bytes);
  for (std::size_t i = 0; i < common.size(); ++i) {
    double first = 0;
    if (bytes.size() < (i + 1) * sizeof(first)) break;
    std::memcpy(&first, bytes.data() + i * sizeof(first), sizeof(first));
    if (is_near(common[i].second, first)) common[i].second = first;
  }
  return common;
}

// To be called by all ranks where their layouts are not the same bit for bit.
// Throws unless only common numbers differ, and are near.
void agree_on_layout(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options,
    bool overlaps) {
  RankShare rounded = share;
  rounded.common = rounded_to_first(share.common, reduction);
  const Layout layout{like, rounded, options, overlaps};
  agree(layout.facts(), reduction, "average");
  bool same = true;
  for (const double half : layout.digest().halves()) {
    const auto halves = reduction.gather(half);
    same = same && std::all_of(halves.begin(), halves.end(), [&](double other) {
             return other == halves.front();
           });
  }
  TORCH_CHECK(same, "average: the ranks bring different tensors");
}

Digest presence_of(const Tensors& tensors) {
  Digest digest;
  for (const at::Tensor& tensor : tensors) digest.add(tensor.defined() ? 1 : 0);
  return digest;
}

bool all_equal(
    const std::vector<double>& facts,
    std::size_t ranks,
    std::size_t place,
    std::size_t stride) {
  for (std::size_t rank = 1; rank < ranks; ++rank) {
    if (facts[rank * stride + place] != facts[place]) return false;
  }
  return true;
}

}  // namespace

std::exception_ptr failure_of(
    const Tensors& like,
    const RankShare& share,
    const AverageOptions& options) {
  if (share.failure) return share.failure;
  try {
    check_share(like, share.tensors, options);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

Agreement agree_on_share(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options,
    bool overlaps) {
  const auto ranks = static_cast<std::size_t>(reduction.world_size());
  const auto own_rank = static_cast<std::size_t>(reduction.rank());
  const std::exception_ptr failure = failure_of(like, share, options);
  rethrow_lost_rank(failure);
  const Layout layout{like, share, options, overlaps};

  // Of each rank: whether it has failed, and what it brings.
  constexpr std::size_t kFacts = 5;
  // Enough for evaluate_on_ranks().
  const std::size_t room = ranks + 8;
  std::vector<double> facts(ranks * kFacts + room, 0.0);
  double* const own = facts.data() + own_rank * kFacts;
  if (failure) {
    own[0] = 1;
  } else {
    const auto brings = layout.digest().halves();
    const auto has = presence_of(share.tensors).halves();
    own[1] = brings[0];
    own[2] = brings[1];
    own[3] = has[0];
    own[4] = has[1];
  }
  const std::size_t along = std::min(room, share.numbers.size());
  const auto place = static_cast<std::ptrdiff_t>(ranks * kFacts);
  const auto some = share.numbers.begin() + static_cast<std::ptrdiff_t>(along);
  if (!failure) {
    std::copy(share.numbers.begin(), some, facts.begin() + place);
  }
  const auto sum = [&](std::vector<double>& values) {
    at::Tensor tensor = at::from_blob(
        values.data(), {static_cast<int64_t>(values.size())}, at::kDouble);
    reduction.sum(tensor);
  };
  sum(facts);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (facts[rank * kFacts] != 0) {
      throw_failure(reduction, static_cast<int64_t>(rank), failure);
    }
  }
  if (!all_equal(facts, ranks, 1, kFacts) ||
      !all_equal(facts, ranks, 2, kFacts)) {
    agree_on_layout(like, share, reduction, options, overlaps);
  }
  Agreement agreement;
  agreement.sums.assign(
      facts.begin() + place,
      facts.begin() + place + (some - share.numbers.begin()));
  for (const at::Tensor& tensor : share.tensors) {
    agreement.present.push_back(tensor.defined());
  }
  const bool same_tensors =
      all_equal(facts, ranks, 3, kFacts) && all_equal(facts, ranks, 4, kFacts);
  if (same_tensors && along == share.numbers.size()) return agreement;
  std::vector<double> rest(some, share.numbers.end());
  const auto numbers = static_cast<std::ptrdiff_t>(rest.size());
  rest.insert(rest.end(), agreement.present.begin(), agreement.present.end());
  sum(rest);
  agreement.sums.insert(
      agreement.sums.end(), rest.begin(), rest.begin() + numbers);
  for (std::size_t i = 0; i < like.size(); ++i) {
    agreement.present[i] = rest[static_cast<std::size_t>(numbers) + i] > 0;
  }
  return agreement;
}

}  // namespace stepsize::detail
