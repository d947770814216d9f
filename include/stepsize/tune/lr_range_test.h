#pragma once

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/tune/lr_range_result.h>
#include <torch/arg.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace torch::nn {
class Module;
template <typename Contained>
class ModuleHolder;
}  // namespace torch::nn

namespace stepsize {

class Reduction;

/// What the closure of a range test does.
enum class LRClosure : std::uint8_t {
  kCallsBackward,  ///< computes the loss, calls backward() and returns the loss
  kReturnsGraph,   ///< returns the loss with its graph; the test calls backward
};

/// Returns the loss of a batch, as LRClosure says.
using RangeTestClosure = std::function<at::Tensor()>;

/// Returns a loss of data that is not trained on; no graph is made.
using EvaluationClosure = std::function<at::Tensor()>;

/// How the rates are spaced.
enum class LRSpacing : std::uint8_t {
  kExponential,  ///< lr_i = start (end / start)^(i / (N - 1))
  kLinear,       ///< lr_i = start + (end - start) i / (N - 1)
};

/// Called after each iteration with its number from 0, its rate and its loss.
/// False ends the test.
using LRProgress = std::function<bool(int64_t, double, double)>;

/// Options of lr_range_test.
class LRRangeTestOptions {
 public:
  /// The first and the last rate, both of which are reached exactly; finite,
  /// 0 < start_lr < end_lr. The range is fastai's.
  TORCH_ARG(double, start_lr) = 1e-7;
  TORCH_ARG(double, end_lr) = 10;
  /// Rates to try, one update each; >= 2. Fifty a decade: with fewer the noise
  /// of the losses decides (docs/tuning.md has what 100 and 200 are good for).
  TORCH_ARG(int64_t, num_iterations) = 400;
  TORCH_ARG(LRSpacing, spacing) = LRSpacing::kExponential;
  /// What the closure does.
  TORCH_ARG(LRClosure, closure) = LRClosure::kCallsBackward;
  /// Calls of the closure an update; >= 1. The update is made with the mean of
  /// their gradients, the curve shows the mean of their losses.
  TORCH_ARG(int64_t, accumulation_steps) = 1;
  /// Rates of the groups over that of the first, one a group, finite and >= 0,
  /// the first 1; {1} is one rate for all. Empty: the ratios that the groups
  /// have. A must where a
  /// warm-up has set the first group's rate to 0 and not all the others'.
  TORCH_ARG(std::vector<double>, group_ratios);
  /// Computes a loss on other data, without gradients, after each update: the
  /// curve is then this loss. A module is in eval mode meanwhile.
  TORCH_ARG(EvaluationClosure, validation) = nullptr;
  /// Watches, and may end the test.
  TORCH_ARG(LRProgress, progress) = nullptr;
  /// Share of the moving average that stays from loss to loss; in [0, 1). The
  /// divergence is judged by it, among others. 0.98 is fastai's.
  TORCH_ARG(double, smoothing) = 0.98;
  /// Ends the test where the average, or the median of the last nine losses,
  /// has risen above best + divergence (initial - best), best being the lowest
  /// average; > 0, infinity turns it off. With 2, it is then as far above the
  /// start as the best was below. Where the loss has hardly fallen, four times
  /// the noise of the losses stands for the fall.
  TORCH_ARG(double, divergence) = 2;
  /// Points to either side in the fit of the smooth curve; >= 1, or 0 for a
  /// twentieth of num_iterations and ten at the least. A suggestion takes
  /// half_width + 2 iterations at the least, and a good one ten times as many.
  TORCH_ARG(int64_t, half_width) = 0;
  /// Tensors that the closures write to besides the parameters: buffers, where
  /// there is no module that names them. They are put back too.
  TORCH_ARG(TensorVector, buffers);
  /// Generators of your own that the closures draw from. The default ones of
  /// the CPU and of the tensors' devices need not be named.
  TORCH_ARG(std::vector<at::Generator>, generators);
  /// Whether to measure the limit of stability, at the start and where the loss
  /// was lowest, and to suggest nothing above the larger of the two:
  /// max_stable_lr() of the largest eigenvalue of the Hessian plus the coupled
  /// weight decay, in which each parameter counts by the ratio of its group's
  /// rate to the first one's and by 1 - dampening. For optimizers whose
  /// OptimizerTraits say that they descend along the gradient, with the same
  /// momentum in all groups: else there is no such limit, and the result has
  /// none. Evaluates the closure some more times before the sweep and after
  /// it, which must then see the same data each time; once each where it
  /// returns its graph. Takes one more copy of parameters and buffers.
  TORCH_ARG(bool, measure_max_stable_lr) = false;
  /// How momentum changes that limit.
  TORCH_ARG(MomentumLimit, momentum_limit) = MomentumLimit::kEffectiveRate;
  /// The ranks of a data-parallel run, all of which run the test with the same
  /// options, each on its share of the data; `progress` may be given on some.
  /// Losses, validation and gradients are means over ranks, the test ends on
  /// all where one's progress says so, and the result is the same on all. Null:
  /// the optimizer's, where it is one of this library and has one. Not with
  /// sparse gradients.
  TORCH_ARG(std::shared_ptr<Reduction>, reduction) = nullptr;
};

/// The learning rate range test (Smith, Cyclical Learning Rates for Training
/// Neural Networks, 2017, section 3.3): trains for some hundred updates, with a
/// larger rate in each, and tells from the losses which rate to train with.
///
///     auto result = lr_range_test(*model, optimizer, [&] {
///       optimizer.zero_grad();  // may be left out
///       auto loss = loss_of(model->forward(next_batch()));
///       loss.backward();
///       return loss;
///     });
///     result.apply(optimizer);  // before a scheduler is made
///     result.write_svg("range.svg");
///
/// The closure is called once an update, or accumulation_steps times. Gradients
/// are cleared before every call: it is right with a closure that clears them
/// itself and with one that does not. The loss of an iteration is that of
/// before its update, or the validation's after it. A parameter that gets no
/// gradient is not updated. The closure of an optimizer that evaluates it
/// several times a step (LBFGS, RollbackSGD) must see the same data each time:
/// take the next batch in `progress`. PowerMethodSGD wants kReturnsGraph.
///
/// Several groups: the rates are those of the first, the others keep their
/// ratio to it. If all rates are 0, as at the start of a warm-up, all are
/// swept alike.
///
/// Leaves no trace: parameters, buffers, the optimizer's state and options, the
/// gradients and which tensors hold them, requires_grad, the modes of the
/// modules and the random state of the CPU and of the devices are put back bit
/// for bit, also where something throws. So it may be called at any time, twice
/// in a row, in the middle of training, with a scheduler attached. What the
/// closure changes elsewhere (the place in its data, say) is the caller's. Two
/// traces stay: what OptimizerSnapshot says of a class derived from one of
/// LibTorch's, and a member of a module that forward() replaces by another
/// tensor, as `average = 0.9 * average + ...` does: the buffer that it was
/// registered as is put back, the member is not. Write to it in place, by
/// copy_(), mul_() or add_().
/// Modules keep the modes that they have: call train() before.
///
/// Ends early where the loss diverges, at the first loss that is not finite,
/// where an optimizer of this library skips a step as its gradient is not
/// finite, and where RollbackSGD takes a step back.
///
/// Memory: one copy of parameters, buffers and optimizer state, and for a
/// moment what OptimizerSnapshot says of the state; with accumulation one more
/// of the gradients. Which optimizers: all that OptimizerSnapshot knows.
///
/// Throws c10::Error where an option is out of range, the module and the
/// optimizer have no parameter, or the closure is of the other kind. What the
/// closures throw passes through.
LRRangeTestResult lr_range_test(
    torch::nn::Module& module,
    torch::optim::Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options = {});

/// The same for a module that is held: `torch::nn::Linear model(...)`, or
/// `auto model = std::make_shared<Net>()`.
template <typename Contained>
LRRangeTestResult lr_range_test(
    torch::nn::ModuleHolder<Contained> module,
    torch::optim::Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options = {}) {
  torch::nn::Module& its_module = *module;
  return lr_range_test(its_module, optimizer, closure, options);
}
template <typename Contained>
LRRangeTestResult lr_range_test(
    const std::shared_ptr<Contained>& module,
    torch::optim::Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options = {}) {
  TORCH_CHECK(module != nullptr, "lr_range_test: the module is null");
  torch::nn::Module& its_module = *module;
  return lr_range_test(its_module, optimizer, closure, options);
}

/// The same without a module: `parameters` are what the closure's loss depends
/// on, beside those of the optimizer; options.buffers() names what else it
/// writes to. A validation closure sets the modes it wants itself.
LRRangeTestResult lr_range_test(
    const TensorVector& parameters,
    torch::optim::Optimizer& optimizer,
    const RangeTestClosure& closure,
    const LRRangeTestOptions& options = {});

}  // namespace stepsize
