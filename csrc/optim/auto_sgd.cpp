#include <stepsize/optim/auto_sgd.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/displaced_loss.h"
#include "csrc/optim/measured_sgd_update.h"
#include "csrc/optim/value_archive.h"

namespace stepsize {
namespace {

constexpr char kAutoSGD[] = "AutoSGD";

// How far rounding moves a loss, in units of its last digit: that of a mean
// over a batch, whose terms are rounded each.
constexpr double kLossDigits = 4;

// A difference of gradients steps this share of the parameters' length.
constexpr double kDifferenceShare = 2e-4;

// How much of a vector its new parts are.
constexpr double kNewShare = 0.1;

double epsilon_of(const at::Tensor& loss) {
  return loss.scalar_type() == at::kDouble
             ? std::numeric_limits<double>::epsilon()
             : std::numeric_limits<float>::epsilon();
}

bool is_single_or_double(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble;
}

}  // namespace

AutoSGDOptions::AutoSGDOptions(double lr) : lr_(lr) {}

const OptionList<AutoSGDOptions>& AutoSGDOptions::option_list() {
  static const auto list = [] {
    OptionList<AutoSGDOptions> own(kAutoSGD);
    detail::add_nesterov(detail::add_rate_and_momentum(own));
    return detail::add_decoupled_weight_decay(detail::add_weight_decay(own));
  }();
  return list;
}

const OptimizerTraits& AutoSGDOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<AutoSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .sets_own_rate(true)
          .wants_graph(true)
          .closure_calls(ClosureCalls::kManyTimes)
          .state({"momentum_buffer", "policy_vector"})
          .skipped_steps(detail::skipped_by<AutoSGD>);
  return traits;
}

AutoSGD::AutoSGD(
    std::vector<at::Tensor> parameters,
    const AutoSGDOptions& options,
    const StepSizePolicy& policy)
    : AutoSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options,
          policy) {}

AutoSGD::AutoSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const AutoSGDOptions& defaults,
    const StepSizePolicy& policy)
    : MeasuredSGD(std::make_unique<AutoSGDOptions>(defaults)),
      policy_(policy.clone()) {
  add_groups(groups);
}

const AutoSGDOptions& AutoSGD::options_of(std::size_t group) const {
  return static_cast<const AutoSGDOptions&>(param_groups()[group].options());
}

SGDHyperparameters AutoSGD::hyperparameters(std::size_t group) const {
  return detail::sgd_numbers(options_of(group));
}

// What the policy sees of an update.
class AutoSGD::Probe : public StepProbe {
 public:
  // Thrown where a parameter is not finite, and by its decay what the policy
  // would see is not either.
  struct NotFinite {};

  Probe(AutoSGD& optimizer, Update& update, const LossClosure& closure)
      : optimizer_(optimizer), update_(update), loss_(update.loss_number) {
    if (update.random_before) {
      nearby_.emplace(
          closure,
          update.parameters,
          optimizer.options_of(0).buffers(),
          *update.random_before);
    }
  }

