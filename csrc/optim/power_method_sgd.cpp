#include <stepsize/optim/power_method_sgd.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/core/closures.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/sgd_group_step.h"
#include "csrc/state/random_state.h"

namespace stepsize {
namespace {

constexpr char kPowerMethodSGD[] = "PowerMethodSGD";
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

bool is_difference(HessianMethod method) {
  return method == HessianMethod::kFiniteDifference ||
         method == HessianMethod::kCentralDifference;
}

bool any_defined(const TensorVector& tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) {
    return tensor.defined();
  });
}

bool has_graph(const TensorVector& gradients) {
  return std::any_of(gradients.begin(), gradients.end(), [](const auto& part) {
    return part.defined() && part.requires_grad();
  });
}

// Between measurements a gradient this many times as long as usual is cut to
// that length, and the next update is measured: a spike of curvature would
// multiply the iterate in every update until then.
constexpr double kLongest = 2;
constexpr double kNormDecay = 0.9;

// So many updates in a row go on at the rate that they have while their
// curvature is not finite; those that follow are left out.
constexpr int64_t kMostUnmeasured = 3;

struct Numbers {
  double norm;
  double loss;
};

// An accelerator is waited for once.
Numbers read(const at::Tensor& norm, const at::Tensor& loss) {
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

PowerMethodSGDOptions::PowerMethodSGDOptions(double lr) : lr_(lr) {}

// The buffers belong to a model and are in no archive.
const OptionList<PowerMethodSGDOptions>& PowerMethodSGDOptions::option_list() {
  static const auto list =
      OptionList<PowerMethodSGDOptions>("PowerMethodSGD")
          .include(
              SharpnessTrackerOptions::option_list(),
              [](auto& own) -> auto& { return own.tracker(); })
          .option(STEPSIZE_OPTION(start_products))
          .at_least(1)
          .choice(
              STEPSIZE_OPTION(method),
              {"kAutomatic",
               "kExact",
               "kFiniteDifference",
               "kCentralDifference"})
          .seed(STEPSIZE_OPTION(seed))
          .all_same_in_groups()
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(STEPSIZE_OPTION(momentum))
          .share()
          .role(OptionRole::kMomentum)
          .option(STEPSIZE_OPTION(nesterov))
          .role(OptionRole::kNesterov)
          .choice(
              STEPSIZE_OPTION(momentum_limit), {"kEffectiveRate", "kQuadratic"})
          .option(STEPSIZE_OPTION(weight_decay))
          .not_negative()
          .role(OptionRole::kWeightDecay)
          .option(STEPSIZE_OPTION(decoupled_weight_decay))
          .role(OptionRole::kDecouples)
          .rule([](const PowerMethodSGDOptions& own, const std::string& kind) {
            TORCH_CHECK(
                !own.nesterov() || own.momentum() > 0,
                kind,
                ": nesterov wants momentum > 0, got ",
                detail::number_text(own.momentum()));
          });
  return list;
}

const OptimizerTraits& PowerMethodSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<PowerMethodSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .sets_own_rate(true)
          .wants_graph(true)
          .state({"momentum_buffer", "power_vector"})
          .skipped_steps(detail::skipped_by<PowerMethodSGD>);
  return traits;
}

PowerMethodSGD::PowerMethodSGD(
    std::vector<at::Tensor> parameters, const PowerMethodSGDOptions& options)
    : PowerMethodSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

PowerMethodSGD::PowerMethodSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const PowerMethodSGDOptions& defaults)
    : IndexedOptimizer(std::make_unique<PowerMethodSGDOptions>(defaults)),
      tracker_(defaults.tracker()),
      method_(defaults.method()) {
  add_groups(groups);
}

const PowerMethodSGDOptions& PowerMethodSGD::options_of(
    std::size_t group) const {
  return static_cast<const PowerMethodSGDOptions&>(
      param_groups()[group].options());
}

double PowerMethodSGD::current_lr(std::size_t group) const {
  TORCH_CHECK(
      group < param_groups().size(),
      kPowerMethodSGD,
      ": there is no parameter group ",
      std::to_string(group));
  return group < lrs_.size() ? lrs_[group] : 0.0;
}

