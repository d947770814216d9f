// In a program of its own, as it measures all memory of the process.
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/optim/z_clip.h>
#include <torch/torch.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/peak_memory.h"

namespace stepsize::test {
namespace {

using torch::optim::Optimizer;
using Tensors = std::vector<torch::Tensor>;

constexpr int64_t kTensors = 64;
constexpr int64_t kEach = int64_t{1} << 17;
constexpr double kParameters = static_cast<double>(kTensors * kEach);
// A tensor that is made and goes is a 64th of 4 bytes, and the program's own
// memory comes and goes by less than that.
constexpr double kDoubt = 1;

enum class Kind {
  kCalm,     // no step is suspect
  kSuspect,  // each is, and none is taken back
  kBack,     // one is taken back
  kAlone,    // no closure
};

// A model with gradients of its own making, which no graph has to be kept for.
struct MemoryRun {
  explicit MemoryRun(int64_t frozen = 0) : trained(kTensors - frozen) {
    for (int64_t i = 0; i < kTensors; ++i) {
      parameters.push_back(
          torch::full({kEach}, 0.5).requires_grad_(i < trained));
    }
  }

  torch::Tensor evaluate(double gradient, double loss) {
    for (auto& parameter : parameters) parameter.mutable_grad().reset();
    for (int64_t i = 0; i < trained; ++i) {
      auto& parameter = parameters[static_cast<std::size_t>(i)];
      parameter.mutable_grad() =
          torch::full({kEach}, gradient, parameter.options());
    }
    return torch::full({}, loss);
  }

  // Bytes a parameter that these steps take beyond the parameters.
  template <typename Stepped>
  double steps(Stepped& stepped, Kind kind) {
    return PeakMemory::during([&] {
             for (int step = 0; step < 4; ++step) {
               const bool grows = kind == Kind::kSuspect || step == 3;
               const double gradient =
                   1e-6 * (grows && kind != Kind::kCalm ? 1 << (2 * step) : 1);
               if (kind == Kind::kAlone) {
                 const auto loss = evaluate(gradient, 1);
                 stepped.step();
                 continue;
               }
               int calls = 0;
               stepped.step([&] {
                 const bool bad =
                     kind == Kind::kBack && step == 3 && calls++ == 0;
                 return evaluate(gradient, bad ? 1000 : 1);
               });
             }
           }) /
           kParameters;
  }

  int64_t trained;
  Tensors parameters;
};

RollbackOptions memory_options() {
  return RollbackOptions().window(1).z_score(0).patience(1);
}

class RollbackMemory : public testing::Test {
 protected:
  void SetUp() override {
    if (!PeakMemory::there()) GTEST_SKIP() << "no peak memory to be had";
    torch::set_num_threads(1);
  }

  // Of the guard around this optimizer, beyond those of the optimizer alone.
  template <typename Class, typename Options>
  static double guarded(
      const char* name, const Options& options, Kind kind, int64_t frozen = 0) {
    MemoryRun plain(frozen);
    double alone = 0;
    {
      Class optimizer(plain.parameters, options);
      alone = plain.steps(optimizer, kind == Kind::kAlone ? kind : Kind::kCalm);
    }
    MemoryRun run(frozen);
    Class optimizer(run.parameters, options);
    GradientNormRollback guard(optimizer, memory_options());
    const double bytes = run.steps(guard, kind) - alone;
    expect_happened(guard, kind);
    std::printf("%-40s %6.2f bytes a parameter\n", name, bytes);
    return bytes;
  }

  static double rollback_sgd(
      const char* name, double momentum, Kind kind, int64_t frozen = 0) {
    double alone = 0;
    {
      MemoryRun run(frozen);
      torch::optim::SGD sgd(
          run.parameters, torch::optim::SGDOptions(0.1).momentum(momentum));
      alone = run.steps(sgd, kind == Kind::kAlone ? kind : Kind::kCalm);
    }
    MemoryRun run(frozen);
    RollbackSGD sgd(
        run.parameters,
        RollbackSGDOptions(0.1).momentum(momentum).rollback(memory_options()));
    const double bytes = run.steps(sgd, kind) - alone;
    expect_happened(sgd, kind);
    std::printf("%-40s %6.2f bytes a parameter\n", name, bytes);
    return bytes;
  }

