// A product leaves no trace: parameters, gradients, buffers, random state and
// graphs are as they were, bit for bit, and no memory stays behind.

#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/curvature/support/problems.h"
#include "tests/curvature/support/weak_node.h"

namespace stepsize::test {
namespace {

using Method = HessianMethod;

constexpr Method kAllMethods[] = {
    Method::kAutomatic,
    Method::kExact,
    Method::kFiniteDifference,
    Method::kCentralDifference};

at::Tensor random_state() {
  return at::globalContext().defaultGenerator(at::kCPU).get_state();
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.nbytes() == b.nbytes() &&
         std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()) == 0;
}

// A network with all that moves: BatchNorm's statistics and dropout.
struct Noisy {
  explicit Noisy(at::ScalarType type = at::kFloat) {
    torch::manual_seed(5);
    net = torch::nn::Sequential(
        torch::nn::Linear(6, 8),
        torch::nn::BatchNorm1d(8),
        torch::nn::Tanh(),
        torch::nn::Dropout(0.5),
        torch::nn::Linear(8, 3));
    net->to(type);
    inputs = torch::randn({10, 6}, type);
    targets = torch::randn({10, 3}, type);
    // An odd number of draws: one normal number waits in the generator.
    torch::randn({1});
  }

  GraphClosure closure() {
    return [this] {
      ++calls;
      if (calls == throw_at) throw std::runtime_error("out of data");
      return torch::mse_loss(net->forward(inputs), targets);
    };
  }

  std::vector<at::Tensor> everything() {
    std::vector<at::Tensor> copies = {random_state()};
    for (const at::Tensor& tensor : net->parameters()) {
      copies.push_back(tensor.detach().clone());
    }
    for (const at::Tensor& tensor : net->buffers()) {
      copies.push_back(tensor.clone());
    }
    return copies;
  }

  torch::nn::Sequential net{nullptr};
  at::Tensor inputs;
  at::Tensor targets;
  int64_t calls = 0;
  int64_t throw_at = -1;
};

void expect_same(
    const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same_bits(a[i], b[i])) << i;
  }
}

TEST(HessianState, TheClosureMovesWhatTheOperatorPutsBack) {
  Noisy problem;
  const auto before = problem.everything();
  problem.closure()();
  const auto after = problem.everything();
  EXPECT_FALSE(same_bits(before[0], after[0]));  // dropout has drawn
  // The buffers come last: mean, variance, number of batches.
  for (std::size_t i = after.size() - 3; i < after.size(); ++i) {
    EXPECT_FALSE(same_bits(before[i], after[i])) << i;
  }
}

TEST(HessianState, NothingHasMovedAfterProducts) {
  for (const Method method : kAllMethods) {
    for (const bool retain : {true, false}) {
      Noisy problem;
      const auto before = problem.everything();
      const HessianOperator op = hessian_operator(
          problem.closure(),
          problem.net->parameters(),
          HessianOptions().method(method).retain_graph(retain).buffers(
              problem.net->buffers()));
      expect_same(before, problem.everything());
      const TensorVector v = gaussian(op.like(), 1);
      op.apply(v);
      op.apply(v);
      expect_same(before, problem.everything());
      for (const at::Tensor& parameter : problem.net->parameters()) {
        EXPECT_FALSE(parameter.grad().defined());
      }
    }
  }
}

TEST(HessianState, OddBitsOfParametersSurvive) {
  const at::Tensor w = torch::tensor({-0.0, 1e-320, 1e17}, torch::kDouble);
  const at::Tensor before = w.clone();
  w.requires_grad_();
  const HessianOperator op = hessian_operator(
      [&] { return w.pow(2).sum(); },
      {w},
      HessianOptions().method(Method::kFiniteDifference));
  op.apply({torch::ones({3}, torch::kDouble)});
  EXPECT_TRUE(same_bits(before, w));
}