// One update's parts, all lists in the order of `parameters`.
struct PowerMethodSGD::Update {
  TensorVector parameters;
  // Group and position of each.
  std::vector<std::pair<std::size_t, std::size_t>> places;
  // Why this rank takes no step, to be thrown where the others hear of it.
  std::exception_ptr refusal;
  // Whether the curvature is measured.
  bool due = false;
  at::Tensor loss;
  // Undefined where the loss does not depend on the parameter. With other
  // ranks, the means.
  TensorVector gradients;
  // Those of this rank.
  TensorVector own_gradients;
  // The same with their graph, where a product is to be exact.
  TensorVector graph;
  // Why there is none, where one could not be made.
  std::string graph_failure;
  // Whether the gradients came without one, on this or another rank.
  bool graphless = false;
  // As it was before the closure, where a difference may be needed.
  std::optional<detail::RandomState> random_before;
  // Factor of the gradients; undefined for 1.
  at::Tensor scale;
  // The parameters that have a gradient, by their index: the Hessian is zero
  // in the others, whose parts of the vector wait for their return.
  std::vector<std::size_t> used;

  TensorVector used_of(const TensorVector& tensors) const {
    TensorVector chosen;
    for (const std::size_t i : used) chosen.push_back(tensors[i]);
    return chosen;
  }
};

at::Tensor PowerMethodSGD::step(LossClosure closure) {
  Update update;
  update.refusal = detail::refusal_of(
      [&] {
        TORCH_CHECK(
            closure != nullptr,
            kPowerMethodSGD,
            ": step() wants a closure that returns the loss with its graph");
        check_all_options();
        use_options();
        update.due = tracker_.due();
      },
      reduction().get());
  for (std::size_t group = 0; group < param_groups().size(); ++group) {
    const auto& parameters = param_groups()[group].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].requires_grad()) {
        update.parameters.push_back(parameters[i]);
        update.places.emplace_back(group, i);
      }
    }
  }
  TORCH_CHECK(
      !update.parameters.empty(),
      kPowerMethodSGD,
      ": no parameter requires a gradient");
  evaluate(update, closure);
  const c10::AutoGradMode no_grad(false);
  const at::Tensor norm = global_norm(update.gradients);
  Numbers numbers = read(norm, update.loss);
  numbers.norm = over_ranks(numbers.norm);
  last_norm_ = numbers.norm;
  if (!std::isfinite(numbers.norm) || !std::isfinite(numbers.loss)) {
    ++skipped_;
    return update.loss;
  }
  if (numbers.norm == 0 && !tracker_.started()) {
    // Flat ground says nothing of the curvature to come.
    return update.loss;
  }
  if (update.due) {
    measure(update, closure);
  } else if (usual_norm_ > 0) {
    if (numbers.norm > kLongest * usual_norm_) {
      update.scale = clip_coefficient(
          at::full_like(norm, numbers.norm), kLongest * usual_norm_);
      tracker_.hurry();
    }
  } else if (numbers.norm > 0) {
    // The first gradient that is not zero, at a rate that knows nothing of it.
    tracker_.hurry();
  }
  if (!tracker_.started() || unmeasured_in_a_row_ > kMostUnmeasured) {
    ++skipped_;
    return update.loss;
  }
  apply(update);
  usual_norm_ = usual_norm_ > 0
                    ? kNormDecay * usual_norm_ + (1 - kNormDecay) * numbers.norm
                    : numbers.norm;
  return update.loss;
}

// A user may have changed them.
void PowerMethodSGD::use_options() {
  const auto& options = options_of(0);
  tracker_.set_options(options.tracker());
  if (options.method() != HessianMethod::kAutomatic) {
    method_ = options.method();
  } else if (method_ == HessianMethod::kCentralDifference) {
    method_ = HessianMethod::kAutomatic;
  }
}

