#include <stepsize/optim/measured_sgd.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/closures.h"
#include "csrc/optim/measured_sgd_update.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
namespace {

// A gradient this many times as long as usual is cut to that length: a spike of
// curvature would multiply the iterate in every update until it is measured.
constexpr double kLongest = 2;
constexpr double kNormDecay = 0.9;
// A gradient counts as this many times the usual one at most: what is far off
// may not become what is usual.
constexpr double kMostCounted = 10;

bool any_defined(const std::vector<at::Tensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.defined();
  });
}

// An accelerator is waited for once.
std::pair<double, double> numbers_of(
    const at::Tensor& norm, const at::Tensor& loss) {
  if (norm.is_cpu() && loss.is_cpu()) {
    return {norm.item<double>(), loss.item<double>()};
  }
  const at::Tensor both =
      at::stack({norm.to(at::kDouble),
                 loss.reshape({}).to(norm.device(), at::kDouble)})
          .cpu();
  return {both[0].item<double>(), both[1].item<double>()};
}

}  // namespace

MeasuredSGD::MeasuredSGD(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(defaults)) {}

double MeasuredSGD::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      kind(),
      ": there is no parameter group ",
      std::to_string(group));
  return group < lrs_.size() ? lrs_[group] : 0.0;
}

void MeasuredSGD::check_loss(const at::Tensor& /*loss*/) const {}

double MeasuredSGD::over_ranks(double own) const {
  return reduction() != nullptr ? reduction()->mean(own) : own;
}

bool MeasuredSGD::begin(Update& update, const LossClosure& closure) {
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& parameters = param_groups()[group].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!parameters[i].requires_grad()) continue;
      update.parameters.push_back(parameters[i]);
      update.places.push_back({group, i});
    }
  }
  update.refusal = detail::refusal_of(
      [&] {
        TORCH_CHECK(
            closure != nullptr,
            kind(),
            ": step() wants a closure that returns the loss with its graph");
        check_all_options();
        TORCH_CHECK(
            !update.parameters.empty(),
            kind(),
            ": no parameter requires a gradient");
        prepare(update);
      },
      reduction().get());
  evaluate(update, closure);
  const c10::AutoGradMode no_grad(false);
  update.norm_tensor = global_norm(update.gradients);
  std::tie(update.norm, update.loss_number) =
      numbers_of(update.norm_tensor, update.loss);
  update.norm = over_ranks(update.norm);
  if (std::isfinite(update.norm) && std::isfinite(update.loss_number)) {
    return true;
  }
  skip(update);
  return false;
}

void MeasuredSGD::skip(const Update& update) {
  last_norm_ = update.norm;
  ++skipped_;
}

// Gradients and loss of this rank.
void MeasuredSGD::evaluate_here(Update& update, const LossClosure& closure) {
  const detail::BackwardWatch watch(update.parameters);
  if (update.wants_random) {
    update.random_before.emplace(detail::generators_of(update.parameters));
  }
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      kind(),
      ": the closure must return the loss as a scalar with its graph");
  check_loss(loss);
  watch.check(kind());
  bool with_graph = update.wants_graph;
  const auto gradients_of = [&](bool create_graph) {
    return torch::autograd::grad(
        {loss.dim() == 0 ? loss : loss.reshape({})},
        update.parameters,
        /*grad_outputs=*/{},
        /*retain_graph=*/create_graph,
        create_graph,
        /*allow_unused=*/true);
  };
  try {
    try {
      update.gradients = gradients_of(with_graph);
    } catch (const std::exception& error) {
      if (!with_graph || !update.may_lack_graph) throw;
      // Some operators throw as soon as the gradient is to have a graph.
      update.gradients = gradients_of(false);
      update.graph_failure = error.what();
      with_graph = false;
    }
  } catch (const std::exception& error) {
    detail::check_graph_was_there(kind(), error, /*of_closure=*/true);
    throw;
  }
  update.loss = loss.detach();
  if (!with_graph) return;
  update.graph = update.gradients;
  for (auto& gradient : update.gradients) {
    if (gradient.defined()) gradient = gradient.detach();
  }
  update.graphless =
      any_defined(update.graph) && !detail::has_graph(update.graph);
}

