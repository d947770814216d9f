#pragma once

// Parameters with made-up gradients, and LibTorch's own optimizers to compare
// with.

#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/sgd.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize::test {

using Tensors = std::vector<torch::Tensor>;

/// The types of parameters that the steps take.
inline constexpr torch::Dtype kTypes[] = {
    torch::kFloat, torch::kDouble, torch::kBFloat16, torch::kHalf};

/// Some shapes: a scalar, an empty tensor, odd and even lengths, lengths around
/// that of a vector register.
Tensors random_params(torch::Dtype type);

/// Gradients that pull towards 0 under noise, different in each call.
Tensors random_grads(const Tensors& params);

Tensors clones(const Tensors& tensors);
Tensors zeros_like(const Tensors& tensors);
Tensors zeros_like(const Tensors& tensors, torch::Dtype type);

/// Expects |actual - expected| <= tolerance * max |expected| in each tensor.
void expect_close(
    const Tensors& actual, const Tensors& expected, double tolerance);

/// Expects the same bits, NaN equal to NaN.
void expect_same(const Tensors& actual, const Tensors& expected);

/// Every sensible combination of options.
std::vector<SGDHyperparameters> all_sgd_hyperparameters();
std::vector<AdamHyperparameters> all_adam_hyperparameters();
/// The same with cautious updates.
std::vector<AdamHyperparameters> all_cautious_hyperparameters();

std::string to_text(const SGDHyperparameters& h);
std::string to_text(const AdamHyperparameters& h);

/// Parameters with their state and count, stepped by the functions under test.
struct SGDRun {
  SGDRun(const Tensors& start, const SGDHyperparameters& hyperparameters);
  void step(const Tensors& grads, const torch::Tensor& scale = {});

  Tensors params;
  Tensors buffers;
  SGDHyperparameters h;
  int64_t count = 0;
};

struct AdamRun {
  AdamRun(const Tensors& start, const AdamHyperparameters& hyperparameters);
  void step(const Tensors& grads, const torch::Tensor& scale = {});

  Tensors params;
  Tensors means;
  Tensors squares;
  Tensors max_squares;
  AdamHyperparameters h;
  int64_t count = 0;
};

/// The same by torch::optim, which lacks decoupled decay in SGD, and maximize
/// in all of its C++ optimizers.
class TorchRun {
 public:
  TorchRun(const Tensors& start, const SGDHyperparameters& h);
  TorchRun(const Tensors& start, const AdamHyperparameters& h);
  void step(const Tensors& grads);

  const Tensors& params() const { return params_; }

 private:
  Tensors params_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  bool maximize_ = false;
  double keep_ = 1.0;
};

}  // namespace stepsize::test
