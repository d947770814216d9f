#include "tests/kernels/support/problem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <sstream>
#include <utility>

namespace stepsize::test {

Tensors random_params(torch::Dtype type) {
  Tensors params;
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {0}, {1}, {7}, {16}, {3, 11}, {64}, {5, 13, 2}, {257}};
  for (const std::vector<int64_t>& shape : shapes) {
    params.push_back(torch::randn(shape, torch::kDouble).to(type));
  }
  return params;
}

Tensors random_grads(const Tensors& params) {
  Tensors grads;
  for (const torch::Tensor& param : params) {
    const auto noise = torch::randn(param.sizes(), torch::kDouble);
    const auto grad = 0.3 * param.detach().to(torch::kDouble) + 0.5 * noise;
    grads.push_back(grad.to(param.scalar_type()));
  }
  return grads;
}

Tensors clones(const Tensors& tensors) {
  Tensors result;
  for (const torch::Tensor& tensor : tensors) {
    result.push_back(tensor.detach().clone());
  }
  return result;
}

Tensors zeros_like(const Tensors& tensors) {
  Tensors result;
  for (const torch::Tensor& tensor : tensors) {
    result.push_back(torch::zeros_like(tensor));
  }
  return result;
}

Tensors zeros_like(const Tensors& tensors, torch::Dtype type) {
  Tensors result;
  for (const torch::Tensor& tensor : tensors) {
    result.push_back(torch::zeros_like(tensor, type));
  }
  return result;
}

namespace {

/// A contiguous copy in which every NaN has the same bits.
torch::Tensor with_one_nan(const torch::Tensor& tensor) {
  const auto copy =
      tensor.detach().resolve_neg().clone(torch::MemoryFormat::Contiguous);
  return copy.masked_fill_(
      copy.isnan(), std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

void expect_close(
    const Tensors& actual, const Tensors& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (expected[i].numel() == 0) continue;
    const auto wanted = expected[i].detach().to(torch::kDouble);
    const auto error = (actual[i].detach().to(torch::kDouble) - wanted).abs();
    const double scale = wanted.abs().max().item<double>();
    // Written so that a NaN fails.
    EXPECT_TRUE(error.max().item<double>() <= tolerance * scale)
        << "tensor " << i << ": error " << error.max().item<double>() << " of "
        << scale;
  }
}

void expect_same(const Tensors& actual, const Tensors& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].sizes(), expected[i].sizes());
    ASSERT_EQ(actual[i].scalar_type(), expected[i].scalar_type());
    const auto a = with_one_nan(actual[i]);
    const auto b = with_one_nan(expected[i]);
    if (a.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()), 0)
        << "tensor " << i;
  }
}

std::vector<SGDHyperparameters> all_sgd_hyperparameters() {
  std::vector<SGDHyperparameters> all;
  for (const int decay : {0, 1, 2}) {
    for (const bool maximize : {false, true}) {
      for (const int kind : {0, 1, 2, 3}) {
        SGDHyperparameters h;
        h.lr = 0.01;
        h.weight_decay = decay == 0 ? 0.0 : 0.05;
        h.decoupled_weight_decay = decay == 2;
        h.maximize = maximize;
        h.momentum = kind == 0 ? 0.0 : 0.9;
        h.dampening = kind == 2 ? 0.3 : 0.0;
        h.nesterov = kind == 3;
        all.push_back(h);
      }
    }
  }
  return all;
}

std::vector<AdamHyperparameters> all_adam_hyperparameters() {
  std::vector<AdamHyperparameters> all;
  for (const int decay : {0, 1, 2}) {
    for (const bool maximize : {false, true}) {
      for (const bool amsgrad : {false, true}) {
        AdamHyperparameters h;
        h.lr = 0.01;
        h.beta1 = 0.8;
        h.beta2 = 0.99;
        h.weight_decay = decay == 0 ? 0.0 : 0.05;
        h.decoupled_weight_decay = decay == 2;
        h.maximize = maximize;
        h.amsgrad = amsgrad;
        all.push_back(h);
      }
    }
  }
  return all;
}