// Makes gradients and loss the means over ranks. Where one rank has no graph to
// measure by, none goes by its own.
void MeasuredSGD::agree(Update& update, const std::exception_ptr& failure) {
  RankShare share;
  share.failure = failure;
  share.numbers = {0, 0, 0};
  share.common = detail::options_of(*this);
  for (auto& number : common_numbers()) {
    share.common.push_back(std::move(number));
  }
  share.common.emplace_back("the usual norm of a gradient", usual_norm_);
  if (!failure) {
    // One may be beyond a float32 and not beyond a float64, and what rounding
    // hides in one shows in the other.
    constexpr double kBits = 8;
    share.common.emplace_back(
        "the loss' width in bits",
        kBits * static_cast<double>(update.loss.element_size()));
    share.tensors = update.gradients;
    share.numbers = {
        update.loss.item<double>(),
        update.graph_failure.empty() ? 0.0 : 1.0,
        update.graphless ? 1.0 : 0.0};
  }
  const RankMeans means = average(update.parameters, share, *reduction());
  if (update.wants_own_gradients) update.own_gradients = update.gradients;
  update.gradients = means.tensors;
  update.loss = at::full_like(update.loss, means.numbers[0]);
  if (means.numbers[1] > 0 && update.graph_failure.empty()) {
    update.graph_failure = "the graph of another rank's gradient failed";
  }
  update.graphless = means.numbers[2] > 0;
}

void MeasuredSGD::evaluate(Update& update, const LossClosure& closure) {
  const auto evaluate_and_check = [&] {
    if (update.refusal) std::rethrow_exception(update.refusal);
    evaluate_here(update, closure);
    for (std::size_t i = 0; i < update.gradients.size(); ++i) {
      const auto [group, position] = update.places[i];
      check_gradient(group, position, update.gradients[i]);
    }
  };
  if (reduction() != nullptr) {
    agree(update, reduction()->attempt(evaluate_and_check));
  } else {
    evaluate_and_check();
    if (update.wants_own_gradients) update.own_gradients = update.gradients;
  }
}

bool MeasuredSGD::cut_if_long(Update& update) const {
  if (!(usual_norm_ > 0) || update.norm <= kLongest * usual_norm_) return false;
  update.scale = clip_coefficient(
      at::full_like(update.norm_tensor, update.norm), kLongest * usual_norm_);
  return true;
}

void MeasuredSGD::finish(
    const Update& update, const std::vector<double>& rates) {
  const std::size_t groups = param_groups().size();
  lrs_ = rates.empty() ? std::vector<double>(groups, 0.0) : rates;
  if (!rates.empty()) {
    std::vector<std::vector<at::Tensor>> gradients(groups);
    for (std::size_t group = 0; group < groups; ++group) {
      gradients[group].resize(param_groups()[group].params().size());
    }
    for (std::size_t i = 0; i < update.parameters.size(); ++i) {
      const auto [group, position] = update.places[i];
      gradients[group][position] = update.gradients[i];
    }
    for (std::size_t group = 0; group < groups; ++group) {
      SGDHyperparameters numbers = hyperparameters(group);
      numbers.lr = rates[group];
      detail::sgd_group_step(
          param_groups()[group].params(),
          gradients[group],
          group_state(group).slots[kMomentum],
          numbers,
          update.scale);
    }
  }
  last_norm_ = update.norm;
  const double counted = std::min(update.norm, kMostCounted * usual_norm_);
  usual_norm_ = usual_norm_ > 0
                    ? kNormDecay * usual_norm_ + (1 - kNormDecay) * counted
                    : update.norm;
}

void MeasuredSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "lrs", lrs_);
  detail::write_double(archive, "last_grad_norm", last_norm_);
  detail::write_double(archive, "usual_norm", usual_norm_);
  detail::write_int(archive, "skipped_steps", skipped_);
}

std::function<void()> MeasuredSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  auto lrs = detail::read_doubles(archive, kind(), "lrs");
  const auto last_norm = detail::read_double(archive, kind(), "last_grad_norm");
  const auto usual_norm = detail::read_double(archive, kind(), "usual_norm");
  TORCH_CHECK(
      std::isfinite(usual_norm) && usual_norm >= 0,
      kind(),
      ": 'usual_norm' of the archive is no norm");
  const auto skipped = detail::read_int(archive, kind(), "skipped_steps");
  return [this, lrs, last_norm, usual_norm, skipped] {
    lrs_ = lrs;
    last_norm_ = last_norm;
    usual_norm_ = usual_norm;
    skipped_ = skipped;
  };
}

}  // namespace stepsize
