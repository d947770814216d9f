#include <stepsize/tune/lr_range_test.h>

#include <c10/core/GradMode.h>
#include <stepsize/distributed/agree.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/text/number.h"
#include "csrc/tune/lr_conclusion.h"
#include "csrc/tune/lr_divergence.h"
#include "csrc/tune/lr_loss_pass.h"
#include "csrc/tune/lr_lowest_point.h"
#include "csrc/tune/lr_optimizer_watch.h"
#include "csrc/tune/lr_range_options.h"
#include "csrc/tune/lr_stability.h"
#include "csrc/tune/training_state_guard.h"

namespace stepsize {
namespace {

using detail::kLRRangeTest;
using detail::number_text;
using detail::short_number_text;
using torch::optim::Optimizer;

void check_is_able(
    const Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options) {
  TORCH_CHECK(
      closure != nullptr, kLRRangeTest, ": the closure must not be empty");
  const auto& groups = optimizer.param_groups();
  const bool any =
      std::any_of(groups.begin(), groups.end(), [](const auto& group) {
        return !group.params().empty();
      });
  TORCH_CHECK(any, kLRRangeTest, ": the optimizer has no parameter");
  TORCH_CHECK(
      !detail::takes_graph(optimizer) ||
          options.closure() == LRClosure::kReturnsGraph,
      kLRRangeTest,
      ": PowerMethodSGD calls backward itself: give a closure that returns the "
      "loss with its graph and set closure(kReturnsGraph)");
}

// The reduction of the test, which the optimizer has too while this lives.
class BorrowedReduction {
 public:
  BorrowedReduction(Optimizer& optimizer, std::shared_ptr<Reduction> given)
      : optimizer_(dynamic_cast<IndexedOptimizer*>(&optimizer)),
        used_(std::move(given)) {
    if (optimizer_ == nullptr) return;
    before_ = optimizer_->reduction();
    if (!used_) used_ = before_;
    optimizer_->set_reduction(used_);
  }
  ~BorrowedReduction() {
    if (optimizer_ != nullptr) optimizer_->set_reduction(before_);
  }
  BorrowedReduction(const BorrowedReduction&) = delete;
  BorrowedReduction& operator=(const BorrowedReduction&) = delete;

  Reduction* get() const { return used_.get(); }

 private:
  IndexedOptimizer* optimizer_;
  std::shared_ptr<Reduction> used_;
  std::shared_ptr<Reduction> before_;
};

// What decides how often the ranks exchange numbers, and what they conclude.
void check_alike(const LRRangeTestOptions& options, Reduction& reduction) {
  const auto number = [](double value) { return number_text(value); };
  const auto whole = [](int64_t value) { return std::to_string(value); };
  std::string ratios;
  for (const double ratio : options.group_ratios()) {
    ratios += (ratios.empty() ? "" : ", ") + number(ratio);
  }
  agree(
      {{"start_lr", number(options.start_lr())},
       {"end_lr", number(options.end_lr())},
       {"num_iterations", whole(options.num_iterations())},
       {"spacing", whole(static_cast<int64_t>(options.spacing()))},
       {"closure", whole(static_cast<int64_t>(options.closure()))},
       {"accumulation_steps", whole(options.accumulation_steps())},
       {"group_ratios", "(" + ratios + ")"},
       {"validation", options.validation() ? "given" : "not given"},
       {"smoothing", number(options.smoothing())},
       {"divergence", number(options.divergence())},
       {"half_width", whole(options.half_width())},
       {"measure_max_stable_lr",
        options.measure_max_stable_lr() ? "on" : "off"},
       {"momentum_limit",
        whole(static_cast<int64_t>(options.momentum_limit()))}},
      reduction,
      kLRRangeTest);
}

class Run {
 public:
  Run(Optimizer& optimizer,
      const RangeTestClosure& closure,
      const LRRangeTestOptions& options,
      const detail::Touched& touched,
      Reduction* reduction)
      : optimizer_(optimizer),
        closure_(closure),
        options_(options),
        module_(touched.module),
        ratios_(detail::group_ratios(options, optimizer)),
        reduction_(reduction),
        guard_(optimizer, touched),
        watch_(optimizer),
        pass_(
            closure,
            options,
            guard_.parameters(),
            detail::takes_graph(optimizer),
            dynamic_cast<IndexedOptimizer*>(&optimizer) != nullptr,
            reduction),
        divergence_(options) {}

  LRRangeTestResult operator()() {
    LRRangeTestResult result;
    result.group_ratios = ratios_;
    const auto at_start = measured_limit();
    if (at_start) {
      result.max_stable_lr = at_start->reported;
      TensorVector tensors = guard_.parameters();
      const auto& buffers = guard_.buffers();
      tensors.insert(tensors.end(), buffers.begin(), buffers.end());
      lowest_.emplace(std::move(tensors), detail::half_width_of(options_));
    }
    for (int64_t i = 0; i < options_.num_iterations(); ++i) {
      if (!iterate(i, result)) break;
    }
    if (lowest_ && lowest_->go_there()) {
      if (const auto limit = measured_limit()) {
        result.max_stable_lr_at_lowest = limit->reported;
        highest_stable_ = std::max(at_start->quadratic, limit->quadratic);
      }
    }
    guard_.restore();
    return result;
  }

