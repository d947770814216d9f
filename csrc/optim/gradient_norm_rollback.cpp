#include <stepsize/optim/gradient_norm_rollback.h>

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <utility>
#include <vector>

#include "csrc/core/archive.h"
#include "csrc/optim/rollback_engine.h"
#include "csrc/optim/rollback_options.h"

namespace stepsize {
namespace {

constexpr char kGradientNormRollback[] = "GradientNormRollback";
constexpr char kRollbackFormatKey[] = "stepsize_rollback_format";

// Multiplies the rates, and puts them back when it goes.
class ScaledRates {
 public:
  ScaledRates(torch::optim::Optimizer& optimizer, double scale)
      : optimizer_(&optimizer) {
    if (scale == 1) {
      return;
    }
    for (auto& group : optimizer.param_groups()) {
      rates_.push_back(group.options().get_lr());
      group.options().set_lr(rates_.back() * scale);
    }
  }
  ~ScaledRates() {
    for (std::size_t i = 0; i < rates_.size(); ++i) {
      optimizer_->param_groups()[i].options().set_lr(rates_[i]);
    }
  }
  ScaledRates(const ScaledRates&) = delete;
  ScaledRates& operator=(const ScaledRates&) = delete;

 private:
  torch::optim::Optimizer* optimizer_;
  std::vector<double> rates_;
};

torch::optim::Optimizer& checked(torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  if (traits == nullptr) return optimizer;
  TORCH_CHECK(
      !traits->wants_graph(),
      kGradientNormRollback,
      ": cannot guard ",
      traits->name(),
      ": its closure may not call backward()",
      traits->sets_own_rate()
          ? ", and it measures the largest stable rate itself"
          : "");
  TORCH_CHECK(
      traits->steps_back() == nullptr,
      kGradientNormRollback,
      ": cannot guard ",
      traits->name(),
      ": it takes its steps back itself");
  return optimizer;
}

}  // namespace

GradientNormRollback::GradientNormRollback(
    torch::optim::Optimizer& optimizer, const RollbackOptions& options)
    : optimizer_(&optimizer),
      engine_(std::make_unique<detail::RollbackEngine>(
          kGradientNormRollback, checked(optimizer), options)) {}

GradientNormRollback::~GradientNormRollback() = default;

at::Tensor GradientNormRollback::step(
    torch::optim::Optimizer::LossClosure closure) {
  const auto* known = dynamic_cast<const IndexedOptimizer*>(optimizer_);
  engine_->set_reduction(
      reduction_ == nullptr && known != nullptr ? known->reduction()
                                                : reduction_);
  return engine_->step(
      closure,
      [this](double scale) {
        const ScaledRates scaled(*optimizer_, scale);
        optimizer_->step();
      },
      [] {});
}

void GradientNormRollback::set_reduction(std::shared_ptr<Reduction> reduction) {
  reduction_ = std::move(reduction);
}

const RollbackRule& GradientNormRollback::rule() const {
  return engine_->rule();
}

void GradientNormRollback::forget_point() { engine_->rule().forget_point(); }

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive,
    const GradientNormRollback& guard) {
  detail::write_int(archive, kRollbackFormatKey, 1);
  RollbackOptions::option_list().write(archive, guard.rule().options());
  guard.engine_->write(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, GradientNormRollback& guard) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kRollbackFormatKey, format) && format.isInt() &&
          format.toInt() == 1,
      kGradientNormRollback,
      ": the archive holds no guard of this version of the format");
  RollbackOptions saved = guard.rule().options();
  RollbackOptions::option_list().read(archive, saved, kGradientNormRollback);
  TORCH_CHECK(
      RollbackOptions::option_list().equal(saved, guard.rule().options()),
      kGradientNormRollback,
      ": the archive is of a guard with other options");
  guard.engine_->read(archive)();
  return archive;
}

}  // namespace stepsize
