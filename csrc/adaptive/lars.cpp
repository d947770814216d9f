#include <stepsize/adaptive/lars.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>

#include "csrc/adaptive/layerwise_step.h"
#include "csrc/adaptive/tensor_norms.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kLarsSignature = {
    "LARS", {"parameter", "gradient", "momentum_buffer"}};

double lars_ratio(const detail::LayerNorms& norms, const LARSOptions& options) {
  const double divisor = norms.updates == 0
                             ? 0
                             : norms.updates +
                                   options.weight_decay() * norms.weights +
                                   options.eps();
  const double ratio = detail::ratio_of_norms(norms.weights, divisor);
  const bool is_neutral = norms.weights == 0 || divisor == 0;
  return is_neutral ? ratio : options.trust_coefficient() * ratio;
}

// A factor of a gradient that may be so short that its factor is beyond the
// numbers of its type, or so long that it is below them: as two factors, of
// which the first one is a power of two.
detail::Scale lars_scale(double ratio, bool is_double) {
  const int most = is_double ? 1000 : 120;
  if (std::isfinite(ratio) && ratio >= std::ldexp(1.0, most)) {
    return {std::ldexp(ratio, -most), std::ldexp(1.0, most)};
  }
  const detail::Scale scale = {ratio};
  return std::isfinite(ratio) ? scale.for_type(is_double) : scale;
}

// In the numbers of SGD's loop: the ratio counts times the gradient and the
// decay.
detail::SGDNumbers lars_numbers(
    const LARSOptions& options, double decay, double ratio, bool is_double) {
  const detail::Scale scale = lars_scale(ratio, is_double);
  return {
      options.lr(),
      options.momentum(),
      /*undamped=*/1,
      ratio * decay,
      /*keep=*/1,
      scale.coarse,
      scale.fine};
}

struct LarsLayer {
  bool scaled;
  at::ScalarType type;
  detail::SGDLoop loop;
  detail::SumSquaresLoop sum_squares;
  int64_t element_bytes;
  const LARSOptions* options;
  detail::SGDNumbers numbers;

  detail::LayerSums measure(
      void* const* arrays, int64_t begin, int64_t end) const {
    if (!scaled) return {0, 0};
    const auto at = [&](int i, int64_t element) {
      return static_cast<const char*>(arrays[i]) + element * element_bytes;
    };
    // The last argument is what is read next.
    return {
        sum_squares(arrays[0], begin, end, at(1, begin)),
        sum_squares(arrays[1], begin, end, at(0, end))};
  }
  void take(const detail::LayerNorms& norms) {
    numbers = lars_numbers(
        *options,
        options->weight_decay(),
        lars_ratio(norms, *options),
        type == at::kDouble);
  }
  void step(void* const* arrays, int64_t begin, int64_t end) const {
    loop({arrays[0], arrays[1], arrays[2]}, begin, end, numbers);
  }
  static const at::Tensor* compared(const ParameterUpdate& update) {
    return &update.gradient;
  }
};

detail::MomentumMode lars_mode(const LARSOptions& options) {
  if (options.momentum() == 0) return detail::kNoMomentum;
  return options.nesterov() ? detail::kNextNesterov : detail::kNext;
}

}  // namespace

LARSOptions::LARSOptions(double lr) : lr_(lr) {}

const OptionList<LARSOptions>& LARSOptions::option_list() {
  static const auto list = [] {
    OptionList<LARSOptions> own("LARS");
    detail::add_weight_decay(detail::add_rate_and_momentum(own));
    return detail::add_nesterov(own)
        .option(STEPSIZE_OPTION(trust_coefficient))
        .not_negative()
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .option(STEPSIZE_OPTION(adapt))
        .option(STEPSIZE_OPTION(adapt_vectors));
  }();
  return list;
}

const OptimizerTraits& LARSOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<LARS>(option_list())
          .gradient(GradientUse::kScalesLayers)
          .state({"momentum_buffer"});
  return traits;
}

LARS::LARS(std::vector<at::Tensor> parameters, const LARSOptions& options)
    : LARS(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

LARS::LARS(
    const std::vector<OptimizerParamGroup>& groups, const LARSOptions& defaults)
    : IndexedOptimizer(std::make_unique<LARSOptions>(defaults)) {
  add_groups(groups);
}

void LARS::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    at::Tensor momentum,
    const LARSOptions& options,
    double trust_ratio) {
  const auto type = momentum.scalar_type();
  const detail::SGDNumbers numbers = lars_numbers(
      options,
      detail::layer_rule(options, parameter).weight_decay,
      trust_ratio,
      type == at::kDouble);
  at::Tensor wide = parameter.to(type);
  at::Tensor direction =
      (gradient.to(type) * numbers.coarse).mul_(numbers.scale);
  if (numbers.decay != 0) direction.add_(wide, numbers.decay);
  if (options.momentum() != 0) {
    momentum.mul_(numbers.momentum).add_(direction);
    direction = options.nesterov() ? direction.add_(momentum, numbers.momentum)
                                   : momentum;
  }
  wide.sub_(direction, numbers.lr);
  if (!wide.is_same(parameter)) parameter.copy_(wide);
}

at::Tensor LARS::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  detail::LayerwiseStep<LarsLayer> fused(kLarsSignature, updates);
  const auto options_of = [this](const ParameterUpdate& update) -> auto& {
    return static_cast<const LARSOptions&>(
        param_groups()[update.group].options());
  };
  // On other devices.
  std::vector<std::size_t> others;
  std::vector<at::Tensor> measured_there;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    const auto& options = options_of(own);
    const auto rule = detail::layer_rule(options, own.parameter);
    const auto type = own.parameter.scalar_type();
    if (const auto format = fused.format(k)) {
      const detail::LoopTable& loops = detail::loops();
      fused.add(
          k,
          LarsLayer{
              rule.scaled,
              type,
              loops.sgd[*format][lars_mode(options)][rule.weight_decay != 0],
              loops.sum_squares[detail::element_type(type)],
              static_cast<int64_t>(own.parameter.element_size()),
              &options,
              lars_numbers(
                  options,
                  rule.weight_decay,
                  /*ratio=*/1,
                  type == at::kDouble)});
    } else if (rule.scaled) {
      others.push_back(k);
      measured_there.push_back(own.parameter);
      measured_there.push_back(own.gradient);
    } else {
      step_by_operations(own.parameter, own.gradient, own.state[0], options, 1);
    }
  }
  fused.measure(/*at_once=*/reduction() == nullptr);
  std::vector<double> norms;
  fused.add_norms(norms);
  const std::vector<double> from_there = detail::tensor_norms(measured_there);
  norms.insert(norms.end(), from_there.begin(), from_there.end());
  detail::agree_on(norms, reduction().get());
  std::size_t at = fused.step(norms);
  for (std::size_t i = 0; i < others.size(); ++i, at += 2) {
    ParameterUpdate& own = updates[others[i]];
    const auto& options = options_of(own);
    step_by_operations(
        own.parameter,
        own.gradient,
        own.state[0],
        options,
        lars_ratio({norms[at], norms[at + 1]}, options));
  }
  take_over(std::move(updates));
  return loss;
}

}  // namespace stepsize