void PowerMethodSGD::fall_back(const std::string& reason) {
  method_ = HessianMethod::kFiniteDifference;
  fallback_reason_ = reason;
}

// Gradients, loss and the ways to a product of this rank.
void PowerMethodSGD::evaluate_here(Update& update, const LossClosure& closure) {
  const detail::BackwardWatch watch(update.parameters);
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  if (update.due && (automatic || is_difference(method_))) {
    update.random_before.emplace(detail::generators_of(update.parameters));
  }
  bool exact = update.due && !is_difference(method_);
  const c10::AutoGradMode enable_grad(true);
  const at::Tensor loss = closure();
  TORCH_CHECK(
      loss.defined() && loss.numel() == 1 && loss.requires_grad(),
      kPowerMethodSGD,
      ": the closure must return the loss as a scalar with its graph");
  watch.check(kPowerMethodSGD);
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
      update.gradients = gradients_of(exact);
    } catch (const std::exception& error) {
      if (!exact || !automatic) throw;
      // Some operators throw as soon as the gradient is to have a graph.
      update.gradients = gradients_of(false);
      update.graph_failure = error.what();
      exact = false;
    }
  } catch (const std::exception& error) {
    detail::check_graph_was_there(kPowerMethodSGD, error, /*of_closure=*/true);
    throw;
  }
  update.loss = loss.detach();
  if (exact) {
    update.graph = update.gradients;
    for (auto& gradient : update.gradients) {
      if (gradient.defined()) gradient = gradient.detach();
    }
    update.graphless = any_defined(update.graph) && !has_graph(update.graph);
  }
}

// Makes gradients and loss the means over ranks. Where one rank has no graph to
// measure by, none goes by its own.
void PowerMethodSGD::agree_on_gradients(
    Update& update, const std::exception_ptr& failure) {
  RankShare share;
  share.failure = failure;
  share.numbers = {0, 0, 0};
  share.common = detail::options_of(*this);
  share.common.emplace_back("whether a measurement is due", update.due);
  share.common.emplace_back(
      "start_products", static_cast<double>(options_of(0).start_products()));
  if (!failure) {
    share.tensors = update.gradients;
    share.numbers = {
        update.loss.item<double>(),
        update.graph_failure.empty() ? 0.0 : 1.0,
        update.graphless ? 1.0 : 0.0};
  }
  const RankMeans means = average(update.parameters, share, *reduction());
  update.own_gradients = std::exchange(update.gradients, means.tensors);
  update.loss = at::full_like(update.loss, means.numbers[0]);
  if (means.numbers[1] > 0 && update.graph_failure.empty()) {
    update.graph_failure = "the graph of another rank's gradient failed";
  }
  update.graphless = means.numbers[2] > 0;
}

void PowerMethodSGD::evaluate(Update& update, const LossClosure& closure) {
  const auto evaluate_and_check = [&] {
    if (update.refusal) std::rethrow_exception(update.refusal);
    evaluate_here(update, closure);
    for (std::size_t i = 0; i < update.gradients.size(); ++i) {
      const auto [group, position] = update.places[i];
      check_gradient(group, position, update.gradients[i]);
    }
  };
  if (reduction() != nullptr) {
    agree_on_gradients(update, reduction()->attempt(evaluate_and_check));
  } else {
    evaluate_and_check();
    update.own_gradients = update.gradients;
  }
  if (!update.graph_failure.empty()) {
    fall_back(update.graph_failure);
    update.graph.clear();
  }
}

// The mean over ranks, in which one that throws makes all throw.
LinearOperator PowerMethodSGD::over_ranks(const LinearOperator& own) const {
  if (reduction() == nullptr) return own;
  return function_operator(own.like(), [this, own](const TensorVector& v) {
    RankShare share;
    share.failure = reduction()->attempt([&] { share.tensors = own.apply(v); });
    return average(own.like(), share, *reduction()).tensors;
  });
}

// The last bit may differ where processors do, and all must decide alike.
double PowerMethodSGD::over_ranks(double own) const {
  return reduction() != nullptr ? reduction()->mean(own) : own;
}

