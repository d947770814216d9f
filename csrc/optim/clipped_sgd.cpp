#include <stepsize/optim/clipped_sgd.h>

#include <ATen/ops/zeros_like.h>
#include <stepsize/kernels/sgd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/optim/option_checks.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
namespace {

constexpr char kClippedSGD[] = "ClippedSGD";

ClipOptions clip_of(const ClippedSGDOptions& options) {
  return {options.max_norm(), options.norm_type(), options.non_finite()};
}

void check(const ClippedSGDOptions& options) {
  detail::check_not_negative(kClippedSGD, "lr", options.lr());
  detail::check_share(kClippedSGD, "momentum", options.momentum());
  detail::check_option(
      std::isfinite(options.dampening()),
      kClippedSGD,
      "dampening",
      "finite",
      options.dampening());
  detail::check_not_negative(
      kClippedSGD, "weight_decay", options.weight_decay());
  TORCH_CHECK(
      !options.nesterov() ||
          (options.momentum() > 0 && options.dampening() == 0),
      kClippedSGD,
      ": nesterov wants momentum > 0 and dampening 0, got momentum ",
      detail::number_text(options.momentum()),
      " and dampening ",
      detail::number_text(options.dampening()));
  detail::check_clip_options(kClippedSGD, clip_of(options));
}

// Checked before the base classes take them.
const ClippedSGDOptions& checked(const ClippedSGDOptions& options) {
  check(options);
  return options;
}

}  // namespace

ClippedSGDOptions::ClippedSGDOptions(double lr) : lr_(lr) {}

void ClippedSGDOptions::serialize(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "lr", lr());
  detail::write_double(archive, "momentum", momentum());
  detail::write_double(archive, "dampening", dampening());
  detail::write_double(archive, "weight_decay", weight_decay());
  detail::write_int(archive, "nesterov", nesterov() ? 1 : 0);
  detail::write_int(archive, "maximize", maximize() ? 1 : 0);
  detail::write_int(
      archive, "decoupled_weight_decay", decoupled_weight_decay() ? 1 : 0);
  detail::write_clip_options(archive, clip_of(*this));
}

void ClippedSGDOptions::serialize(torch::serialize::InputArchive& archive) {
  ClippedSGDOptions read(detail::read_double(archive, kClippedSGD, "lr"));
  read.momentum(detail::read_double(archive, kClippedSGD, "momentum"));
  read.dampening(detail::read_double(archive, kClippedSGD, "dampening"));
  read.weight_decay(detail::read_double(archive, kClippedSGD, "weight_decay"));
  read.nesterov(detail::read_int(archive, kClippedSGD, "nesterov", 1) == 1);
  read.maximize(detail::read_int(archive, kClippedSGD, "maximize", 1) == 1);
  read.decoupled_weight_decay(
      detail::read_int(archive, kClippedSGD, "decoupled_weight_decay", 1) == 1);
  const ClipOptions clip = detail::read_clip_options(archive, kClippedSGD);
  read.max_norm(clip.max_norm)
      .norm_type(clip.norm_type)
      .non_finite(clip.non_finite);
  check(read);
  *this = read;
}

ClippedSGD::ClippedSGD(
    std::vector<at::Tensor> parameters, const ClippedSGDOptions& options)
    : ClippedSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

ClippedSGD::ClippedSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const ClippedSGDOptions& defaults)
    : ClippedOptimizer(
          kClippedSGD,
          {"momentum_buffer"},
          std::make_unique<ClippedSGDOptions>(checked(defaults))) {
  add_groups(groups);
}

void ClippedSGD::check_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto* own = dynamic_cast<const ClippedSGDOptions*>(&options);
  TORCH_CHECK(
      own != nullptr,
      kClippedSGD,
      ": the options of a parameter group must be ClippedSGDOptions");
  check(*own);
}

ClipOptions ClippedSGD::clip_options(
    const torch::optim::OptimizerOptions& options) const {
  return clip_of(static_cast<const ClippedSGDOptions&>(options));
}

void ClippedSGD::update_group(
    std::size_t group,
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    const at::Tensor& grad_scale) {
  const auto& options =
      static_cast<const ClippedSGDOptions&>(param_groups()[group].options());
  SGDHyperparameters numbers;
  numbers.lr = options.lr();
  numbers.momentum = options.momentum();
  numbers.dampening = options.dampening();
  numbers.weight_decay = options.weight_decay();
  numbers.nesterov = options.nesterov();
  numbers.maximize = options.maximize();
  numbers.decoupled_weight_decay = options.decoupled_weight_decay();
  detail::sgd_group_step(
      parameters, gradients, group_state(group).slots[0], numbers, grad_scale);
}

}  // namespace stepsize