  double loss() override {
    if (!whole_loss_) {
      // A policy is promised a loss that is finite: the largest number stands
      // for a sum beyond it.
      whole_loss_ = std::min(
          checked(loss_ + decay_loss()), std::numeric_limits<double>::max());
    }
    return *whole_loss_;
  }
  double momentum() override {
    double most = 0;
    for (std::size_t g = 0; g < optimizer_.param_groups().size(); ++g) {
      most = std::max(most, optimizer_.options_of(g).momentum());
    }
    return most;
  }
  double gradient_square() override {
    if (!square_) square_ = checked(slope_along(gradient()));
    return *square_;
  }
  double slope() override {
    if (!slope_) slope_ = checked(slope_along(direction()));
    return *slope_;
  }
  double update_square() override {
    return checked(
        optimizer_.over_ranks(inner_product(direction(), direction())));
  }
  ProbedCurvature gradient_curvature(double step) override {
    return curvature_along(gradient(), gradient_square(), step);
  }
  ProbedCurvature update_curvature(double step) override {
    return curvature_along(direction(), slope(), step);
  }
  double gradient_change(double step) override {
    const TensorVector change = change_along(direction(), step);
    const double length = global_norm(defined(direction())).item<double>();
    const double changed = global_norm(defined(change)).item<double>();
    return checked(optimizer_.over_ranks(changed / (step * length)));
  }
  double averaged_product(double weight) override;
  /// Takes back what averaged_product() has done.
  void put_back() {
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      const auto [group, position] = update_.places[i];
      optimizer_.group_state(group).slots[kVector][position] = kept_[i];
    }
  }

 private:
  static TensorVector defined(const TensorVector& tensors) {
    TensorVector chosen;
    for (const at::Tensor& tensor : tensors) {
      if (tensor.defined()) chosen.push_back(tensor);
    }
    return chosen;
  }
  static TensorVector difference(const TensorVector& a, const TensorVector& b) {
    TensorVector result(b.size());
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (a[i].defined() && b[i].defined()) result[i] = a[i] - b[i];
    }
    return result;
  }

  double coupled_decay(std::size_t index) const {
    const auto& options = optimizer_.options_of(update_.places[index].group);
    return options.decoupled_weight_decay() ? 0.0 : options.weight_decay();
  }
  bool decays() const {
    for (std::size_t i = 0; i < update_.places.size(); ++i) {
      if (coupled_decay(i) != 0) return true;
    }
    return false;
  }
  // The number, which all ranks have alike. One that is not finite may be that
  // of finite parameters, as a square is: it is the policy's to judge.
  double checked(double number) const {
    if (std::isfinite(number) || !decays()) return number;
    bool finite = true;
    for (std::size_t i = 0; i < update_.places.size(); ++i) {
      if (!update_.gradients[i].defined() || coupled_decay(i) == 0) continue;
      const at::Tensor parameter = update_.parameters[i].detach();
      finite = finite && parameter.isfinite().all().item<bool>();
    }
    if (optimizer_.over_ranks(finite ? 0 : 1) > 0) throw NotFinite();
    return number;
  }
  // Coupled decay's part of the loss, of what this update moves.
  double decay_loss() const {
    if (!decays()) return 0;
    double sum = 0;
    for (std::size_t i = 0; i < update_.places.size(); ++i) {
      const double decay = coupled_decay(i);
      if (!update_.gradients[i].defined() || decay == 0) continue;
      const at::Tensor parameter = update_.parameters[i].detach();
      sum += decay / 2 * inner_product({parameter}, {parameter});
    }
    return optimizer_.over_ranks(sum);
  }
  // The gradient with coupled decay.
  at::Tensor decayed(std::size_t index) const {
    const at::Tensor& gradient = update_.gradients[index];
    const double decay = coupled_decay(index);
    if (!gradient.defined() || decay == 0) return gradient;
    return gradient + decay * update_.parameters[index].detach();
  }

  // A group's `lr` over the largest one: what a scheduler does to all of them
  // changes no measurement. Without any, as if they were alike.
  double share(std::size_t group) const {
    double most = 0;
    for (std::size_t g = 0; g < optimizer_.param_groups().size(); ++g) {
      most = std::max(most, optimizer_.options_of(g).lr());
    }
    return most > 0 ? optimizer_.options_of(group).lr() / most : 1.0;
  }

  // The gradient, and where the update goes, each group's part times its
  // share.
  const TensorVector& gradient() {
    if (gradient_.empty()) {
      for (std::size_t i = 0; i < update_.parameters.size(); ++i) {
        at::Tensor part = decayed(i);
        const double own = share(update_.places[i].group);
        gradient_.push_back(part.defined() && own != 1 ? part * own : part);
      }
    }
    return gradient_;
  }
  const TensorVector& direction() {
    if (direction_.empty()) {
      for (std::size_t i = 0; i < update_.parameters.size(); ++i) {
        direction_.push_back(direction_of(i));
      }
    }
    return direction_;
  }
  at::Tensor direction_of(std::size_t index) {
    const auto [group, position] = update_.places[index];
    const auto& options = optimizer_.options_of(group);
    const at::Tensor part = decayed(index);
    if (!part.defined()) return part;
    at::Tensor whole = part;
    if (options.momentum() > 0) {
      const at::Tensor& buffer =
          optimizer_.group_state(group).slots[kMomentum][position];
      if (buffer.defined()) whole = part.add(buffer, options.momentum());
      if (options.nesterov()) whole = part.add(whole, options.momentum());
    }
    const double own = share(group);
    return own == 1 ? whole : whole * own;
  }

  // The decayed gradient's product with a direction.
  double slope_along(const TensorVector& direction) {
    TensorVector own;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      own.push_back(decayed(i));
    }
    return optimizer_.over_ranks(inner_product(own, direction));
  }

  ProbedCurvature curvature_along(
      const TensorVector& direction, double slope, double step) {
    // Decay adds to slope and curvature; the closure knows nothing of it.
    double decay_slope = 0;
    double decay_bend = 0;
    for (std::size_t i = 0; i < direction.size(); ++i) {
      const double decay = coupled_decay(i);
      if (!direction[i].defined() || decay == 0) continue;
      const at::Tensor& d = direction[i];
      decay_slope +=
          decay * inner_product({update_.parameters[i].detach()}, {d});
      decay_bend += decay * inner_product({d}, {d});
    }
    if (decays()) {
      decay_slope = optimizer_.over_ranks(decay_slope);
      decay_bend = optimizer_.over_ranks(decay_bend);
    }
    const double there = loss_at(direction, step);
    const double fall = step * (slope - decay_slope);
    const double rounding = kLossDigits * epsilon_of(update_.loss) *
                            std::max(std::abs(loss_), std::abs(there));
    return {
        2 * (there - loss_ + fall) / (step * step) + decay_bend,
        2 * rounding / (step * step)};
  }

  double loss_at(const TensorVector& direction, double step) {
    ++optimizer_.extra_losses_;
    if (optimizer_.reduction() == nullptr) {
      return nearby().loss(direction, step);
    }
    RankShare share;
    share.numbers = {0};
    share.failure = optimizer_.reduction()->attempt(
        [&] { share.numbers = {nearby().loss(direction, step)}; });
    return average({}, share, *optimizer_.reduction()).numbers[0];
  }

  TensorVector gradients_at(const TensorVector& direction, double step) {
    ++optimizer_.extra_gradients_;
    if (optimizer_.reduction() == nullptr) {
      return nearby().gradients(direction, step);
    }
    RankShare share;
    share.failure = optimizer_.reduction()->attempt(
        [&] { share.tensors = nearby().gradients(direction, step); });
    return average(update_.parameters, share, *optimizer_.reduction()).tensors;
  }

  // How the gradient, decay with it, changes on a step down a direction.
  TensorVector change_along(const TensorVector& direction, double step) {
    TensorVector change =
        difference(gradients_at(direction, step), update_.gradients);
    for (std::size_t i = 0; i < change.size(); ++i) {
      const double decay = coupled_decay(i);
      if (change[i].defined() && decay != 0) {
        change[i].sub_(direction[i], decay * step);
      }
    }
    return change;
  }

  detail::DisplacedLoss& nearby() {
    TORCH_CHECK(
        nearby_.has_value(),
        kAutoSGD,
        ": ",
        optimizer_.policy_->name(),
        " asks for a measurement in an update for which due() was false");
    return *nearby_;
  }

  AutoSGD& optimizer_;
  Update& update_;
  // The closure's.
  double loss_;
  std::optional<double> whole_loss_;
  std::optional<detail::DisplacedLoss> nearby_;
  TensorVector gradient_;
  TensorVector direction_;
  std::optional<double> square_;
  std::optional<double> slope_;
  // The policy's vector as it was, once a product is asked for.
  TensorVector kept_;
};

