#include <stepsize/optim/rollback_sgd.h>

#include <stepsize/kernels/sgd.h>

#include <exception>
#include <unordered_set>
#include <utility>

#include "csrc/optim/common_options.h"
#include "csrc/optim/rank_evaluation.h"
#include "csrc/optim/rollback_engine.h"
#include "csrc/optim/sgd_group_step.h"

namespace stepsize {
namespace {

constexpr char kRollbackSGD[] = "RollbackSGD";

const RollbackSGDOptions& own(const torch::optim::OptimizerOptions& options) {
  return static_cast<const RollbackSGDOptions&>(options);
}

}  // namespace

RollbackSGDOptions::RollbackSGDOptions(double lr) : lr_(lr) {}

const OptionList<RollbackSGDOptions>& RollbackSGDOptions::option_list() {
  static const auto list =
      detail::sgd_options<RollbackSGDOptions>(kRollbackSGD)
          .include(
              RollbackOptions::option_list(),
              [](auto& own) -> auto& { return own.rollback(); });
  return list;
}

const OptimizerTraits& RollbackSGDOptions::optimizer_traits() {
  using torch::optim::Optimizer;
  static const OptimizerTraits traits =
      OptimizerTraits::of<RollbackSGD>(option_list())
          .gradient(GradientUse::kDescends)
          .closure_calls(ClosureCalls::kTwiceAtMost)
          .state({"momentum_buffer"})
          .skipped_steps([](const Optimizer& optimizer) {
            return static_cast<const RollbackSGD&>(optimizer)
                .rule()
                .non_finite();
          })
          .steps_back([](const Optimizer& optimizer) {
            const auto& rule =
                static_cast<const RollbackSGD&>(optimizer).rule();
            return rule.rollbacks() + rule.gave_up();
          });
  return traits;
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
    : IndexedOptimizer(std::make_unique<RollbackSGDOptions>(defaults)) {
  add_groups(groups);
  engine_ = std::make_unique<detail::RollbackEngine>(
      kRollbackSGD, *this, own(param_groups().front().options()).rollback());
  use_options();
}

RollbackSGD::~RollbackSGD() = default;

// Groups may have joined, and options may have been changed or loaded.
void RollbackSGD::use_options() {
  const auto& first = own(param_groups().front().options()).rollback();
  if (!RollbackOptions::option_list().equal(engine_->rule().options(), first)) {
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
  SGDHyperparameters numbers = detail::sgd_numbers(options);
  numbers.lr *= scale;
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