  struct Snapshot {
    double taken;
    double taken_again;
    double put_back;
  };

  // At most in each of the three, counted from the optimizer alone on.
  template <typename Class, typename Options>
  static Snapshot snapshot(const char* name, const Options& options) {
    MemoryRun run;
    Class optimizer(run.parameters, options);
    const auto step = [&] {
      run.evaluate(1e-6, 1);
      optimizer.step();
      for (auto& parameter : run.parameters) parameter.mutable_grad().reset();
    };
    step();
    std::unique_ptr<OptimizerSnapshot> own;
    double held = 0;
    Snapshot bytes{};
    const auto add = [&](double& to, const std::function<void()>& work) {
      to = held + PeakMemory::during(work) / kParameters;
    };
    add(bytes.taken,
        [&] { own = std::make_unique<OptimizerSnapshot>(optimizer); });
    // What stays of it.
    own.reset();
    const double without = PeakMemory::resident();
    own = std::make_unique<OptimizerSnapshot>(optimizer);
    held = (PeakMemory::resident() - without) / kParameters;
    step();
    add(bytes.taken_again, [&] { own->update(); });
    step();
    add(bytes.put_back, [&] { own->restore(); });
    std::printf(
        "snapshot of %-27s %6.2f held, %6.2f when taken, %6.2f again, %6.2f "
        "when put back\n",
        name,
        held,
        bytes.taken,
        bytes.taken_again,
        bytes.put_back);
    return bytes;
  }

 private:
  template <typename Guard>
  static void expect_happened(const Guard& guard, Kind kind) {
    EXPECT_EQ(guard.rollbacks(), kind == Kind::kBack || kind == Kind::kAlone);
    EXPECT_EQ(
        guard.rule().checks(),
        kind == Kind::kSuspect ? 3
        : kind == Kind::kBack  ? 1
                               : 0);
  }

  PeakMemory memory_;
};

// As LibTorch's, but known by its save() and load() alone.
class ForeignSGD : public torch::optim::SGD {
 public:
  using SGD::SGD;
};

// Parameters and momentum are the point. While one step is looked into there
// are its parameters and its gradient besides.
TEST_F(RollbackMemory, RollbackSGDHoldsOnePoint) {
  const double m = 0.9;
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, calm, no momentum", 0, Kind::kCalm),
      4,
      kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, no closure, no momentum", 0, Kind::kAlone),
      8,
      kDoubt);
  EXPECT_NEAR(rollback_sgd("RollbackSGD, calm", m, Kind::kCalm), 8, kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, suspect", m, Kind::kSuspect), 16, kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, taken back", m, Kind::kBack), 16, kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, no closure", m, Kind::kAlone), 12, kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, suspect, no momentum", 0, Kind::kSuspect),
      12,
      kDoubt);
}

// With counters that have a say in its steps.
class RuledSGD : public ClippedSGD {
 public:
  RuledSGD(const Tensors& parameters, const ClippedSGDOptions& options)
      : ClippedSGD(parameters, options) {
    set_clip_rule(ZClip());
  }
};

// What is frozen is in no point.
TEST_F(RollbackMemory, HoldsWhatAStepChanges) {
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, calm, 3/4 frozen", 0.9, Kind::kCalm, 48),
      2,
      kDoubt);
  EXPECT_NEAR(
      rollback_sgd("RollbackSGD, suspect, 3/4 frozen", 0.9, Kind::kSuspect, 48),
      7,
      kDoubt);
  EXPECT_NEAR(
      guarded<torch::optim::SGD>(
          "guarded SGD, no closure, 3/4 frozen",
          torch::optim::SGDOptions(0.1).momentum(0.9),
          Kind::kAlone,
          48),
      3,
      kDoubt);
}