void PowerMethodSGD::together(const std::function<void()>& work) const {
  reduction() != nullptr ? reduction()->together(work) : work();
}

double PowerMethodSGD::power_step(
    const LinearOperator& hessian, Update& update) {
  CurvatureMeter meter(CurvatureMeterOptions()
                           .start_products(options_of(0).start_products())
                           .seed(options_of(0).seed()));
  TensorVector vector;
  for (const std::size_t i : update.used) vector.push_back(slot(update, i));
  meter.go_on_from(std::move(vector), tracker_.measurements());
  MeterAgreement agree;
  if (reduction() != nullptr) {
    agree.numbers = [this](std::vector<double>& numbers) {
      RankShare share;
      share.numbers = numbers;
      numbers = average({}, share, *reduction()).numbers;
    };
    agree.parts = [this](const TensorVector& parts) {
      broadcast_state(parts, *reduction());
    };
  }
  const double sharpness = meter.measure(over_ranks(hessian), agree);
  products_ += meter.products();
  for (std::size_t i = 0; i < meter.vector().size(); ++i) {
    slot(update, update.used[i]) = meter.vector()[i];
  }
  return sharpness;
}

double PowerMethodSGD::difference_step(
    Update& update, const LossClosure& closure) {
  const detail::RandomState after(detail::generators_of(update.parameters));
  // The same dropout masks as in the gradient at hand.
  update.random_before->restore();
  HessianOptions options;
  options.buffers(options_of(0).buffers())
      .method(
          is_difference(method_) ? method_ : HessianMethod::kFiniteDifference);
  if (options.method() == HessianMethod::kFiniteDifference) {
    TensorVector gradient = update.used_of(update.own_gradients);
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (!gradient[i].defined()) {
        gradient[i] = at::zeros_like(update.parameters[update.used[i]]);
      }
    }
    options.gradient(std::move(gradient));
  }
  try {
    std::optional<LinearOperator> hessian;
    together([&] {
      hessian =
          hessian_operator(closure, update.used_of(update.parameters), options);
    });
    const double sharpness = power_step(*hessian, update);
    after.restore();
    return sharpness;
  } catch (...) {
    after.restore();
    throw;
  }
}

at::Tensor& PowerMethodSGD::slot(const Update& update, std::size_t index) {
  const auto [group, position] = update.places[index];
  return group_state(group).slots[kVector][position];
}

double PowerMethodSGD::measured(Update& update, const LossClosure& closure) {
  const bool automatic = options_of(0).method() == HessianMethod::kAutomatic;
  double sharpness = kNaN;
  if (automatic && update.graphless) {
    // So does a loss that is linear look, and a backward that leaves the graph.
    // A difference is right for both.
    fall_back("the gradient has no graph");
    update.graph.clear();
  }
  if (!update.graph.empty()) {
    try {
      sharpness = power_step(
          hessian_operator(
              update.used_of(update.graph), update.used_of(update.parameters)),
          update);
      method_ = HessianMethod::kExact;
    } catch (const RankLostError&) {
      throw;
    } catch (const std::exception& error) {
      if (!automatic) throw;
      fall_back(error.what());
    }
    update.graph.clear();
  }
  if (is_difference(method_) || (automatic && !std::isfinite(sharpness))) {
    sharpness = difference_step(update, closure);
  }
  return sharpness;
}

void PowerMethodSGD::measure(Update& update, const LossClosure& closure) {
  for (std::size_t i = 0; i < update.gradients.size(); ++i) {
    if (update.gradients[i].defined()) update.used.push_back(i);
  }
  // A loss that depends on no parameter has no curvature.
  const double sharpness =
      update.used.empty() ? 0.0 : measured(update, closure);
  if (std::isfinite(sharpness)) {
    tracker_.measure(sharpness);
    unmeasured_in_a_row_ = 0;
  } else {
    // The tracker has seen nothing and asks again in the next update.
    ++unmeasured_;
    ++unmeasured_in_a_row_;
  }
}

