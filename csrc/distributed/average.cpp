#include <stepsize/distributed/average.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>

#include "csrc/core/overlap.h"
#include "csrc/distributed/bucket.h"
#include "csrc/distributed/early_sums.h"
#include "csrc/distributed/share_agreement.h"

namespace stepsize {
namespace {

using Tensors = std::vector<at::Tensor>;

void put_gradient(at::Tensor parameter, const at::Tensor& mean) {
  // One that is expanded, as the gradient of a sum is, has one place for many
  // elements.
  const at::Tensor& own = parameter.grad();
  if (own.defined() && !own.is_inference() && !detail::may_overlap(own)) {
    parameter.mutable_grad().copy_(mean);
  } else {
    // Not the bucket, which would live as long as the gradient.
    parameter.mutable_grad() = mean.clone();
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

using TakeNumbers = std::function<void(const std::vector<double>&)>;
using TakeTensor = std::function<void(std::size_t, const at::Tensor&)>;

// Gives the means of the numbers to `take_numbers`, which may throw, on all
// ranks alike, and then each mean of tensors that there is to `take`, which may
// keep it unless `early` has lent it.
void average_to(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options,
    detail::EarlySums* early,
    const TakeNumbers& take_numbers,
    const TakeTensor& take) {
  const c10::AutoGradMode no_grad(false);
  const auto count = static_cast<double>(reduction.world_size());
  const detail::Agreement agreement =
      early != nullptr
          ? early->agree(like, share, reduction, options)
          : detail::agree_on_share(like, share, reduction, options, false);
  std::vector<double> numbers;
  for (const double sum : agreement.sums) numbers.push_back(sum / count);
  take_numbers(numbers);
  const auto take_part = [&](std::size_t i, const at::Tensor& part) {
    take(i, part.to(like[i].scalar_type()));
  };
  std::vector<bool> late = agreement.present;
  for (std::size_t i = 0; i < like.size() && early != nullptr; ++i) {
    if (early->has(like[i])) late[i] = false;
  }
  auto buckets = detail::buckets_of(like, late, options.bucket_bytes());
  for (detail::Bucket& bucket : buckets) {
    detail::allocate(bucket, like);
    detail::for_each_part(bucket, like, [&](std::size_t i, at::Tensor part) {
      const at::Tensor& own = share.tensors[i];
      own.defined() ? part.copy_(own) : part.zero_();
    });
    bucket.wait = reduction.start_sum(bucket.flat);
  }
  // All of them: a rank must not keep some gradients and not others.
  for (const detail::Bucket& bucket : buckets) bucket.wait();
  if (early != nullptr) {
    early->wait();
    early->finish(count, [&](std::size_t i, const at::Tensor& part) {
      if (agreement.present[i]) take_part(i, part);
    });
  }
  for (detail::Bucket& bucket : buckets) {
    bucket.flat.div_(count);
    detail::for_each_part(bucket, like, take_part);
  }
}

void average_gradients_of(
    const Tensors& parameters,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options,
    const TakeNumbers& take_numbers) {
  average_to(
      parameters,
      share,
      reduction,
      options,
      detail::early_sums_for(reduction, parameters),
      take_numbers,
      [&](std::size_t i, const at::Tensor& mean) {
        put_gradient(parameters[i], mean);
      });
}

}  // namespace

RankMeans average(
    const Tensors& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options) {
  detail::EarlySums* const early = detail::early_sums_for(reduction, like);
  RankMeans means;
  means.tensors.resize(like.size());
  average_to(
      like,
      share,
      reduction,
      options,
      early,
      [&](const std::vector<double>& numbers) { means.numbers = numbers; },
      [&](std::size_t i, const at::Tensor& mean) {
        means.tensors[i] = early != nullptr ? mean.clone() : mean;
      });
  return means;
}

void average_gradients(
    const Tensors& parameters,
    Reduction& reduction,
    const AverageOptions& options) {
  RankShare share;
  share.tensors = gradients_of(parameters);
  average_gradients_of(
      parameters, share, reduction, options, [](const auto& /*numbers*/) {});
}

at::Tensor evaluate_on_ranks(
    const std::function<at::Tensor()>& closure,
    const Tensors& parameters,
    Reduction& reduction,
    const AverageOptions& options,
    const CommonNumbers& common) {
  at::Tensor loss;
  RankShare share;
  share.common = common;
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
  const auto without = [](double mean) { return mean > 0; };
  bool has_loss = false;
  double mean_loss = 0;
  const auto take_loss = [&](const std::vector<double>& numbers) {
    const auto first = numbers.begin() + 1;
    has_loss = !std::all_of(first, numbers.end(), without);
    const auto missing = std::find_if(first, numbers.end(), without);
    TORCH_CHECK(
        !has_loss || missing == numbers.end(),
        "evaluate_on_ranks: the closure must return one number on all ranks or "
        "on none, got none on rank ",
        missing - first);
    mean_loss = numbers.front();
  };
  average_gradients_of(parameters, share, reduction, options, take_loss);
  return has_loss ? at::full_like(loss.detach(), mean_loss) : loss;
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