TEST_F(RollbackMemory, AGuardHoldsOneCopyOfTheState) {
  using torch::optim::AdamW;
  const auto adamw = torch::optim::AdamWOptions(1e-4);
  EXPECT_NEAR(
      guarded<AdamW>("guarded AdamW, calm", adamw, Kind::kCalm), 12, kDoubt);
  EXPECT_NEAR(
      guarded<AdamW>("guarded AdamW, suspect", adamw, Kind::kSuspect),
      20,
      kDoubt);
  EXPECT_NEAR(
      guarded<AdamW>("guarded AdamW, no closure", adamw, Kind::kAlone),
      16,
      kDoubt);
  // Of a class that only saves itself, or whose counters decide, the new bytes
  // are made before the old ones go, and when they are put back the state is
  // there as they are read, and once more where the load checks it first.
  const auto ruled = ClippedSGDOptions(0.1).momentum(0.9);
  EXPECT_NEAR(
      guarded<RuledSGD>("guarded ClippedSGD, ruled, calm", ruled, Kind::kCalm),
      12,
      kDoubt);
  EXPECT_NEAR(
      guarded<RuledSGD>("guarded ClippedSGD, ruled, back", ruled, Kind::kBack),
      24,
      kDoubt);
  EXPECT_NEAR(
      guarded<ForeignSGD>(
          "guarded foreign SGD, calm",
          torch::optim::SGDOptions(0.1).momentum(0.9),
          Kind::kCalm),
      12,
      kDoubt);
  EXPECT_NEAR(
      guarded<ForeignSGD>(
          "guarded foreign SGD, taken back",
          torch::optim::SGDOptions(0.1).momentum(0.9),
          Kind::kBack),
      20,
      kDoubt);
}

TEST_F(RollbackMemory, ASnapshotHoldsOneCopyAtAnyTime) {
  const auto expect = [](const Snapshot& bytes, double most) {
    EXPECT_NEAR(bytes.taken, most, kDoubt);
    EXPECT_NEAR(bytes.taken_again, most, kDoubt);
    EXPECT_NEAR(bytes.put_back, most, kDoubt);
  };
  const auto sgd = torch::optim::SGDOptions(0.1).momentum(0.9);
  expect(snapshot<torch::optim::SGD>("SGD", sgd), 8);
  expect(
      snapshot<torch::optim::AdamW>("AdamW", torch::optim::AdamWOptions(1e-4)),
      12);
  expect(
      snapshot<ClippedSGD>("ClippedSGD", ClippedSGDOptions(0.1).momentum(0.9)),
      8);
  expect(snapshot<ClippedAdamW>("ClippedAdamW", ClippedAdamWOptions(1e-4)), 12);
  const Snapshot foreign = snapshot<ForeignSGD>("foreign SGD", sgd);
  EXPECT_NEAR(foreign.taken_again, 8, kDoubt);
}

// The gradients are 4 bytes a parameter.
TEST_F(RollbackMemory, OfAdamWFollowsTheTypeOfItsState) {
  const auto peak = [](StateType type) {
    MemoryRun run;
    ClippedAdamW optimizer(
        run.parameters, ClippedAdamWOptions(1e-3).state_type(type));
    const double bytes = run.steps(optimizer, Kind::kAlone);
    std::printf(
        "ClippedAdamW with state of type %d  %6.2f\n",
        static_cast<int>(type),
        bytes);
    return bytes;
  };
  EXPECT_NEAR(peak(StateType::kFloat32), 4 + 8, kDoubt);
  EXPECT_NEAR(peak(StateType::kBFloat16), 4 + 4, kDoubt);
  EXPECT_NEAR(peak(StateType::kBlockwise8Bit), 4 + 2.03, kDoubt);
}

}  // namespace
}  // namespace stepsize::test
