#include <stepsize/optim/clipped_adamw.h>

#include <stepsize/kernels/adam.h>
#include <torch/serialize/archive.h>

#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/optim/option_checks.h"
#include "csrc/optim/state_tensor.h"

namespace stepsize {
namespace {

constexpr char kClippedAdamW[] = "ClippedAdamW";

ClipOptions clip_of(const ClippedAdamWOptions& options) {
  return {options.max_norm(), options.norm_type(), options.non_finite()};
}

void check(const ClippedAdamWOptions& options) {
  detail::check_not_negative(kClippedAdamW, "lr", options.lr());
  detail::check_share(kClippedAdamW, "beta1", std::get<0>(options.betas()));
  detail::check_share(kClippedAdamW, "beta2", std::get<1>(options.betas()));
  detail::check_not_negative(kClippedAdamW, "eps", options.eps());
  detail::check_not_negative(
      kClippedAdamW, "weight_decay", options.weight_decay());
  detail::check_clip_options(kClippedAdamW, clip_of(options));
}

const ClippedAdamWOptions& checked(const ClippedAdamWOptions& options) {
  check(options);
  return options;
}

}  // namespace

ClippedAdamWOptions::ClippedAdamWOptions(double lr) : lr_(lr) {}

void ClippedAdamWOptions::serialize(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "lr", lr());
  detail::write_double(archive, "beta1", std::get<0>(betas()));
  detail::write_double(archive, "beta2", std::get<1>(betas()));
  detail::write_double(archive, "eps", eps());
  detail::write_double(archive, "weight_decay", weight_decay());
  detail::write_int(archive, "amsgrad", amsgrad() ? 1 : 0);
  detail::write_int(archive, "maximize", maximize() ? 1 : 0);
  detail::write_clip_options(archive, clip_of(*this));
}

void ClippedAdamWOptions::serialize(torch::serialize::InputArchive& archive) {
  ClippedAdamWOptions read(detail::read_double(archive, kClippedAdamW, "lr"));
  const double beta1 = detail::read_double(archive, kClippedAdamW, "beta1");
  const double beta2 = detail::read_double(archive, kClippedAdamW, "beta2");
  read.betas(std::make_tuple(beta1, beta2));
  read.eps(detail::read_double(archive, kClippedAdamW, "eps"));
  read.weight_decay(
      detail::read_double(archive, kClippedAdamW, "weight_decay"));
  read.amsgrad(detail::read_int(archive, kClippedAdamW, "amsgrad", 1) == 1);
  read.maximize(detail::read_int(archive, kClippedAdamW, "maximize", 1) == 1);
  const ClipOptions clip = detail::read_clip_options(archive, kClippedAdamW);
  read.max_norm(clip.max_norm)
      .norm_type(clip.norm_type)
      .non_finite(clip.non_finite);
  check(read);
  *this = read;
}

ClippedAdamW::ClippedAdamW(
    std::vector<at::Tensor> parameters, const ClippedAdamWOptions& options)
    : ClippedAdamW(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

ClippedAdamW::ClippedAdamW(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const ClippedAdamWOptions& defaults)
    : ClippedOptimizer(
          kClippedAdamW,
          {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
          std::make_unique<ClippedAdamWOptions>(checked(defaults))) {
  add_groups(groups);
}

void ClippedAdamW::check_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto* own = dynamic_cast<const ClippedAdamWOptions*>(&options);
  TORCH_CHECK(
      own != nullptr,
      kClippedAdamW,
      ": the options of a parameter group must be ClippedAdamWOptions");
  check(*own);
}

ClipOptions ClippedAdamW::clip_options(
    const torch::optim::OptimizerOptions& options) const {
  return clip_of(static_cast<const ClippedAdamWOptions&>(options));
}

void ClippedAdamW::update_group(
    std::size_t group,
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    const at::Tensor& grad_scale) {
  const auto& options =
      static_cast<const ClippedAdamWOptions&>(param_groups()[group].options());
  AdamHyperparameters numbers;
  numbers.lr = options.lr();
  std::tie(numbers.beta1, numbers.beta2) = options.betas();
  numbers.eps = options.eps();
  numbers.weight_decay = options.weight_decay();
  numbers.amsgrad = options.amsgrad();
  numbers.maximize = options.maximize();
  numbers.decoupled_weight_decay = true;

  auto& state = group_state(group);
  auto slots = state.slots;
  auto steps = state.steps;
  const std::size_t used = numbers.amsgrad ? 3 : 2;
  bool grown = false;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!gradients[i].defined()) {
      continue;
    }
    ++steps[i];
    for (std::size_t slot = 0; slot < used; ++slot) {
      if (!slots[slot][i].defined()) {
        slots[slot][i] = detail::new_state_like(parameters[i]);
        grown = true;
      }
    }
  }
  adam_step(
      parameters,
      gradients,
      slots[0],
      slots[1],
      numbers.amsgrad ? at::TensorList(slots[2]) : at::TensorList(),
      steps,
      numbers,
      grad_scale);
  // Only now: had the step been refused, there would be no state yet.
  state.steps = std::move(steps);
  if (grown) {
    state.slots = std::move(slots);
  }
}

}  // namespace stepsize