TEST(HessianState, NothingHasMovedWhereTheClosureThrows) {
  // Calls 1 to 3: at construction and in each product.
  for (const Method method :
       {Method::kFiniteDifference, Method::kCentralDifference}) {
    for (int64_t call = 1; call <= 3; ++call) {
      Noisy problem;
      problem.throw_at = call;
      const auto before = problem.everything();
      const auto run = [&] {
        const HessianOperator op = hessian_operator(
            problem.closure(),
            problem.net->parameters(),
            HessianOptions().method(method).buffers(problem.net->buffers()));
        const TensorVector v = gaussian(op.like(), 1);
        op.apply(v);
        op.apply(v);
      };
      EXPECT_THROW(run(), std::runtime_error);
      EXPECT_EQ(problem.calls, call);
      expect_same(before, problem.everything());
    }
  }
}

TEST(HessianState, NothingHasMovedAfterABlockNorWhereItThrows) {
  for (const Method method : {Method::kAutomatic, Method::kExact}) {
    Noisy problem;
    const HessianOperator op = hessian_operator(
        problem.closure(),
        problem.net->parameters(),
        HessianOptions().method(method).retain_graph(false).buffers(
            problem.net->buffers()));
    const std::vector<TensorVector> vectors = {
        gaussian(op.like(), 1), gaussian(op.like(), 2)};
    const auto here = problem.everything();
    const auto expected = op.apply_block(vectors);
    expect_same(here, problem.everything());
    problem.throw_at = problem.calls + 1;
    EXPECT_THROW(op.apply_block(vectors), std::runtime_error);
    expect_same(here, problem.everything());
    EXPECT_EQ(op.products(), 2);
    // Dropout's masks are those of construction.
    EXPECT_TRUE(flat(op.apply(vectors[1])).equal(flat(expected[1])));
  }
}

TEST(HessianState, AnOperatorWorksOnAfterItsClosureHasThrown) {
  Noisy problem(torch::kDouble);
  const HessianOperator op = hessian_operator(
      problem.closure(),
      problem.net->parameters(),
      HessianOptions()
          .method(Method::kCentralDifference)
          .buffers(problem.net->buffers()));
  const TensorVector v = gaussian(op.like(), 1);
  const at::Tensor expected = flat(op.apply(v));
  problem.throw_at = problem.calls + 2;
  EXPECT_THROW(op.apply(v), std::runtime_error);
  EXPECT_TRUE(flat(op.apply(v)).equal(expected));
}

TEST(HessianState, DropoutMasksAgreeWhateverIsDrawnInBetween) {
  Noisy problem(torch::kDouble);
  const auto make = [&](Method method, bool retain) {
    return hessian_operator(
        problem.closure(),
        problem.net->parameters(),
        HessianOptions().method(method).retain_graph(retain).buffers(
            problem.net->buffers()));
  };
  const HessianOperator exact = make(Method::kExact, true);
  const HessianOperator again = make(Method::kExact, false);
  const HessianOperator one_sided = make(Method::kFiniteDifference, true);
  const HessianOperator central = make(Method::kCentralDifference, true);
  torch::randn({100});
  const TensorVector v = gaussian(exact.like(), 1);
  const at::Tensor expected = flat(exact.apply(v));
  EXPECT_TRUE(flat(again.apply(v)).equal(expected));
  EXPECT_LT(relative_error(flat(one_sided.apply(v)), expected), 1e-5);
  EXPECT_LT(relative_error(flat(central.apply(v)), expected), 1e-7);
}

TEST(HessianState, AGeneratorOfOnesOwnIsPutBack) {
  at::Generator generator = seeded(9);
  const at::Tensor w = torch::ones({64}, torch::kDouble).requires_grad_();
  const auto loss = [&] {
    const at::Tensor mask =
        torch::empty({64}, torch::kDouble).bernoulli_(0.5, generator);
    return (mask * w.pow(3)).sum();
  };
  const at::Tensor before = generator.get_state();
  const HessianOperator op = hessian_operator(
      loss,
      {w},
      HessianOptions()
          .method(Method::kFiniteDifference)
          .generators({generator}));
  const at::Tensor h = op.apply({torch::ones({64}, torch::kDouble)})[0];
  EXPECT_TRUE(before.equal(generator.get_state()));
  const at::Tensor mask =
      torch::empty({64}, torch::kDouble).bernoulli_(0.5, generator);
  EXPECT_LT(relative_error(h, 6 * mask), 1e-5);
}