double AutoSGD::Probe::averaged_product(double weight) {
  if (kept_.empty()) {
    for (const auto& [group, position] : update_.places) {
      kept_.push_back(optimizer_.group_state(group).slots[kVector][position]);
    }
  }
  TensorVector vector;
  TensorVector known;
  TensorVector drawn;
  // Drawn on the CPU, so that it is the same everywhere.
  auto generator = at::detail::createCPUGenerator(0);
  for (std::size_t i = 0; i < update_.parameters.size(); ++i) {
    const auto [group, position] = update_.places[i];
    at::Tensor part = optimizer_.group_state(group).slots[kVector][position];
    if (!update_.gradients[i].defined()) {
      vector.emplace_back();
      continue;
    }
    if (part.defined()) {
      known.push_back(part);
    } else {
      part = new_state(update_.parameters[i]);
      part.copy_(
          at::randn(part.sizes(), generator, at::TensorOptions(at::kDouble)));
      drawn.push_back(part);
    }
    vector.push_back(part);
  }
  if (optimizer_.reduction() != nullptr && !drawn.empty()) {
    broadcast_state(drawn, *optimizer_.reduction());
  }
  if (!known.empty() && !drawn.empty()) {
    // The length of what is known is the curvature: what joins may not drown
    // it.
    const double new_length = global_norm(drawn).item<double>();
    const double old_length = global_norm(known).item<double>();
    for (at::Tensor& part : drawn) {
      if (new_length > 0) part.mul_(kNewShare * old_length / new_length);
    }
  }
  const double length =
      optimizer_.over_ranks(global_norm(defined(vector)).item<double>());
  const double size = checked(
      optimizer_.over_ranks(global_norm(update_.parameters).item<double>()));
  if (!(length > 0)) return 0;
  const double step = kDifferenceShare * (size > 0 ? size : 1.0) / length;
  // DisplacedLoss goes down a direction.
  const TensorVector change = change_along(vector, -step);
  // H v / |v|
  const double scale = 1 / (step * length);
  TensorVector next(vector.size());
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!vector[i].defined()) continue;
    next[i] = vector[i] * (1 - weight);
    if (change[i].defined()) next[i].add_(change[i], weight * scale);
  }
  const double found =
      optimizer_.over_ranks(global_norm(defined(next)).item<double>());
  // A vector of zeros, or one that is not finite, would stay so.
  if (!std::isfinite(found) || found == 0) return found;
  for (std::size_t i = 0; i < next.size(); ++i) {
    const auto [group, position] = update_.places[i];
    if (next[i].defined()) {
      optimizer_.group_state(group).slots[kVector][position] = next[i];
    }
  }
  return found;
}

