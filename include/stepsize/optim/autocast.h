#pragma once

#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <optional>

namespace stepsize {

/// Options of Autocast, as those of Python's torch.autocast.
class AutocastOptions {
 public:
  AutocastOptions() = default;
  AutocastOptions(at::ScalarType dtype) : dtype_(dtype) {}  // NOLINT: implicit

  /// What matrix products and convolutions are computed in: bfloat16 or
  /// float16, of which LibTorch 1.13 has none on a CPU. None: what LibTorch has
  /// set for the device, bfloat16 on a CPU and float16 on CUDA.
  TORCH_ARG(std::optional<at::ScalarType>, dtype);
  /// False: none is computed so, within another Autocast say.
  TORCH_ARG(bool, enabled) = true;
  /// Whether parameters that were cast once stay so until the outermost guard
  /// ends.
  TORCH_ARG(bool, cache_enabled) = true;
};

/// While it lives, operations of this thread on a device cast by themselves:
/// products and convolutions to bfloat16 or float16, losses to float32
/// (Micikevicius et al., Mixed Precision Training, 2018). So are softmax, exp
/// and sums on CUDA; on a CPU they are computed in what they are given.
///
///     at::Tensor loss;
///     {
///       const stepsize::Autocast autocast(at::kCUDA);
///       loss = loss_of(model->forward(inputs), targets);
///     }
///     loss.backward();  // in the types of the forward pass, by itself
///
/// They nest. The end, also by an exception, puts back what was there before,
/// and that of the outermost one drops the parameters that were cast: step the
/// optimizer outside. To be destroyed in the reverse order and by the thread
/// that made it.
class Autocast {
 public:
  /// Of all devices of this one's type. Throws c10::Error, and changes nothing,
  /// where LibTorch has no autocast for it or not to the type.
  [[nodiscard]] explicit Autocast(
      at::Device device, const AutocastOptions& options = {});
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;
  ~Autocast();

 private:
  at::DeviceType device_;
  bool enabled_before_;
  at::ScalarType dtype_before_;
  bool cache_before_;
};

}  // namespace stepsize
