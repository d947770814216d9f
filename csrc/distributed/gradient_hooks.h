#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace stepsize::detail {

/// Hears when backward() has added to the gradient of a parameter; gradients
/// that are asked for by name (`autograd::grad`) go past it.
class GradientHooks {
 public:
  /// `hear(i)` is called by the thread that runs backward(), and not any more
  /// once this object is gone. Parameters are leaves.
  GradientHooks(
      std::vector<at::Tensor> parameters,
      std::function<void(std::size_t)> hear);
  ~GradientHooks();
  GradientHooks(const GradientHooks&) = delete;
  GradientHooks& operator=(const GradientHooks&) = delete;

  /// Listens to parameters that have come to want a gradient since.
  void refresh();

 private:
  struct Hook;

  std::vector<at::Tensor> parameters_;
  std::shared_ptr<const std::function<void(std::size_t)>> hear_;
  std::vector<Hook> hooks_;
};

}  // namespace stepsize::detail
