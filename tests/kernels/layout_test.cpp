// Strides: whatever they are, the step is that of contiguous tensors.
#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/sgd.h>

#include <functional>
#include <string>

#include "tests/kernels/support/problem.h"

namespace stepsize::test {
namespace {

struct Layout {
  std::string name;
  /// The values of a 4-dim tensor in another layout.
  std::function<torch::Tensor(const torch::Tensor&)> apply;
};

std::vector<Layout> layouts() {
  return {
      {"contiguous", [](const torch::Tensor& t) { return t.clone(); }},
      {"channels last",
       [](const torch::Tensor& t) {
         return t.clone(torch::MemoryFormat::ChannelsLast);
       }},
      {"transposed",
       [](const torch::Tensor& t) {
         return t.transpose(0, 3).contiguous().transpose(0, 3);
       }},
      {"every other column",
       [](const torch::Tensor& t) {
         auto wide = torch::full({2, 3, 4, 10}, 1e6, t.options());
         auto view = wide.slice(3, 0, 10, 2);
         view.copy_(t);
         return view;
       }},
      {"negated view", [](const torch::Tensor& t) {
         return t.neg().contiguous()._neg_view();
       }}};
}

torch::Tensor random_tensor() {
  return torch::randn({2, 3, 4, 5}, torch::kDouble);
}

TEST(Layout, SGDTakesAnyStrides) {
  torch::manual_seed(1);
  const auto param = random_tensor();
  const auto grad = random_tensor();
  const auto buffer = random_tensor();
  SGDHyperparameters h;
  h.lr = 0.1;
  h.momentum = 0.9;
  h.weight_decay = 0.01;
  const Tensors expected = {param.clone(), buffer.clone()};
  sgd_step({expected[0]}, {grad}, {expected[1]}, {}, h);
  for (const Layout& of_param : layouts()) {
    for (const Layout& of_grad : layouts()) {
      for (const Layout& of_buffer : layouts()) {
        SCOPED_TRACE(
            of_param.name + ", " + of_grad.name + ", " + of_buffer.name);
        const auto p = of_param.apply(param);
        const auto b = of_buffer.apply(buffer);
        sgd_step({p}, {of_grad.apply(grad)}, {b}, {}, h);
        expect_same({p, b}, expected);
      }
    }
  }
}

TEST(Layout, AdamTakesAnyStrides) {
  torch::manual_seed(2);
  const auto param = random_tensor();
  const auto grad = random_tensor();
  const auto mean = random_tensor();
  const auto square = random_tensor().abs();
  const auto largest = random_tensor().abs();
  AdamHyperparameters h;
  h.amsgrad = true;
  h.weight_decay = 0.01;
  const Tensors expected = {
      param.clone(), mean.clone(), square.clone(), largest.clone()};
  adam_step(
      {expected[0]},
      {grad},
      {expected[1]},
      {expected[2]},
      {expected[3]},
      {3},
      h);
  for (const Layout& one : layouts()) {
    for (const Layout& other : layouts()) {
      SCOPED_TRACE(one.name + ", " + other.name);
      const auto p = one.apply(param);
      const auto m = other.apply(mean);
      const auto v = one.apply(square);
      const auto x = other.apply(largest);
      adam_step({p}, {other.apply(grad)}, {m}, {v}, {x}, {3}, h);
      expect_same({p, m, v, x}, expected);
    }
  }
}

TEST(Layout, MemoryBetweenTheElementsStaysAsItIs) {
  auto wide = torch::full({6, 2}, 7, torch::kFloat);
  auto param = wide.select(1, 0);
  SGDHyperparameters h;
  h.lr = 1.0;
  sgd_step({param}, {torch::ones({6})}, {}, {}, h);
  EXPECT_TRUE(wide.select(1, 0).eq(6).all().item<bool>());
  EXPECT_TRUE(wide.select(1, 1).eq(7).all().item<bool>());
}

TEST(Layout, GradientMayBeExpanded) {
  auto param = torch::zeros({300});
  SGDHyperparameters h;
  h.lr = 1.0;
  sgd_step({param}, {torch::full({1}, 2.0F).expand({300})}, {}, {}, h);
  EXPECT_TRUE(param.eq(-2).all().item<bool>());
}

TEST(Layout, GradientMayBeAZeroWithoutMemory) {
  const auto param = torch::ones({8});
  SGDHyperparameters h;
  h.lr = 0.5;
  h.weight_decay = 1.0;
  sgd_step({param}, {at::_efficientzerotensor({8}, at::kFloat)}, {}, {}, h);
  EXPECT_TRUE(param.eq(0.5).all().item<bool>());
}

TEST(Layout, ViewsOfOneStorageAreSteppedEachForItself) {
  const auto flat = torch::zeros({1000});
  const Tensors params = {flat.narrow(0, 0, 333), flat.narrow(0, 333, 667)};
  SGDHyperparameters h;
  h.lr = 1.0;
  sgd_step(params, {torch::ones({333}), torch::ones({667})}, {}, {}, h);
  EXPECT_TRUE(flat.eq(-1).all().item<bool>());
}

}  // namespace
}  // namespace stepsize::test
