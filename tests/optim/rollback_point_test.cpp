#include "csrc/optim/rollback_point.h"

#include <gtest/gtest.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/optim/z_clip.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/torch.h>

#include <sstream>
#include <typeindex>
#include <vector>

#include "csrc/core/overlap.h"
#include "csrc/state/optimizer_state.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using detail::RollbackPoint;

RollbackPoint point_of(torch::optim::Optimizer& optimizer) {
  return RollbackPoint(optimizer, detail::optimizer_state("test", optimizer));
}

std::vector<torch::Tensor> clones(const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> all;
  for (const auto& tensor : tensors) all.push_back(tensor.detach().clone());
  return all;
}

void expect_values(
    const std::vector<torch::Tensor>& tensors,
    const std::vector<torch::Tensor>& values) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE(torch::equal(tensors[i], values[i])) << i;
  }
}

// Parameters that lie in memory in all ways, of all sizes.
std::vector<torch::Tensor> many_layouts() {
  torch::manual_seed(1);
  const auto shared = torch::randn({100001});
  std::vector<torch::Tensor> all = {
      shared,
      shared.narrow(0, 7, 70000),
      torch::randn({3, 5}, torch::kFloat64).t(),
      torch::randn({4, 6}).slice(1, 0, 6, 2),
      torch::randn({5, 1}).expand({5, 3}),
      torch::randn({}),
      torch::empty({0}),
      torch::randn({17}).to(torch::kBFloat16)};
  for (auto& tensor : all) tensor = tensor.detach();
  return all;
}

TEST(RollbackPoint, PutsBackParametersOfAllLayouts) {
  const torch::NoGradGuard no_grad;
  auto parameters = many_layouts();
  for (auto& parameter : parameters) parameter.set_requires_grad(true);
  torch::optim::SGD sgd(parameters, torch::optim::SGDOptions(0.1));
  // Nothing asks that a parameter stands in one place alone.
  sgd.param_groups()[0].params().push_back(parameters[0]);
  auto point = point_of(sgd);
  point.keep({}, /*with_gradients=*/false);
  const auto earlier = clones(parameters);
  for (int round = 0; round < 2; ++round) {
    for (const auto& parameter : parameters) {
      detail::without_expansion(parameter).mul_(-2).add_(1);
    }
    point.restore_parameters();
    expect_values(parameters, earlier);
  }
}

TEST(RollbackPoint, CopiesAParameterBeforeItsFirstUpdate) {
  for (const bool through_a_file : {false, true}) {
    auto a = leaf({1, 2});
    auto b = leaf({3});
    torch::optim::SGD sgd(
        {a, b}, torch::optim::SGDOptions(0.125).momentum(0.5));
    GradientNormRollback guard(sgd, RollbackOptions().z_score(0).patience(1));
    const auto step = [&](double gradient, bool both) {
      a.mutable_grad() = torch::full_like(a, gradient);
      b.mutable_grad() = both ? torch::full_like(b, gradient) : torch::Tensor();
      guard.step();
    };
    const auto momentum = [&] {
      ParameterState state;
      detail::optimizer_state("test", sgd)->read(0, 1, state);
      return state.tensors[0].clone();
    };
    step(1, true);
    const auto at = b.detach().clone();
    const auto before = momentum();
    // The smallest norm: this is the point.
    step(0.5, false);
    if (through_a_file) {
      std::stringstream file;
      torch::save(guard, file);
      torch::load(guard, file);
    }
    step(0.51, true);
    step(0.51, true);
    EXPECT_FALSE(torch::equal(b, at));
    step(100, true);
    ASSERT_EQ(guard.last_status(), RollbackStatus::kRolledBack);
    EXPECT_TRUE(torch::equal(b, at));
    EXPECT_TRUE(torch::equal(momentum(), before));
  }
}

// It has neither gradient nor state when the point is kept.
TEST(RollbackPoint, CopiesWhatIsThawedBeforeItsFirstUpdate) {
  for (const bool through_a_file : {false, true}) {
    auto a = leaf({1, 2});
    auto b = leaf({3}).set_requires_grad(false);
    torch::optim::SGD sgd(
        {a, b}, torch::optim::SGDOptions(0.125).momentum(0.5));
    GradientNormRollback guard(sgd, RollbackOptions().z_score(0).patience(1));
    const auto step = [&](double gradient) {
      a.mutable_grad() = torch::full_like(a, gradient);
      if (b.requires_grad()) b.mutable_grad() = torch::full_like(b, gradient);
      guard.step();
    };
    step(1);
    // The smallest norm: this is the point.
    step(0.5);
    if (through_a_file) {
      std::stringstream file;
      torch::save(guard, file);
      torch::load(guard, file);
    }
    b.set_requires_grad(true);
    step(0.41);
    step(0.41);
    EXPECT_NE(b.item<double>(), 3);
    b.set_requires_grad(false);
    b.mutable_grad().reset();
    step(100);
    ASSERT_EQ(guard.last_status(), RollbackStatus::kRolledBack);
    EXPECT_EQ(b.item<double>(), 3);
    ParameterState state;
    detail::optimizer_state("test", sgd)->read(0, 1, state);
    EXPECT_FALSE(state.there);
  }
}

