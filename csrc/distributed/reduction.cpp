#include <stepsize/distributed/reduction.h>

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <exception>

#include "csrc/distributed/failure.h"

namespace stepsize {

std::function<void()> Reduction::start_sum(at::Tensor tensor) {
  sum(tensor);
  return [] {};
}

std::shared_ptr<Reduction> Reduction::duplicate() { return nullptr; }

std::vector<double> Reduction::gather(double value) {
  // Zero plus a number is that number: the sum is exact.
  std::vector<double> values(static_cast<std::size_t>(world_size()), 0.0);
  values[static_cast<std::size_t>(rank())] = value;
  at::Tensor tensor = at::from_blob(values.data(), {world_size()}, at::kDouble);
  sum(tensor);
  return values;
}

double Reduction::mean(double value) {
  double total = 0;
  for (const double one : gather(value)) total += one;
  return total / static_cast<double>(world_size());
}

double Reduction::mean(const at::Tensor& value) {
  TORCH_CHECK(
      value.defined() && value.numel() == 1,
      "Reduction: mean wants a tensor with one element, got ",
      value.defined() ? c10::str("one of shape ", value.sizes())
                      : "an undefined one");
  return mean(value.item<double>());
}

double Reduction::max(double value) {
  const auto values = gather(value);
  double largest = values.front();
  for (const double one : values) {
    if (std::isnan(one)) return one;
    largest = std::max(largest, one);
  }
  return largest;
}

bool Reduction::any(bool value) { return max(value ? 1.0 : 0.0) > 0; }

void Reduction::barrier() { gather(0.0); }

std::string Reduction::broadcast_text(const std::string& text, int64_t root) {
  detail::check_root("Reduction", *this, root);
  const auto lengths = gather(static_cast<double>(text.size()));
  const double length = lengths[static_cast<std::size_t>(root)];
  std::string result = text;
  result.resize(static_cast<std::size_t>(length));
  if (result.empty()) return result;
  at::Tensor bytes = at::from_blob(
      result.data(), {static_cast<int64_t>(result.size())}, at::kByte);
  broadcast(bytes, root);
  return result;
}

void Reduction::together(const std::function<void()>& work) {
  const std::exception_ptr own = attempt(work);
  const auto failed = gather(own ? 1.0 : 0.0);
  const auto first = std::find(failed.begin(), failed.end(), 1.0);
  if (first != failed.end()) {
    detail::throw_failure(*this, first - failed.begin(), own);
  }
}

std::exception_ptr Reduction::attempt(const std::function<void()>& work) {
  const int64_t before = exchanges();
  try {
    work();
  } catch (...) {
    const std::exception_ptr own = std::current_exception();
    detail::rethrow_lost_rank(own);
    if (exchanges() != before) {
      give_up();
      std::rethrow_exception(own);
    }
    return own;
  }
  return nullptr;
}

}  // namespace stepsize