  // What no suggestion may be above.
  std::optional<double> highest_stable() const { return highest_stable_; }

  // Of the losses of the curve, on all ranks alike.
  double precision() const {
    const double own = std::max(pass_.precision(), validation_precision_);
    if (reduction_ == nullptr) return own;
    const auto all = reduction_->gather(own);
    return *std::max_element(all.begin(), all.end());
  }

 private:
  std::optional<detail::StabilityLimit> measured_limit() {
    if (!options_.measure_max_stable_lr()) return std::nullopt;
    const auto limit = detail::measured_max_stable_lr(
        optimizer_, closure_, options_, ratios_, guard_.buffers(), reduction_);
    // The sweep is to be the same with it and without.
    guard_.restore_random_state();
    return limit;
  }

  // False where the test ends here.
  bool iterate(int64_t i, LRRangeTestResult& result) {
    const double lr = detail::swept_lr(options_, i);
    auto& groups = optimizer_.param_groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      groups[g].options().set_lr(lr * ratios_[g]);
    }
    pass_.begin();
    optimizer_.step([this] { return pass_(); });
    double loss = pass_.end();
    if (options_.validation() && std::isfinite(loss)) loss = validate();
    result.lrs.push_back(lr);
    result.losses.push_back(loss);
    if (lowest_) lowest_->look(loss);
    const bool go_on = all_go_on(i, lr, loss);
    result.status = judge(lr, loss, result.reason);
    if (result.status == LRRangeStatus::kFinished && !go_on) {
      result.status = LRRangeStatus::kStopped;
      result.reason = "the callback ended it at rate " + short_number_text(lr);
    }
    return result.status == LRRangeStatus::kFinished;
  }

  LRRangeStatus judge(double lr, double loss, std::string& reason) {
    LRRangeStatus status = LRRangeStatus::kFinished;
    if (!std::isfinite(loss)) {
      status = LRRangeStatus::kNonFinite;
      reason = "the loss was " + number_text(loss);
    } else {
      status = watch_.look(reason);
      if (status == LRRangeStatus::kFinished && divergence_.seen(loss)) {
        status = LRRangeStatus::kDiverged;
        reason = divergence_.reason();
      }
    }
    if (status != LRRangeStatus::kFinished) {
      reason += ", at rate " + short_number_text(lr);
    }
    return status;
  }

  // With other ranks the mean loss.
  double validate() {
    return mean_of([this] {
      const c10::AutoGradMode no_grad(false);
      if (module_ != nullptr) module_->eval();
      const at::Tensor loss = options_.validation()();
      if (module_ != nullptr) guard_.restore_modes();
      detail::check_is_loss(loss, "the validation");
      validation_precision_ =
          std::max(validation_precision_, detail::precision_of(loss));
      return loss.item<double>();
    });
  }

  // Also asks the others where this rank has nothing to say: the callback may
  // be there on one rank alone, to show a bar.
  bool all_go_on(int64_t i, double lr, double loss) {
    return mean_of([&] {
             const auto& progress = options_.progress();
             return !progress || progress(i, lr, loss) ? 1.0 : 0.0;
           }) == 1;
  }

  double mean_of(const std::function<double()>& own) {
    if (reduction_ == nullptr) return own();
    RankShare share;
    share.numbers = {0};
    share.failure = reduction_->attempt([&] { share.numbers = {own()}; });
    return average({}, share, *reduction_).numbers[0];
  }

  Optimizer& optimizer_;
  const RangeTestClosure& closure_;
  const LRRangeTestOptions& options_;
  torch::nn::Module* module_;
  std::vector<double> ratios_;
  Reduction* reduction_;
  detail::TrainingStateGuard guard_;
  detail::OptimizerWatch watch_;
  detail::LossPass pass_;
  detail::DivergenceWatch divergence_;
  std::optional<detail::LowestPoint> lowest_;
  std::optional<double> highest_stable_;
  double validation_precision_ = 0;
};

LRRangeTestResult run(
    Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options,
    const detail::Touched& touched) {
  const BorrowedReduction borrowed(optimizer, options.reduction());
  Reduction* const reduction = borrowed.get();
  std::optional<Run> test;
  const auto prepare = [&] {
    check_is_able(optimizer, closure, options);
    detail::check_lr_range_options(options, optimizer);
    test.emplace(optimizer, closure, options, touched, reduction);
  };
  if (reduction != nullptr) {
    reduction->together(prepare);
    check_alike(options, *reduction);
  } else {
    prepare();
  }
  auto result = (*test)();
  detail::conclude(result, options, test->precision(), test->highest_stable());
  return result;
}

}  // namespace

LRRangeTestResult lr_range_test(
    torch::nn::Module& module,
    Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options) {
  detail::Touched touched;
  touched.module = &module;
  touched.buffers = options.buffers();
  touched.generators = options.generators();
  return run(optimizer, closure, options, touched);
}

LRRangeTestResult lr_range_test(
    const TensorVector& parameters,
    Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options) {
  detail::Touched touched;
  touched.parameters = parameters;
  touched.buffers = options.buffers();
  touched.generators = options.generators();
  return run(optimizer, closure, options, touched);
}

}  // namespace stepsize
