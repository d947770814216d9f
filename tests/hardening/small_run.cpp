#include "tests/hardening/small_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>

#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/archive_bytes.h"

namespace stepsize::test {
namespace {

constexpr int kSteps = 24;
constexpr int64_t kExamples = 16;

/// Two layers and a batch, drawn from a generator of their own: LibTorch's
/// default one is shared by all threads.
class Problem {
 public:
  explicit Problem(uint64_t seed)
      : generator_(at::make_generator<at::CPUGeneratorImpl>(seed)) {
    const auto draw = [this](std::vector<int64_t> sizes) {
      return torch::randn(sizes, generator_);
    };
    first_ = draw({4, 6}).mul_(0.5).requires_grad_(true);
    second_ = draw({6, 1}).mul_(0.5).requires_grad_(true);
    inputs_ = draw({kExamples, 4});
    targets_ = draw({kExamples, 1});
  }

  std::vector<torch::Tensor> parameters() const { return {first_, second_}; }

  torch::Tensor loss() const {
    const torch::Tensor hidden = torch::tanh(inputs_.mm(first_));
    return (hidden.mm(second_) - targets_).square().mean();
  }

  /// The loss, having called backward().
  torch::Tensor loss_and_gradient() const {
    for (const torch::Tensor& parameter : parameters()) {
      parameter.mutable_grad() = torch::Tensor();
    }
    const torch::Tensor value = loss();
    value.backward();
    return value.detach();
  }

  /// The next batch.
  void draw_noise() {
    inputs_ = inputs_ + 0.1 * torch::randn({kExamples, 4}, generator_);
  }

 private:
  at::Generator generator_;
  torch::Tensor first_;
  torch::Tensor second_;
  torch::Tensor inputs_;
  torch::Tensor targets_;
};

torch::Tensor as_tensor(const std::string& bytes) {
  return torch::tensor(
      std::vector<int64_t>(bytes.begin(), bytes.end()), torch::kInt64);
}

/// What a run leaves behind.
class Trace {
 public:
  void add(const torch::Tensor& value) {
    values_.push_back(value.detach().clone());
  }
  void add(double value) {
    values_.push_back(torch::full({}, value, torch::kFloat64));
  }
  void add_all(const std::vector<torch::Tensor>& values) {
    for (const torch::Tensor& value : values) add(value);
  }
  std::vector<torch::Tensor> take() { return std::move(values_); }