std::vector<AdamHyperparameters> all_cautious_hyperparameters() {
  std::vector<AdamHyperparameters> all = all_adam_hyperparameters();
  for (AdamHyperparameters& h : all) h.cautious = true;
  return all;
}

std::string to_text(const SGDHyperparameters& h) {
  std::ostringstream text;
  text << "momentum " << h.momentum << " dampening " << h.dampening
       << " weight_decay " << h.weight_decay << " nesterov " << h.nesterov
       << " maximize " << h.maximize << " decoupled "
       << h.decoupled_weight_decay;
  return text.str();
}

std::string to_text(const AdamHyperparameters& h) {
  std::ostringstream text;
  text << "weight_decay " << h.weight_decay << " amsgrad " << h.amsgrad
       << " maximize " << h.maximize << " decoupled "
       << h.decoupled_weight_decay << " cautious " << h.cautious;
  return text.str();
}

SGDRun::SGDRun(const Tensors& start, const SGDHyperparameters& hyperparameters)
    : params(clones(start)), h(hyperparameters) {
  if (h.momentum != 0.0) buffers = zeros_like(params);
}

void SGDRun::step(const Tensors& grads, const torch::Tensor& scale) {
  const auto first = std::make_unique<bool[]>(params.size());
  std::fill_n(first.get(), params.size(), count == 0);
  sgd_step(
      params,
      grads,
      buffers,
      c10::ArrayRef<bool>(first.get(), params.size()),
      h,
      scale);
  ++count;
}

AdamRun::AdamRun(
    const Tensors& start, const AdamHyperparameters& hyperparameters)
    : params(clones(start)),
      means(zeros_like(start)),
      squares(zeros_like(start)),
      h(hyperparameters) {
  if (h.amsgrad) max_squares = zeros_like(start);
}

void AdamRun::step(const Tensors& grads, const torch::Tensor& scale) {
  ++count;
  const std::vector<int64_t> steps(params.size(), count);
  adam_step(params, grads, means, squares, max_squares, steps, h, scale);
}

TorchRun::TorchRun(const Tensors& start, const SGDHyperparameters& h)
    : params_(clones(start)), maximize_(h.maximize) {
  const bool decoupled = h.decoupled_weight_decay;
  if (decoupled) keep_ = 1.0 - h.lr * h.weight_decay;
  optimizer_ = std::make_unique<torch::optim::SGD>(
      params_,
      torch::optim::SGDOptions(h.lr)
          .momentum(h.momentum)
          .dampening(h.dampening)
          .weight_decay(decoupled ? 0.0 : h.weight_decay)
          .nesterov(h.nesterov));
}

TorchRun::TorchRun(const Tensors& start, const AdamHyperparameters& h)
    : params_(clones(start)), maximize_(h.maximize) {
  const auto betas = std::make_tuple(h.beta1, h.beta2);
  if (h.decoupled_weight_decay) {
    optimizer_ = std::make_unique<torch::optim::AdamW>(
        params_,
        torch::optim::AdamWOptions(h.lr)
            .betas(betas)
            .eps(h.eps)
            .weight_decay(h.weight_decay)
            .amsgrad(h.amsgrad));
  } else {
    optimizer_ = std::make_unique<torch::optim::Adam>(
        params_,
        torch::optim::AdamOptions(h.lr)
            .betas(betas)
            .eps(h.eps)
            .weight_decay(h.weight_decay)
            .amsgrad(h.amsgrad));
  }
}

void TorchRun::step(const Tensors& grads) {
  for (size_t i = 0; i < params_.size(); ++i) {
    params_[i].mutable_grad() = maximize_ ? grads[i].neg() : grads[i].clone();
    if (keep_ != 1.0) params_[i].mul_(keep_);
  }
  optimizer_->step();
}

}  // namespace stepsize::test
