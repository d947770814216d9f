#include "csrc/curvature/vector_math.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "csrc/core/half.h"

namespace stepsize::detail {
namespace {

// Elements from which on a second thread saves more than waking it takes.
constexpr int64_t kWorthThreads = int64_t{1} << 16;

// Partial sums that do not wait for one another: the compiler makes vectors of
// them, which it may not of a single sum.
constexpr int64_t kLanes = 16;

template <int64_t kFirst, int64_t kCount, typename Scalar>
[[gnu::always_inline]] inline void add_lanes_here(
    const Scalar* a, const Scalar* b, int64_t whole, double* sums) {
  std::array<double, kCount> own{};
  for (int64_t i = kFirst; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kCount; ++lane) {
      own[static_cast<std::size_t>(lane)] +=
          static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  std::copy(own.begin(), own.end(), sums + kFirst);
}

#if defined(__x86_64__) && defined(__GNUC__)
// Twice as wide, and without fused operations: the sums are the same.
template <int64_t kFirst, int64_t kCount, typename Scalar>
[[gnu::target("avx2")]] void add_lanes_avx2(
    const Scalar* a, const Scalar* b, int64_t whole, double* sums) {
  add_lanes_here<kFirst, kCount>(a, b, whole, sums);
}
#endif

template <int64_t kFirst, int64_t kCount, typename Scalar>
void add_lanes(const Scalar* a, const Scalar* b, int64_t whole, double* sums) {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) return add_lanes_avx2<kFirst, kCount>(a, b, whole, sums);
#endif
  add_lanes_here<kFirst, kCount>(a, b, whole, sums);
}

template <typename Scalar>
double dot_of(const Scalar* a, const Scalar* b, int64_t count) {
  std::array<double, kLanes> sums{};
  const int64_t whole = count - count % kLanes;
  // Two threads take half of the lanes each, and not half of the elements: the
  // sum is then the same, bit for bit, whatever the number of threads.
  if (count >= kWorthThreads && at::get_num_threads() > 1 &&
      !at::in_parallel_region()) {
    at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t end) {
      if (begin == 0) add_lanes<0, kLanes / 2>(a, b, whole, sums.data());
      if (end == 2) add_lanes<kLanes / 2, kLanes / 2>(a, b, whole, sums.data());
    });
  } else {
    add_lanes<0, kLanes>(a, b, whole, sums.data());
  }
  double sum = 0;
  for (int64_t i = whole; i < count; ++i) {
    sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  }
  for (const double lane : sums) sum += lane;
  return sum;
}

bool is_plain(const at::Tensor& t) {
  return !t.is_neg() && !t._is_zerotensor();
}

// Whether the elements may be taken as they lie in memory: in any order, as
// long as it is the same for both.
bool lie_alike(const at::Tensor& a, const at::Tensor& b) {
  return a.is_non_overlapping_and_dense() && a.strides() == b.strides() &&
         is_plain(a) && is_plain(b);
}

double dot_on_cpu(const at::Tensor& a, const at::Tensor& b) {
  const bool as_they_lie = lie_alike(a, b);
  const bool same_type = a.scalar_type() == b.scalar_type();
  const at::Tensor x = as_they_lie ? a : plain(a).contiguous();
  const at::Tensor y = as_they_lie ? b : plain(b).contiguous();
  if (same_type && a.scalar_type() == at::kFloat) {
    return dot_of(x.data_ptr<float>(), y.data_ptr<float>(), a.numel());
  }
  if (same_type && a.scalar_type() == at::kDouble) {
    return dot_of(x.data_ptr<double>(), y.data_ptr<double>(), a.numel());
  }
  const at::Tensor wide_x = x.to(at::kDouble);
  const at::Tensor wide_y = y.to(at::kDouble);
  return dot_of(
      wide_x.data_ptr<double>(), wide_y.data_ptr<double>(), a.numel());
}