 private:
  std::vector<torch::Tensor> values_;
};

using MakeScheduler = std::function<std::unique_ptr<StatefulLR>(
    torch::optim::Optimizer& optimizer)>;

template <typename Scheduler, typename Options>
MakeScheduler scheduled_by(const Options& options) {
  return [options](torch::optim::Optimizer& optimizer) {
    return std::make_unique<Scheduler>(optimizer, options);
  };
}

template <typename Optimizer, typename Options>
SmallRun run(
    const std::string& name,
    const Options& options,
    const MakeScheduler& make_scheduler) {
  const bool takes_graph = options.traits().wants_graph();
  return {name, [=](uint64_t seed) {
            Problem problem(seed);
            Optimizer optimizer(problem.parameters(), options);
            const auto scheduler = make_scheduler(optimizer);
            EarlyStopping stopping(problem.parameters());
            Trace trace;
            for (int step = 0; step < kSteps; ++step) {
              const torch::Tensor loss = optimizer.step([&] {
                return takes_graph ? problem.loss()
                                   : problem.loss_and_gradient();
              });
              static_cast<torch::optim::LRScheduler&>(*scheduler).step();
              stopping.step(loss.item<double>());
              problem.draw_noise();
              trace.add(loss);
              trace.add(optimizer.param_groups()[0].options().get_lr());
            }
            // A load in the midst of the other thread's run.
            const std::string bytes = saved(optimizer);
            Optimizer resumed(problem.parameters(), options);
            load(resumed, bytes);
            trace.add(as_tensor(saved(resumed)));
            trace.add(as_tensor(saved(*scheduler)));
            trace.add_all(problem.parameters());
            stopping.restore_best();
            trace.add_all(problem.parameters());
            return trace.take();
          }};
}

// Each of LibTorch's other optimizers under other schedulers, so that every
// class of scheduler steps in one run or another.
template <typename Optimizer, typename Options>
SmallRun run_of_libtorch(
    const std::string& name,
    const Options& options,
    const std::vector<MakeScheduler>& makers) {
  return {name, [=](uint64_t seed) {
            Trace trace;
            for (const MakeScheduler& make_scheduler : makers) {
              Problem problem(seed);
              Optimizer optimizer(problem.parameters(), options);
              const auto scheduler = make_scheduler(optimizer);
              for (int step = 0; step < kSteps; ++step) {
                trace.add(optimizer.step(
                    [&] { return problem.loss_and_gradient(); }));
                static_cast<torch::optim::LRScheduler&>(*scheduler).step();
                problem.draw_noise();
                trace.add(optimizer.param_groups()[0].options().get_lr());
              }
              trace.add(as_tensor(saved(*scheduler)));
              trace.add_all(problem.parameters());
            }
            return trace.take();
          }};
}

std::vector<SmallRun> runs_of_libtorch() {
  using namespace torch::optim;
  const auto halved = [](double epoch) { return epoch < 9 ? 1.0 : 0.5; };
  return {
      run_of_libtorch<RMSprop>(
          "RMSprop",
          RMSpropOptions(0.01).momentum(0.5).centered(true),
          {scheduled_by<StepLR>(StepLROptions(7)),
           scheduled_by<MultiStepLR>(MultiStepLROptions({5, 9})),
           scheduled_by<ConstantLR>(ConstantLROptions().total_iters(6)),
           scheduled_by<LinearLR>(LinearLROptions().total_iters(9)),
           scheduled_by<ExponentialLR>(ExponentialLROptions(0.9))}),
      run_of_libtorch<Adagrad>(
          "Adagrad",
          AdagradOptions(0.05).lr_decay(0.01),
          {scheduled_by<PolynomialLR>(PolynomialLROptions().total_iters(20)),
           scheduled_by<CosineAnnealingLR>(CosineAnnealingLROptions(15)),
           scheduled_by<CosineAnnealingWarmRestarts>(
               CosineAnnealingWarmRestartsOptions(6)),
           scheduled_by<SWALR>(SWALROptions(0.01)),
           scheduled_by<LinearWarmupLR>(LinearWarmupLROptions(5))}),
      run_of_libtorch<AdamW>(
          "AdamW",
          AdamWOptions(0.01).amsgrad(true),
          {scheduled_by<WarmupCosineLR>(WarmupCosineLROptions(4, 20)),
           scheduled_by<InverseTimeLR>(InverseTimeLROptions(0.5)),
           scheduled_by<InverseSqrtLR>(InverseSqrtLROptions(5)),
           scheduled_by<WarmupStableDecayLR>(
               WarmupStableDecayLROptions(4, 8, 8)),
           scheduled_by<LambdaLR>(LambdaLROptions(halved))}),
      run_of_libtorch<LBFGS>(
          "LBFGS",
          LBFGSOptions(0.1).max_iter(3).history_size(4),
          {scheduled_by<MultiplicativeLR>(MultiplicativeLROptions(halved)),
           scheduled_by<ChainedScheduler>(ChainedSchedulerOptions(
               {LinearLROptions().total_iters(5),
                ExponentialLROptions(0.9)}))})};
}

SmallRun guarded_run() {
  return {"GradientNormRollback", [](uint64_t seed) {
            Problem problem(seed);
            torch::optim::Adam adam(
                problem.parameters(), torch::optim::AdamOptions(0.05));
            GradientNormRollback guard(adam);
            ReduceLROnPlateau plateau(adam);
            Trace trace;
            for (int step = 0; step < kSteps; ++step) {
              const torch::Tensor loss =
                  guard.step([&] { return problem.loss_and_gradient(); });
              plateau.step(loss.item<double>());
              trace.add(loss);
            }
            trace.add_all(problem.parameters());
            trace.add(as_tensor(saved(guard)));
            return trace.take();
          }};
}

SmallRun checkpoint_run() {
  return {"Checkpoints", [](uint64_t seed) {
            const TemporaryFolder temporary;
            Problem problem(seed);
            ClippedAdamW optimizer(
                problem.parameters(), ClippedAdamWOptions(0.02));
            std::vector<torch::Tensor> weights = problem.parameters();
            int64_t step = 0;
            Checkpoint checkpoint;
            // LibTorch's own generator is the other thread's too.
            checkpoint.random_state(false)
                .optimizer("optimizer", optimizer)
                .tensor("first", weights[0])
                .tensor("second", weights[1])
                .counter("step", step);
            CheckpointFolder folder(
                temporary.path(), CheckpointFolderOptions().keep_last(2));
            Trace trace;
            while (step < kSteps) {
              const torch::Tensor loss =
                  optimizer.step([&] { return problem.loss_and_gradient(); });
              ++step;
              if (step % 3 == 0) {
                folder.save(step, checkpoint, loss.item<double>());
              }
              trace.add(loss);
            }
            trace.add(static_cast<double>(folder.paths().size()));
            load_checkpoint(folder.best().value(), checkpoint);
            trace.add(static_cast<double>(step));
            trace.add_all(weights);
            trace.add(as_tensor(saved(optimizer)));
            return trace.take();
          }};
}

SmallRun curvature_run() {
  return {"CurvatureLR", [](uint64_t seed) {
            Problem problem(seed);
            torch::optim::SGD sgd(
                problem.parameters(),
                torch::optim::SGDOptions(0.01).momentum(0.5));
            CurvatureLR scheduler(sgd, CurvatureLROptions().seed(3));
            Trace trace;
            for (int step = 0; step < kSteps; ++step) {
              sgd.zero_grad();
              const torch::Tensor loss = problem.loss();
              scheduler.observe(loss);
              loss.backward();
              sgd.step();
              scheduler.step();
              trace.add(loss);
              trace.add(scheduler.get_last_lr()[0]);
            }
            trace.add_all(problem.parameters());
            return trace.take();
          }};
}

SmallRun range_test_run() {
  return {"lr_range_test", [](uint64_t seed) {
            Problem problem(seed);
            ClippedSGD optimizer(
                problem.parameters(), ClippedSGDOptions(0.1).momentum(0.9));
            Trace trace;
            const auto result = lr_range_test(
                problem.parameters(),
                optimizer,
                [&] { return problem.loss_and_gradient(); },
                LRRangeTestOptions().num_iterations(40).start_lr(1e-3));
            trace.add(torch::tensor(result.losses, torch::kFloat64));
            GradientNoiseScale meter(optimizer, kExamples);
            for (int update = 0; update < 4; ++update) {
              meter.begin_update();
              problem.loss_and_gradient();
              meter.add_micro_batch();
              problem.draw_noise();
              problem.loss().backward();
              meter.add_micro_batch();
              meter.finish_update();
            }
            trace.add(meter.total().gradient_square);
            trace.add_all(problem.parameters());
            return trace.take();
          }};
}

}  // namespace

std::vector<SmallRun> small_runs() {
  using Sequence = SequentialLROptions;
  std::vector<SmallRun> runs = {
      run<ClippedSGD>(
          "ClippedSGD",
          ClippedSGDOptions(0.05).momentum(0.9).max_norm(0.5),
          scheduled_by<OneCycleLR>(OneCycleLROptions(0.2).total_steps(kSteps))),
      run<ClippedAdamW>(
          "ClippedAdamW",
          ClippedAdamWOptions(0.01).amsgrad(true),
          scheduled_by<SequentialLR>(Sequence(
              {LinearWarmupLROptions(5), CosineAnnealingLROptions(15)}, {5}))),
      run<PowerMethodSGD>(
          "PowerMethodSGD",
          PowerMethodSGDOptions().momentum(0.5),
          scheduled_by<ScheduleLR>(parse("cosine 20 to 0.1 * noise 0.1"))),
      run<AutoSGD>(
          "AutoSGD",
          AutoSGDOptions(),
          scheduled_by<ScheduleLR>(parse("cosine 20 to 0.1"))),
      run<RollbackSGD>(
          "RollbackSGD",
          // Too large a rate, so that steps are taken back.
          RollbackSGDOptions(3).momentum(0.5),
          scheduled_by<CyclicLR>(CyclicLROptions(0.5, 3.0).step_size_up(7))),
      guarded_run(),
      checkpoint_run(),
      curvature_run(),
      range_test_run()};
  for (const SmallRun& other : runs_of_libtorch()) runs.push_back(other);
  return runs;
}

}  // namespace stepsize::test
