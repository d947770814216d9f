#include <stepsize/distributed/average.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/distributed/failure.h"

namespace stepsize {
namespace {

using Tensors = std::vector<at::Tensor>;

// Some of the tensors, one after the other in one block of memory.
struct Bucket {
  std::vector<std::size_t> members;
  int64_t elements = 0;
  at::Tensor flat;
  std::function<void()> wait;
};

at::ScalarType sum_type(const at::Tensor& like) {
  const auto type = like.scalar_type();
  return type == at::kHalf || type == at::kBFloat16 ? at::kFloat : type;
}

void check_share(
    const Tensors& like,
    const Tensors& tensors,
    const AverageOptions& options) {
  detail::check_option(
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

// The same on every rank, as the ranks have agreed on what is there.
std::vector<Bucket> buckets_of(
    const Tensors& like, const std::vector<bool>& present, int64_t most_bytes) {
  std::vector<Bucket> buckets;
  for (std::size_t i = 0; i < like.size(); ++i) {
    if (!present[i]) continue;
    const auto fits = [&](const Bucket& bucket) {
      const at::Tensor& first = like[bucket.members.front()];
      return first.device() == like[i].device() &&
             sum_type(first) == sum_type(like[i]);
    };
    const auto last = std::find_if(buckets.rbegin(), buckets.rend(), fits);
    const auto size = static_cast<int64_t>(c10::elementSize(sum_type(like[i])));
    const bool has_room =
        last != buckets.rend() &&
        (last->elements + like[i].numel()) * size <= most_bytes;
    Bucket& bucket = has_room ? *last : buckets.emplace_back();
    bucket.members.push_back(i);
    bucket.elements += like[i].numel();
  }
  return buckets;
}

template <typename Function>
void for_each_part(
    const Bucket& bucket, const Tensors& like, const Function& function) {
  int64_t start = 0;
  for (const std::size_t i : bucket.members) {
    const int64_t length = like[i].numel();
    function(i, bucket.flat.narrow(0, start, length).view(like[i].sizes()));
    start += length;
  }
}

void put_gradients(const Tensors& parameters, const Tensors& means) {
  const c10::AutoGradMode no_grad(false);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (!means[i].defined()) continue;
    at::Tensor parameter = parameters[i];
    if (parameter.grad().defined()) {
      parameter.mutable_grad().copy_(means[i]);
    } else {
      // Not the bucket, which would live as long as the gradient.
      parameter.mutable_grad() = means[i].clone();
    }
  }
}

Tensors gradients_of(const Tensors& parameters) {
  Tensors gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) {
    gradients.push_back(parameter.grad());
  }
  return gradients;
}

}  // namespace

RankMeans average(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options) {
  const c10::AutoGradMode no_grad(false);
  const auto ranks = static_cast<std::size_t>(reduction.world_size());
  const std::exception_ptr failure = failure_of(like, share, options);
  detail::rethrow_lost_rank(failure);
  // Who has failed, the numbers, and which tensors there are.
  std::vector<double> facts(ranks + share.numbers.size() + like.size(), 0.0);
  facts[static_cast<std::size_t>(reduction.rank())] = failure ? 1 : 0;
  auto next = std::copy(
      share.numbers.begin(),
      share.numbers.end(),
      facts.begin() + static_cast<std::ptrdiff_t>(ranks));
  if (!failure) {
    for (const at::Tensor& tensor : share.tensors) {
      *next++ = tensor.defined() ? 1 : 0;
    }
  }
  at::Tensor sums = at::from_blob(
      facts.data(), {static_cast<int64_t>(facts.size())}, at::kDouble);
  reduction.sum(sums);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (facts[rank] != 0) {
      detail::throw_failure(reduction, static_cast<int64_t>(rank), failure);
    }
  }

  const auto count = static_cast<double>(ranks);
  RankMeans means;
  for (std::size_t i = 0; i < share.numbers.size(); ++i) {
    means.numbers.push_back(facts[ranks + i] / count);
  }
  std::vector<bool> present;
  for (std::size_t i = 0; i < like.size(); ++i) {
    present.push_back(facts[ranks + share.numbers.size() + i] > 0);
  }
  auto buckets = buckets_of(like, present, options.bucket_bytes());
  for (Bucket& bucket : buckets) {
    const at::Tensor& first = like[bucket.members.front()];
    bucket.flat =
        at::empty({bucket.elements}, first.options().dtype(sum_type(first)));
    for_each_part(bucket, like, [&](std::size_t i, at::Tensor part) {
      const at::Tensor& own = share.tensors[i];
      own.defined() ? part.copy_(own) : part.zero_();
    });
    bucket.wait = reduction.start_sum(bucket.flat);
  }
  for (const Bucket& bucket : buckets) bucket.wait();
  means.tensors.resize(like.size());
  for (Bucket& bucket : buckets) {
    bucket.flat.div_(count);
    for_each_part(bucket, like, [&](std::size_t i, const at::Tensor& part) {
      means.tensors[i] = part.to(like[i].scalar_type());
    });
  }
  return means;
}

void average_gradients(
    const Tensors& parameters,
    Reduction& reduction,
    const AverageOptions& options) {
  RankShare share;
  share.tensors = gradients_of(parameters);
  put_gradients(
      parameters, average(parameters, share, reduction, options).tensors);
}

at::Tensor evaluate_on_ranks(
    const std::function<at::Tensor()>& closure,
    const Tensors& parameters,
    Reduction& reduction,
    const AverageOptions& options) {
  at::Tensor loss;
  RankShare share;
  // The loss, and who has none.
  share.numbers.resize(1 + static_cast<std::size_t>(reduction.world_size()));
  double& own_loss = share.numbers.front();
  double& has_none =
      share.numbers[1 + static_cast<std::size_t>(reduction.rank())];
  share.failure = reduction.attempt([&] {
    if (closure) {
      const c10::AutoGradMode with_gradients(true);
      loss = closure();
    }
    if (loss.defined() && loss.numel() == 1) {
      own_loss = loss.item<double>();
    } else {
      has_none = 1;
    }
    share.tensors = gradients_of(parameters);
  });
  const RankMeans means = average(parameters, share, reduction, options);
  const auto first = means.numbers.begin() + 1;
  const auto without = [](double mean) { return mean > 0; };
  const bool has_loss = !std::all_of(first, means.numbers.end(), without);
  const auto missing = std::find_if(first, means.numbers.end(), without);
  TORCH_CHECK(
      !has_loss || missing == means.numbers.end(),
      "evaluate_on_ranks: the closure must return one number on all ranks or "
      "on none, got none on rank ",
      missing - first);
  put_gradients(parameters, means.tensors);
  return has_loss ? at::full_like(loss.detach(), means.numbers.front()) : loss;
}

double share_weight(int64_t examples, Reduction& reduction) {
  const auto shares = reduction.gather(static_cast<double>(examples));
  double all = 0;
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    TORCH_CHECK(
        shares[rank] >= 0,
        "share_weight: examples must be >= 0, got ",
        static_cast<int64_t>(shares[rank]),
        " on rank ",
        rank);
    all += shares[rank];
  }
  TORCH_CHECK(all > 0, "share_weight: there must be an example on some rank");
  return static_cast<double>(examples) *
         static_cast<double>(reduction.world_size()) / all;
}

}  // namespace stepsize