// Whether writing to t can be seen through nothing else. A view holds its base,
// and the gradients of matrix products are such views.
bool is_held_once(const at::Tensor& t) {
  if (t.use_count() != 1) return false;
  const auto holders = t.storage().use_count();
  return holders == 1 ||
         (holders == 2 && t.is_view() && t._base().use_count() == 1);
}

template <typename Scalar>
void quotient_in_place(
    Scalar* a, const Scalar* b, Scalar factor, int64_t count) {
  at::parallel_for(0, count, kWorthThreads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) a[i] = (a[i] - b[i]) * factor;
  });
}

// A few kernels for all tensors of one device, however many there are.
at::Tensor dot_on_device(
    const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  const at::Tensor x = at::cat(a).to(at::kDouble);
  return at::mul(x, at::cat(b).to(at::kDouble)).sum();
}

at::Tensor as(const at::Tensor& scalar, const at::Tensor& like) {
  return scalar.to(like.device(), like.scalar_type());
}

// The largest absolute value; NaN where there is one.
double largest_element(const TensorVector& v) {
  double largest = 0;
  for (const at::Tensor& part : v) {
    if (part.numel() == 0) continue;
    const double element = part.abs().max().item().toDouble();
    if (!(element <= largest)) largest = element;
    if (std::isnan(largest)) break;
  }
  return largest;
}

double machine_epsilon(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return 0x1p-10;
    default:
      return 0x1p-7;  // bfloat16
  }
}

}  // namespace

at::Tensor plain(const at::Tensor& t) {
  if (t.layout() != at::kStrided) return t.to_dense();
  if (t._is_zerotensor()) return at::zeros(t.sizes(), t.options());
  return t.resolve_neg();
}

TensorVector made_dense(const char* function, TensorVector gradients) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    at::Tensor& part = gradients[i];
    if (!part.defined() || part.layout() == at::kStrided) continue;
    try {
      part = part.to_dense();
    } catch (const c10::Error& error) {
      TORCH_CHECK(
          false,
          function,
          ": the gradient of parameter ",
          i,
          " is of layout ",
          part.layout(),
          " and cannot be made dense: ",
          error.what_without_backtrace());
    }
  }
  return gradients;
}

at::Tensor dot(const TensorVector& a, const TensorVector& b) {
  double host = 0;
  std::vector<at::Tensor> rest_a;
  std::vector<at::Tensor> rest_b;
  const at::TensorOptions options =
      at::TensorOptions().dtype(at::kDouble).device(a.front().device());
  at::Tensor total;
  const auto flush = [&] {
    if (rest_a.empty()) return;
    const at::Tensor part = dot_on_device(rest_a, rest_b).to(options.device());
    total = total.defined() ? total.add(part) : part;
    rest_a.clear();
    rest_b.clear();
  };
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].device().is_cpu()) {
      host += dot_on_cpu(a[i], b[i]);
      continue;
    }
    if (!rest_a.empty() && rest_a.back().device() != a[i].device()) flush();
    rest_a.push_back(a[i].reshape(-1));
    rest_b.push_back(b[i].reshape(-1));
  }
  flush();
  return total.defined() ? total.add(host) : at::scalar_tensor(host, options);
}

std::vector<double> to_host(const std::vector<at::Tensor>& scalars) {
  const at::Tensor values = at::stack(scalars).cpu();
  const double* data = values.data_ptr<double>();
  return std::vector<double>(data, data + values.numel());
}

double norm(const TensorVector& v) { return norm(v, to_host({dot(v, v)})[0]); }

double norm(const TensorVector& v, double square) {
  // Squares below the smallest normal number, 2^-1022, have lost digits; a sum
  // this far above does not notice.
  constexpr double kSafe = 0x1p-960;
  if (std::isnan(square) || (std::isfinite(square) && square >= kSafe)) {
    return std::sqrt(square);
  }
  const double largest = largest_element(v);
  if (largest == 0 || !std::isfinite(largest)) return largest;
  const TensorVector small = divided(v, largest);
  return largest * std::sqrt(to_host({dot(small, small)})[0]);
}