void AutoSGD::prepare(Update& update) {
  for (std::size_t i = 0; i < update.parameters.size(); ++i) {
    TORCH_CHECK(
        is_single_or_double(update.parameters[i].scalar_type()),
        kAutoSGD,
        ": parameters must be of Float or Double, got ",
        c10::toString(update.parameters[i].scalar_type()),
        " in group ",
        std::to_string(update.places[i].group),
        ": a probe's step is less than half precision can hold");
  }
  update.wants_random = policy_->due();
}

void AutoSGD::check_loss(const at::Tensor& loss) const {
  TORCH_CHECK(
      is_single_or_double(loss.scalar_type()),
      kAutoSGD,
      ": the loss must be of Float or Double, got ",
      c10::toString(loss.scalar_type()),
      ": curvature is told from differences of losses");
}

CommonNumbers AutoSGD::common_numbers() const {
  CommonNumbers all{
      {"whether a measurement is due", policy_->due() ? 1.0 : 0.0}};
  for (const auto& [name, value] : policy_->numbers()) {
    all.emplace_back(policy_->name() + "'s " + name, value);
  }
  const auto state = policy_->state();
  for (std::size_t i = 0; i < state.size(); ++i) {
    all.emplace_back(
        policy_->name() + "'s state " + std::to_string(i), state[i]);
  }
  return all;
}

// What the policy says; nothing where the update, with its decay, is not
// finite. Then, and where something throws, all is as it was.
std::optional<double> AutoSGD::next_rate(
    Update& update, const LossClosure& closure) {
  Probe probe(*this, update, closure);
  std::unique_ptr<StepSizePolicy> before = policy_->clone();
  const int64_t losses = extra_losses_;
  const int64_t gradients = extra_gradients_;
  const auto put_back = [&] {
    policy_ = std::move(before);
    probe.put_back();
    extra_losses_ = losses;
    extra_gradients_ = gradients;
  };
  try {
    const double rate = policy_->next_rate(probe);
    TORCH_CHECK(
        std::isfinite(rate) && rate >= 0,
        kAutoSGD,
        ": ",
        policy_->name(),
        " says a rate of ",
        detail::number_text(rate),
        ", which must be finite and >= 0");
    return rate;
  } catch (const Probe::NotFinite&) {
    put_back();
    return std::nullopt;
  } catch (...) {
    put_back();
    throw;
  }
}

at::Tensor AutoSGD::step(LossClosure closure) {
  Update update;
  if (!begin(update, closure)) return update.loss;
  const c10::AutoGradMode no_grad(false);
  const auto said = next_rate(update, closure);
  if (!said) {
    skip(update);
    return update.loss;
  }
  const double rate = *said;
  if (cut_if_long(update)) {
    ++cut_;
    policy_->gradient_was_cut();
  }
  std::vector<double> rates;
  // At 0 nothing is known yet, and no buffer is to fill.
  for (std::size_t g = 0; rate > 0 && g < param_groups().size(); ++g) {
    rates.push_back(options_of(g).lr() * rate);
  }
  finish(update, rates);
  return update.loss;
}

void AutoSGD::save_counters(torch::serialize::OutputArchive& archive) const {
  detail::write_value(archive, "policy", *policy_);
  detail::write_int(archive, "extra_losses", extra_losses_);
  detail::write_int(archive, "extra_gradients", extra_gradients_);
  detail::write_int(archive, "cut_steps", cut_);
  MeasuredSGD::save_counters(archive);
}

std::function<void()> AutoSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto policy =
      detail::read_value(archive, kAutoSGD, "policy", "policy", *policy_);
  const auto losses = detail::read_int(archive, kAutoSGD, "extra_losses");
  const auto extra = detail::read_int(archive, kAutoSGD, "extra_gradients");
  const auto cut = detail::read_int(archive, kAutoSGD, "cut_steps");
  const auto take_norms = MeasuredSGD::read_counters(archive);
  return [this, policy, losses, extra, cut, take_norms] {
    policy_ = policy->clone();
    extra_losses_ = losses;
    extra_gradients_ = extra;
    cut_ = cut;
    take_norms();
  };
}

}  // namespace stepsize
