#include <stepsize/optim/rollback_sgd.h>

#include <stepsize/kernels/sgd.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <exception>
#include <unordered_set>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/optim/option_checks.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/rollback_engine.h"
#include "csrc/optim/rollback_options.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
namespace {

constexpr char kRollbackSGD[] = "RollbackSGD";

void check(const RollbackSGDOptions& options) {
  detail::check_not_negative(kRollbackSGD, "lr", options.lr());
  detail::check_share(kRollbackSGD, "momentum", options.momentum());
  detail::check_option(
      std::isfinite(options.dampening()),
      kRollbackSGD,
      "dampening",
      "finite",
      options.dampening());
  detail::check_not_negative(
      kRollbackSGD, "weight_decay", options.weight_decay());
  TORCH_CHECK(
      !options.nesterov() ||
          (options.momentum() > 0 && options.dampening() == 0),
      kRollbackSGD,
      ": nesterov wants momentum > 0 and dampening 0, got momentum ",
      detail::number_text(options.momentum()),
      " and dampening ",
      detail::number_text(options.dampening()));
  detail::check_rollback_options(kRollbackSGD, options.rollback());
}

// Checked before the base classes take them.
const RollbackSGDOptions& checked(const RollbackSGDOptions& options) {
  check(options);
  return options;
}

const RollbackSGDOptions& own(const torch::optim::OptimizerOptions& options) {
  return static_cast<const RollbackSGDOptions&>(options);
}

}  // namespace

RollbackSGDOptions::RollbackSGDOptions(double lr) : lr_(lr) {}

void RollbackSGDOptions::serialize(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "lr", lr());
  detail::write_double(archive, "momentum", momentum());
  detail::write_double(archive, "dampening", dampening());
  detail::write_double(archive, "weight_decay", weight_decay());
  detail::write_int(archive, "nesterov", nesterov() ? 1 : 0);
  detail::write_rollback_options(archive, rollback());
}

void RollbackSGDOptions::serialize(torch::serialize::InputArchive& archive) {
  RollbackSGDOptions read(detail::read_double(archive, kRollbackSGD, "lr"));
  read.momentum(detail::read_double(archive, kRollbackSGD, "momentum"));
  read.dampening(detail::read_double(archive, kRollbackSGD, "dampening"));
  read.weight_decay(detail::read_double(archive, kRollbackSGD, "weight_decay"));
  read.nesterov(detail::read_int(archive, kRollbackSGD, "nesterov", 1) == 1);
  read.rollback(detail::read_rollback_options(archive, kRollbackSGD, rollback())
                    .buffers(rollback().buffers()));
  check(read);
  *this = read;
}

RollbackSGD::RollbackSGD(
    std::vector<at::Tensor> parameters, const RollbackSGDOptions& options)
    : RollbackSGD(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

RollbackSGD::RollbackSGD(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const RollbackSGDOptions& defaults)
    : IndexedOptimizer(
          kRollbackSGD,
          {"momentum_buffer"},
          std::make_unique<RollbackSGDOptions>(checked(defaults))) {
  add_groups(groups);
  engine_ = std::make_unique<detail::RollbackEngine>(
      kRollbackSGD, *this, own(param_groups().front().options()).rollback());
  use_options();
}

RollbackSGD::~RollbackSGD() = default;

void RollbackSGD::check_options(
    const torch::optim::OptimizerOptions& options) const {
  const auto* given = dynamic_cast<const RollbackSGDOptions*>(&options);
  TORCH_CHECK(
      given != nullptr,
      kRollbackSGD,
      ": the options of a parameter group must be RollbackSGDOptions");
  check(*given);
}

void RollbackSGD::check_agreement(
    const torch::optim::OptimizerOptions& first,
    const torch::optim::OptimizerOptions& other) const {
  TORCH_CHECK(
      detail::same_rollback_numbers(
          own(first).rollback(), own(other).rollback()),
      kRollbackSGD,
      ": the numbers of rollback must be the same in all parameter groups");
}

// Groups may have joined, and options may have been changed or loaded.
void RollbackSGD::use_options() {
  const auto& first = own(param_groups().front().options()).rollback();
  if (!detail::same_rollback_numbers(engine_->rule().options(), first)) {
    engine_->rule().set_options(first);
  }
  std::unordered_set<const void*> known;
  detail::Tensors buffers;
  const auto add = [&](const RollbackOptions& options) {
    for (const at::Tensor& buffer : options.buffers()) {
      if (known.insert(buffer.unsafeGetTensorImpl()).second) {
        buffers.push_back(buffer);
      }
    }
  };
  add(own(defaults()).rollback());
  for (const auto& group : param_groups()) {
    add(own(group.options()).rollback());
  }
  engine_->set_buffers(std::move(buffers));
}

at::Tensor RollbackSGD::step(LossClosure closure) {
  // A scheduler may have set anything; no group is stepped where one is wrong.
  const std::exception_ptr refusal = detail::refusal_of(
      [this] {
        check_all_options();
        use_options();
      },
      reduction().get());
  if (refusal) {
    closure = [refusal]() -> at::Tensor { std::rethrow_exception(refusal); };
  }
  engine_->set_reduction(reduction());
  return engine_->step(
      closure,
      [this](double scale) {
        for (std::size_t g = 0; g < param_groups().size(); ++g) {
          update_group(g, scale);
        }
      },
      [this] { check_gradients(); });
}

void RollbackSGD::update_group(std::size_t group, double scale) {
  const auto& options = own(param_groups()[group].options());
  const auto& parameters = param_groups()[group].params();
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) {
    gradients.push_back(parameter.grad());
  }
  SGDHyperparameters numbers;
  numbers.lr = options.lr() * scale;
  numbers.momentum = options.momentum();
  numbers.dampening = options.dampening();
  numbers.weight_decay = options.weight_decay();
  numbers.nesterov = options.nesterov();
  detail::sgd_group_step(
      parameters, gradients, group_state(group).slots[0], numbers);
}

const RollbackRule& RollbackSGD::rule() const { return engine_->rule(); }

void RollbackSGD::forget_point() { engine_->rule().forget_point(); }

void RollbackSGD::save_counters(
    torch::serialize::OutputArchive& archive) const {
  engine_->write(archive);
}

std::function<void()> RollbackSGD::read_counters(
    torch::serialize::InputArchive& archive) {
  use_options();
  return [this, take = engine_->read(archive)] {
    use_options();
    take();
  };
}

}  // namespace stepsize
