#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace stepsize::detail {

/// Hears when backward() has added to the gradient of a parameter; gradients
/// that are asked for by name (`autograd::grad`) go past it.
class GradientHooks {
 public:
  /// `hear(i)` is called by the thread that runs backward(). Parameters are
  /// leaves. Not to be made, refreshed or destroyed while a backward() of
  /// theirs runs.
  GradientHooks(
      std::vector<at::Tensor> parameters,
      std::function<void(std::size_t)> hear);
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

  /// Listens to parameters that have come to want a gradient since, and to
  /// those that have been moved to another type, which takes the hooks from
  /// them.
  void refresh();

 private:
  struct Hook;

  std::vector<at::Tensor> parameters_;
  std::function<void(std::size_t)> hear_;
  std::vector<Hook> hooks_;
};

}  // namespace stepsize::detail