// Where it writes at the earlier point alone, nothing warns of it before.
TEST(RollbackPoint, StaysAsItIsWhereTheClosureWritesAtItAlone) {
  auto x = leaf({0});
  RollbackSGD sgd(
      {x},
      RollbackSGDOptions(0).rollback(RollbackOptions().window(1).z_score(0)));
  const auto step = [&](double gradient, bool rises) {
    int calls = 0;
    sgd.step([&] {
      if (++calls == 2) {
        const torch::NoGradGuard no_grad;
        x.add_(1);
      }
      x.mutable_grad() = torch::full_like(x, gradient);
      return torch::full({}, rises && calls == 1 ? 1000.0 : 1.0);
    });
    return x.item<double>();
  };
  EXPECT_EQ(step(1, false), 0);
  EXPECT_EQ(step(10, true), 1);
  EXPECT_EQ(step(100, true), 1);
  EXPECT_EQ(sgd.rollbacks(), 2);
}

// Each evaluation adds 1 to the parameter, at the earlier point too: it is 1
// there, as often as it is gone back to.
TEST(RollbackPoint, StaysAsItIsWhereTheClosureWritesToItsParameters) {
  auto x = leaf({0});
  RollbackSGD sgd(
      {x},
      RollbackSGDOptions(0).rollback(RollbackOptions().window(1).z_score(0)));
  const auto step = [&](double gradient, bool rises) {
    int calls = 0;
    sgd.step([&] {
      {
        const torch::NoGradGuard no_grad;
        x.add_(1);
      }
      x.mutable_grad() = torch::full_like(x, gradient);
      return torch::full({}, rises && calls++ == 0 ? 1000.0 : 1.0);
    });
    return x.item<double>();
  };
  EXPECT_EQ(step(1, false), 1);
  EXPECT_EQ(step(10, true), 2);
  EXPECT_EQ(step(100, true), 2);
  EXPECT_EQ(sgd.rollbacks(), 2);
}

// A subclass may save more than the base class knows, and be particular about
// what it saves and loads.
class SavesMore : public ClippedSGD {
 public:
  using ClippedSGD::ClippedSGD;
  void save(torch::serialize::OutputArchive& archive) const override {
    TORCH_CHECK(const_cast<SavesMore*>(this)->buffer().defined());
    ClippedSGD::save(archive);
    archive.write("more", c10::IValue(more));
  }
  void load(torch::serialize::InputArchive& archive) override {
    ClippedSGD::load(archive);
    c10::IValue value;
    archive.read("more", value);
    more = value.toInt();
    TORCH_CHECK(buffer().defined());
  }
  torch::Tensor buffer() {
    ParameterState state;
    state_access()->read(0, 0, state);
    return state.tensors[0];
  }
  int64_t more = 1;
};

TEST(OptimizerSnapshot, PutsBackWhatASubclassSavesBesides) {
  auto x = leaf({1});
  SavesMore sgd({x}, ClippedSGDOptions(0.5).momentum(0.5));
  x.mutable_grad() = torch::ones_like(x);
  sgd.step();
  OptimizerSnapshot snapshot(sgd);
  const auto value = sgd.buffer().clone();
  sgd.more = 2;
  sgd.step();
  snapshot.restore();
  EXPECT_EQ(sgd.more, 1);
  EXPECT_TRUE(torch::equal(sgd.buffer(), value));
}

torch::Tensor momentum_of(IndexedOptimizer& optimizer) {
  ParameterState state;
  optimizer.state_access()->read(0, 0, state);
  return state.tensors[0];
}

TEST(OptimizerSnapshot, PutsStateBackInItsOwnMemory) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5).momentum(0.5));
  x.mutable_grad() = torch::full_like(x, 0.5);
  sgd.step();
  const auto buffer = momentum_of(sgd);
  OptimizerSnapshot snapshot(sgd);
  EXPECT_TRUE(momentum_of(sgd).is_same(buffer));
  sgd.step();
  snapshot.restore();
  EXPECT_TRUE(momentum_of(sgd).is_same(buffer));
  EXPECT_EQ(buffer.item<double>(), 0.5);
}

TEST(OptimizerSnapshot, LeavesTheStateWhereALoadRefuses) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5).momentum(0.5));
  x.mutable_grad() = torch::full_like(x, 0.5);
  sgd.step();
  OptimizerSnapshot snapshot(sgd);
  // Of which the snapshot knows nothing.
  sgd.set_clip_rule(ZClip());
  sgd.step();
  EXPECT_THROW(snapshot.restore(), c10::Error);
  EXPECT_EQ(momentum_of(sgd).item<double>(), 0.75);
  EXPECT_NE(sgd.clip_rule(), nullptr);
}

TEST(OptimizerTraits, KnowWhoseSaveAndLoadAClassHas) {
  auto x = leaf({1});
  const ClippedSGD sgd({x}, ClippedSGDOptions(0.5));
  const auto& traits = *find_traits(sgd);
  EXPECT_EQ(traits.saved_by(), std::type_index(typeid(IndexedOptimizer)));
  EXPECT_EQ(
      traits.as<SavesMore>("").saved_by(), std::type_index(typeid(SavesMore)));
}

// A point by parameter is none of an optimizer whose counters decide.
TEST(RollbackPoint, DoesNotFitWhereTheOptimizerHasBeenGivenARule) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5).momentum(0.5));
  auto point = point_of(sgd);
  point.keep({}, /*with_gradients=*/false);
  EXPECT_TRUE(point.fits());
  sgd.set_clip_rule(ZClip());
  EXPECT_FALSE(point.fits());
  point.keep({}, /*with_gradients=*/false);
  EXPECT_TRUE(point.fits());
}

}  // namespace
}  // namespace stepsize::test