double machine_epsilon(const TensorVector& v) {
  double coarsest = 0;
  for (const at::Tensor& part : v) {
    coarsest = std::max(coarsest, machine_epsilon(part.scalar_type()));
  }
  return coarsest;
}

TensorVector plus_scaled(
    const TensorVector& y, const at::Tensor& alpha, const TensorVector& x) {
  TensorVector result;
  result.reserve(y.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    result.push_back(at::addcmul(y[i], x[i], as(alpha, y[i])));
  }
  return result;
}

TensorVector divided(const TensorVector& v, double divisor) {
  TensorVector result;
  result.reserve(v.size());
  for (const at::Tensor& part : v) result.push_back(part.div(divisor));
  return result;
}

TensorVector difference_quotient(
    TensorVector a, const TensorVector& b, const at::Tensor& divisor) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const at::ScalarType type = a[i].scalar_type();
    const bool in_place = a[i].device().is_cpu() && is_held_once(a[i]) &&
                          b[i].device().is_cpu() &&
                          b[i].scalar_type() == type && lie_alike(a[i], b[i]);
    if (in_place && type == at::kFloat) {
      quotient_in_place(
          a[i].data_ptr<float>(),
          b[i].data_ptr<float>(),
          1 / divisor.item<float>(),
          a[i].numel());
    } else if (in_place && type == at::kDouble) {
      quotient_in_place(
          a[i].data_ptr<double>(),
          b[i].data_ptr<double>(),
          1 / divisor.item<double>(),
          a[i].numel());
    } else if (detail::is_half(type)) {
      // A divisor of half precision would be off by its own rounding, and may
      // be beyond the range of the type.
      const at::Tensor wide = a[i].to(at::kFloat);
      a[i] = wide.sub(b[i]).div_(as(divisor, wide)).to(type);
    } else {
      a[i] = a[i].sub(b[i]).div_(as(divisor, a[i]));
    }
  }
  return a;
}

TensorVector draw(
    const TensorVector& like,
    ProbeDistribution distribution,
    const at::Generator& generator) {
  TensorVector v;
  v.reserve(like.size());
  for (const at::Tensor& part : like) {
    // A generator draws on its own device only.
    const at::Device device =
        generator.defined() ? generator.device() : part.device();
    at::Tensor random = at::empty_like(part, part.options().device(device));
    if (distribution == ProbeDistribution::kGaussian) {
      random.normal_(0.0, 1.0, generator);
    } else {
      random.bernoulli_(0.5, generator).mul_(2).sub_(1);
    }
    v.push_back(random.to(part.device()));
  }
  return v;
}

TensorVector unit_start(
    const char* function,
    const TensorVector& like,
    const TensorVector& initial,
    const at::Generator& generator) {
  const TensorVector v =
      initial.empty() ? draw(like, ProbeDistribution::kGaussian, generator)
                      : matched(function, "the initial vector", initial, like);
  const double length = norm(v);
  TORCH_CHECK(
      std::isfinite(length) && length > 0,
      function,
      ": the initial vector must be finite and not zero, its length is ",
      length);
  return divided(v, length);
}

TensorVector matched(
    const char* who,
    const char* what,
    const TensorVector& v,
    const TensorVector& like) {
  TORCH_CHECK(
      v.size() == like.size(),
      who,
      ": ",
      what,
      " has ",
      v.size(),
      " tensors, expected ",
      like.size(),
      " (one a parameter)");
  TensorVector result;
  result.reserve(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (!v[i].defined()) {
      result.push_back(at::zeros_like(like[i]));
      continue;
    }
    TORCH_CHECK(
        v[i].sizes() == like[i].sizes(),
        who,
        ": tensor ",
        i,
        " of ",
        what,
        " has shape ",
        v[i].sizes(),
        ", expected ",
        like[i].sizes());
    result.push_back(
        plain(v[i].detach()).to(like[i].device(), like[i].scalar_type()));
  }
  return result;
}

}  // namespace stepsize::detail