TEST(HessianState, ParametersKeepTheirMemoryAndCountOfChanges) {
  const SmallNet net;
  const at::Tensor& weight = net.parameters[0];
  const void* const memory = weight.data_ptr();
  const auto version = weight._version();
  const HessianOperator op = hessian_operator(
      [&] {
        EXPECT_TRUE(weight.is_leaf() && weight.requires_grad());
        return net.cross_entropy();
      },
      net.parameters,
      HessianOptions().method(Method::kFiniteDifference));
  op.apply(gaussian(op.like(), 1));
  EXPECT_EQ(weight.data_ptr(), memory);
  EXPECT_EQ(weight._version(), version);
}

TEST(HessianState, UndefinedBuffersAreLeftOut) {
  torch::nn::BatchNorm1d norm(
      torch::nn::BatchNorm1dOptions(4).track_running_stats(false));
  const at::Tensor x = torch::randn({8, 4});
  const HessianOperator op = hessian_operator(
      [&] { return norm->forward(x).pow(3).sum(); },
      norm->parameters(),
      HessianOptions().buffers({at::Tensor(), torch::zeros({1})}));
  EXPECT_NO_THROW(op.apply(gaussian(op.like(), 1)));
}

TEST(HessianState, AGraphOfTheUsersStaysValid) {
  Noisy problem;
  problem.net->eval();  // the running statistics are part of the graph
  const at::Tensor loss = problem.closure()();
  for (const Method method : kAllMethods) {
    const HessianOperator op = hessian_operator(
        problem.closure(),
        problem.net->parameters(),
        HessianOptions().method(method).buffers(problem.net->buffers()));
    op.apply(gaussian(op.like(), 1));
  }
  EXPECT_NO_THROW(loss.backward());
}

// The loss, and a node of the network in it that its gradient's graph needs,
// seen from outside.
at::Tensor watched_loss(const SmallNet& net, WeakNode& node) {
  const at::Tensor outputs = net.outputs();
  node.watch(outputs);
  return torch::cross_entropy_loss(outputs, net.classes);
}

TEST(HessianState, TheGraphGoesWithTheOperator) {
  const SmallNet net;
  for (const Method method : kAllMethods) {
    WeakNode node;
    {
      const HessianOperator op = hessian_operator(
          [&] { return watched_loss(net, node); },
          net.parameters,
          HessianOptions().method(method));
      const bool kept =
          method == Method::kAutomatic || method == Method::kExact;
      EXPECT_EQ(node.expired(), !kept);
      op.apply(gaussian(op.like(), 1));
    }
    EXPECT_TRUE(node.expired());
  }
}

TEST(HessianState, BackwardWithCreateGraphDoesLeak) {
  // The contrast that shows that the test above can fail.
  const SmallNet net;
  WeakNode node;
  {
    const at::Tensor loss = watched_loss(net, node);
    loss.backward({}, /*retain_graph=*/true, /*create_graph=*/true);
  }
  EXPECT_FALSE(node.expired());
  // The cycle is cut, or the test would leak itself.
  for (const at::Tensor& parameter : net.parameters) {
    parameter.mutable_grad().reset();
  }
  EXPECT_TRUE(node.expired());
}

TEST(HessianState, AFreedGraphIsFreedAfterEachProduct) {
  const SmallNet net;
  for (const Method method : {Method::kAutomatic, Method::kExact}) {
    WeakNode node;
    const HessianOperator op = hessian_operator(
        [&] { return watched_loss(net, node); },
        net.parameters,
        HessianOptions().method(method).retain_graph(false));
    EXPECT_TRUE(node.expired());
    op.apply(gaussian(op.like(), 1));
    EXPECT_TRUE(node.expired());
    op.apply_block({gaussian(op.like(), 1), gaussian(op.like(), 2)});
    EXPECT_TRUE(node.expired());
    EXPECT_EQ(op.method(), Method::kExact);
  }
}

}  // namespace
}  // namespace stepsize::test