void PowerMethodSGD::apply(const Update& update) {
  const double rate = tracker_.next_rate();
  const double safety = tracker_.options().safety();
  const std::size_t groups = param_groups().size();
  std::vector<std::vector<at::Tensor>> gradients(groups);
  for (std::size_t group = 0; group < groups; ++group) {
    gradients[group].resize(param_groups()[group].params().size());
  }
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    const auto [group, position] = update.places[i];
    gradients[group][position] = update.gradients[i];
  }
  lrs_.assign(groups, 0.0);
  for (std::size_t group = 0; group < groups; ++group) {
    const auto& options = options_of(group);
    const auto& parameters = param_groups()[group].params();
    SGDHyperparameters numbers;
    // The limit with momentum over that without.
    const double widened = max_stable_lr(
        2.0, options.momentum(), options.nesterov(), options.momentum_limit());
    // Coupled decay adds to the curvature: 2 s / (lambda + decay), written
    // with the rate.
    const double coupled =
        options.decoupled_weight_decay() ? 0 : options.weight_decay();
    numbers.lr =
        options.lr() * widened * rate / (1 + rate * coupled / (2 * safety));
    numbers.momentum = options.momentum();
    numbers.nesterov = options.nesterov();
    numbers.weight_decay = options.weight_decay();
    numbers.decoupled_weight_decay = options.decoupled_weight_decay();
    lrs_[group] = numbers.lr;
    detail::sgd_group_step(
        parameters,
        gradients[group],
        group_state(group).slots[kMomentum],
        numbers,
        update.scale);
  }
}

void PowerMethodSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "tracker", tracker_.state());
  detail::write_int(archive, "method", static_cast<int64_t>(method_));
  detail::write_doubles(archive, "lrs", lrs_);
  detail::write_double(archive, "last_grad_norm", last_norm_);
  detail::write_double(archive, "usual_norm", usual_norm_);
  detail::write_int(archive, "products", products_);
  detail::write_int(archive, "skipped_steps", skipped_);
  detail::write_int(archive, "unmeasured_steps", unmeasured_);
  detail::write_int(archive, "unmeasured_in_a_row", unmeasured_in_a_row_);
  detail::write_string(archive, "fallback_reason", fallback_reason_);
}

std::function<void()> PowerMethodSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  SharpnessTracker tracker(tracker_.options());
  tracker.restore(detail::read_doubles(archive, kPowerMethodSGD, "tracker"));
  const auto method = static_cast<HessianMethod>(
      detail::read_int(archive, kPowerMethodSGD, "method", 3));
  auto lrs = detail::read_doubles(archive, kPowerMethodSGD, "lrs");
  const auto last_norm =
      detail::read_double(archive, kPowerMethodSGD, "last_grad_norm");
  const auto usual_norm =
      detail::read_double(archive, kPowerMethodSGD, "usual_norm");
  TORCH_CHECK(
      std::isfinite(usual_norm) && usual_norm >= 0,
      kPowerMethodSGD,
      ": 'usual_norm' of the archive is no norm");
  const auto products = detail::read_int(archive, kPowerMethodSGD, "products");
  const auto skipped =
      detail::read_int(archive, kPowerMethodSGD, "skipped_steps");
  const auto unmeasured =
      detail::read_int(archive, kPowerMethodSGD, "unmeasured_steps");
  const auto in_a_row =
      detail::read_int(archive, kPowerMethodSGD, "unmeasured_in_a_row");
  const auto reason =
      detail::read_string(archive, kPowerMethodSGD, "fallback_reason");
  return [this,
          tracker,
          method,
          lrs,
          last_norm,
          usual_norm,
          products,
          skipped,
          unmeasured,
          in_a_row,
          reason] {
    tracker_ = tracker;
    method_ = method;
    lrs_ = lrs;
    last_norm_ = last_norm;
    usual_norm_ = usual_norm;
    products_ = products;
    skipped_ = skipped;
    unmeasured_ = unmeasured;
    unmeasured_in_a_row_ = in_a_row;
    fallback_reason_ = reason;
  };
}

}  // namespace stepsize
