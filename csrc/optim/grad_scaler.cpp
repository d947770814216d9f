#include <stepsize/optim/grad_scaler.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <typeinfo>
#include <unordered_set>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/core/named_options.h"
#include "csrc/core/overlap.h"
#include "csrc/kernels/unscale.h"

namespace stepsize {

using torch::optim::Optimizer;

namespace {

constexpr char kGradScaler[] = "GradScaler";
constexpr char kScalerFormatKey[] = "stepsize_grad_scaler_format";
constexpr double kSmallestScale = std::numeric_limits<float>::min();

constexpr char kScaleRule[] = "a positive normal number of float32";
bool is_scale(double value) {
  return value >= kSmallestScale && value <= std::numeric_limits<float>::max();
}

at::Tensor scale_tensor(double value) {
  return at::scalar_tensor(value, at::kFloat);
}

at::Tensor count_tensor(int64_t value) {
  return at::scalar_tensor(value, at::kLong);
}

std::string optimizer_name(const Optimizer& optimizer) {
  if (const auto* const own = dynamic_cast<const IndexedOptimizer*>(&optimizer))
    return own->kind();
  return c10::demangle(typeid(optimizer).name());
}

detail::NamedOptions named(const GradScalerOptions& options) {
  return detail::NamedOptions::parse(
      std::string(kGradScaler) + "(" +
      GradScalerOptions::option_list().describe(options) + ")");
}

// What unscale_() writes to, each once. A gradient that cannot be written, as
// one that is expanded, or shares memory with another gives way to a copy.
std::vector<at::Tensor> writable_gradients(Optimizer& optimizer) {
  const c10::AutoGradMode no_grad(false);
  std::vector<at::Tensor> all;
  std::unordered_set<const void*> seen;
  std::unordered_set<const void*> memory;
  for (auto& group : optimizer.param_groups()) {
    for (at::Tensor& parameter : group.params()) {
      at::Tensor gradient = parameter.grad();
      if (!gradient.defined() ||
          !seen.insert(gradient.unsafeGetTensorImpl()).second) {
        continue;
      }
      if (gradient.is_sparse()) {
        // Duplicates may stand there: their sum is scaled as they are.
        all.push_back(gradient._values());
        continue;
      }
      if (gradient._is_zerotensor() || gradient.is_neg() ||
          gradient.is_inference() || detail::may_overlap(gradient) ||
          (gradient.numel() > 0 &&
           !memory.insert(gradient.data_ptr()).second)) {
        gradient =
            at::empty(gradient.sizes(), gradient.options()).copy_(gradient);
        parameter.mutable_grad() = gradient;
      }
      all.push_back(gradient);
    }
  }
  return all;
}

// Refuses what unscale_() cannot do, before it does anything.
void check_unscalable(const Optimizer& optimizer) {
  const auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t i = 0; i < groups[g].params().size(); ++i) {
      const at::Tensor& gradient = groups[g].params()[i].grad();
      if (!gradient.defined()) continue;
      const at::ScalarType type = gradient.scalar_type();
      TORCH_CHECK(
          type != at::kHalf,
          kGradScaler,
          ": unscale_: the gradient of parameter ",
          i,
          " of group ",
          g,
          " is of float16, and without the scale it would lose what is below "
          "6e-8. Keep parameters in float32 and let Autocast cast; or step "
          "ClippedSGD or ClippedAdamW, which unscale in float32, without "
          "unscale_()");
      TORCH_CHECK(
          (gradient.layout() == at::kStrided ||
           gradient.layout() == at::kSparse) &&
              (type == at::kFloat || type == at::kDouble ||
               type == at::kBFloat16),
          kGradScaler,
          ": unscale_: the gradient of parameter ",
          i,
          " of group ",
          g,
          " must be dense or sparse COO, of float32, float64 or bfloat16, got ",
          type,
          " of layout ",
          gradient.layout());
    }
  }
}

bool has_gradient(const Optimizer& optimizer) {
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (parameter.grad().defined()) return true;
    }
  }
  return false;
}

void check_has_gradient(bool holds, const Optimizer& optimizer) {
  TORCH_CHECK(
      holds,
      kGradScaler,
      ": no parameter of this ",
      optimizer_name(optimizer),
      " has a gradient: call scale(loss).backward() before");
}

at::Tensor evaluated(const Optimizer::LossClosure& closure) {
  if (closure == nullptr) return {};
  const c10::AutoGradMode with_gradients(true);
  return closure();
}

// As an optimizer returns it after a step that is made.
at::Tensor mean_loss(const at::Tensor& loss, Reduction* reduction) {
  if (reduction == nullptr) return loss;
  RankShare share;
  if (loss.defined()) share.numbers.push_back(loss.item<double>());
  const auto means = average({}, share, *reduction).numbers;
  return means.empty() ? loss : at::scalar_tensor(means[0], loss.options());
}

}  // namespace

const OptionList<GradScalerOptions>& GradScalerOptions::option_list() {
  static const auto list =
      OptionList<GradScalerOptions>(kGradScaler)
          .option(STEPSIZE_OPTION(init_scale))
          .must_be(kScaleRule, is_scale)
          .option(STEPSIZE_OPTION(growth_factor))
          .must_be(
              "finite and > 1",
              [](double factor) { return std::isfinite(factor) && factor > 1; })
          .option(STEPSIZE_OPTION(backoff_factor))
          .must_be(
              "in (0, 1)",
              [](double factor) { return factor > 0 && factor < 1; })
          .option(STEPSIZE_OPTION(growth_interval))
          .at_least(1);
  return list;
}

GradScaler::GradScaler(const GradScalerOptions& options)
    : options_(options), growth_(count_tensor(0)), skipped_(count_tensor(0)) {
  GradScalerOptions::option_list().check(options_);
  scale_ = scale_tensor(options.init_scale());
}

void GradScaler::set_reduction(std::shared_ptr<Reduction> reduction) {
  reduction_ = std::move(reduction);
}

Reduction* GradScaler::reduction_for(const Optimizer& optimizer) const {
  const auto* const own = dynamic_cast<const IndexedOptimizer*>(&optimizer);
  return own != nullptr && own->reduction() != nullptr ? own->reduction().get()
                                                       : reduction_.get();
}

at::Tensor GradScaler::scale(const at::Tensor& output) const {
  TORCH_CHECK(
      output.defined(), kGradScaler, ": scale: the tensor is undefined");
  if (!options_.enabled()) return output;
  // A host that does not wait for a copy to itself reads what was there before.
  return output.mul(
      scale_.to(output.device(), /*non_blocking=*/!output.device().is_cpu()));
}

void GradScaler::check_ready(
    const Optimizer& optimizer, const char* call) const {
  const auto found = records_.find(&optimizer);
  TORCH_CHECK(
      found == records_.end() || found->second.stage != Stage::kStepped,
      kGradScaler,
      ": ",
      call,
      ": this ",
      optimizer_name(optimizer),
      " has been stepped since the last update(): call update() once after "
      "all optimizers have been stepped");
}

at::Tensor GradScaler::unscaled(Optimizer& optimizer) const {
  const at::Tensor found =
      detail::unscale_each_(writable_gradients(optimizer), scale_);
  Reduction* const reduction = reduction_for(optimizer);
  return reduction != nullptr
             ? at::scalar_tensor(reduction->any(found.item<bool>()), at::kBool)
             : found;
}

void GradScaler::unscale_(Optimizer& optimizer) {
  if (!options_.enabled()) return;
  check_ready(optimizer, "unscale_");
  Reduction* const reduction = reduction_for(optimizer);
  const auto known = records_.find(&optimizer);
  TORCH_CHECK(
      known == records_.end() || known->second.stage != Stage::kUnscaled,
      kGradScaler,
      ": unscale_: the gradients of this ",
      optimizer_name(optimizer),
      " have been unscaled since the last update()");
  const auto check = [&] {
    check_unscalable(optimizer);
    // With other ranks they may have some.
    check_has_gradient(
        reduction != nullptr || has_gradient(optimizer), optimizer);
  };
  if (reduction != nullptr) {
    reduction->together(check);
  } else {
    check();
  }
  const at::Tensor found = unscaled(optimizer);
  Record& record = records_[&optimizer];
  record.found = found;
  record.stage = Stage::kUnscaled;
}

at::Tensor GradScaler::step(
    Optimizer& optimizer, const Optimizer::LossClosure& closure) {
  if (!options_.enabled()) return optimizer.step(closure);
  check_ready(optimizer, "step");
  const auto known = records_.find(&optimizer);
  const bool is_unscaled =
      known != records_.end() && known->second.stage == Stage::kUnscaled;
  TORCH_CHECK(
      closure == nullptr || !is_unscaled,
      kGradScaler,
      ": step: a closure computes gradients that unscale_() has not seen: call "
      "step() without one after it");
  const OptimizerTraits* const traits = find_traits(optimizer);
  TORCH_CHECK(
      traits == nullptr || !traits->wants_graph(),
      kGradScaler,
      ": step: ",
      optimizer_name(optimizer),
      " calls backward() by itself, on a loss that is not scaled: step it "
      "without a scaler, in bfloat16 or float32");
  auto* const clipped = dynamic_cast<ClippedOptimizer*>(&optimizer);
  const bool folds = clipped != nullptr && !is_unscaled &&
                     clipped->clip_rule() == nullptr &&
                     (reduction_ == nullptr || clipped->reduction() != nullptr);
  return folds ? step_clipped(*clipped, closure)
               : step_unscaled(optimizer, closure);
}

void GradScaler::note_step(Record& record, const at::Tensor& left_out) {
  const at::Tensor one = left_out.to(at::kLong);
  record.skipped =
      record.skipped.defined() ? record.skipped.to(one.device()).add(one) : one;
  skipped_ = skipped_.to(one.device()).add(one);
  record.stage = Stage::kStepped;
}

at::Tensor GradScaler::step_clipped(
    ClippedOptimizer& optimizer, const Optimizer::LossClosure& closure) {
  struct Scaled {
    explicit Scaled(ClippedOptimizer& clipped, const at::Tensor& scale)
        : own(clipped) {
      own.left_out_.reset();
      own.scale_ = scale;
    }
    ~Scaled() { own.scale_.reset(); }
    ClippedOptimizer& own;
  };
  at::Tensor loss;
  {
    const Scaled scaled(optimizer, scale_);
    loss = optimizer.step(closure);
  }
  check_has_gradient(optimizer.left_out_.defined(), optimizer);
  Record& record = records_[&optimizer];
  record.found = optimizer.left_out_;
  note_step(record, record.found);
  return loss;
}

at::Tensor GradScaler::step_unscaled(
    Optimizer& optimizer, const Optimizer::LossClosure& closure) {
  Reduction* const reduction = reduction_for(optimizer);
  at::Tensor loss;
  if (closure != nullptr) {
    const auto evaluate = [&] { loss = evaluated(closure); };
    if (reduction != nullptr) {
      reduction->together(evaluate);
    } else {
      evaluate();
    }
  }
  if (records_[&optimizer].stage == Stage::kReady) unscale_(optimizer);
  // Where step() throws the gradients stay unscaled, and known to be.
  if (records_[&optimizer].found.item<bool>()) {
    Record& record = records_[&optimizer];
    note_step(record, record.found);
    return mean_loss(loss, reduction);
  }
  at::Tensor found_later;
  if (closure == nullptr) {
    optimizer.step();
  } else {
    bool is_first = true;
    loss = optimizer.step([&] {
      if (is_first) {
        is_first = false;
        return loss;
      }
      const at::Tensor next = closure();
      check_unscalable(optimizer);
      const at::Tensor found =
          detail::unscale_each_(writable_gradients(optimizer), scale_);
      found_later = found_later.defined()
                        ? found_later.logical_or(found.to(found_later.device()))
                        : found;
      return next;
    });
  }
  if (closure != nullptr && reduction != nullptr) {
    const bool here = found_later.defined() && found_later.item<bool>();
    found_later = at::scalar_tensor(reduction->any(here), at::kBool);
  }
  Record& record = records_[&optimizer];
  note_step(record, record.found);
  if (found_later.defined()) {
    record.found =
        found_later.logical_or(record.found.to(found_later.device()));
  }
  return loss;
}

void GradScaler::update() {
  if (!options_.enabled()) return;
  at::Tensor found;
  for (const auto& entry : records_) {
    const at::Tensor& own = entry.second.found;
    if (!own.defined()) continue;
    found = found.defined() ? found.logical_or(own.to(found.device())) : own;
  }
  TORCH_CHECK(
      found.defined(),
      kGradScaler,
      ": update: no optimizer has been stepped since the last update()");
  const c10::AutoGradMode no_grad(false);
  // LibTorch's operator for this has no kernel for a CPU before 2.3.
  const at::Device device = found.device();
  const at::ScalarType wide = device.is_mps() ? at::kFloat : at::kDouble;
  const at::Tensor scale = scale_.to(device);
  const at::Tensor good = growth_.to(device).add(1);
  const at::Tensor is_due = good.ge(options_.growth_interval());
  const at::Tensor grown =
      scale.to(wide).mul(options_.growth_factor()).to(at::kFloat);
  const at::Tensor shrunk = scale.to(wide)
                                .mul(options_.backoff_factor())
                                .to(at::kFloat)
                                .clamp_min(kSmallestScale);
  const at::Tensor grows = is_due.logical_and(at::isfinite(grown));
  scale_ = at::where(found, shrunk, at::where(grows, grown, scale));
  growth_ = good.mul(found.logical_or(is_due).logical_not());
  begin_iteration();
}

void GradScaler::update(double new_scale) {
  detail::check_option(
      is_scale(new_scale), kGradScaler, "new_scale", kScaleRule, new_scale);
  if (!options_.enabled()) return;
  scale_ = scale_tensor(new_scale);
  begin_iteration();
}

void GradScaler::begin_iteration() {
  for (auto& entry : records_) {
    entry.second.stage = Stage::kReady;
    entry.second.found.reset();
  }
}

double GradScaler::scale() const {
  return options_.enabled() ? scale_.item<double>() : 1;
}

int64_t GradScaler::growth_tracker() const { return growth_.item<int64_t>(); }

int64_t GradScaler::skipped_steps() const { return skipped_.item<int64_t>(); }

int64_t GradScaler::skipped_steps(const Optimizer& optimizer) const {
  const auto found = records_.find(&optimizer);
  return found != records_.end() && found->second.skipped.defined()
             ? found->second.skipped.item<int64_t>()
             : 0;
}

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive, const GradScaler& scaler) {
  for (const auto& entry : scaler.records_) {
    TORCH_CHECK(
        entry.second.stage == GradScaler::Stage::kReady,
        kGradScaler,
        ": a save must not come between step() or unscale_() and update()");
  }
  detail::write_int(archive, kScalerFormatKey, 1);
  torch::serialize::OutputArchive options(archive.compilation_unit());
  GradScalerOptions::option_list().write(options, scaler.options_);
  archive.write("options", options);
  detail::write_double(archive, "scale", scaler.scale_.item<double>());
  detail::write_int(archive, "growth_tracker", scaler.growth_tracker());
  detail::write_int(archive, "skipped_steps", scaler.skipped_steps());
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, GradScaler& scaler) {
  scaler.load(archive);
  return archive;
}

std::function<void()> GradScaler::keep_options() {
  return [this, options = options_] { options_ = options; };
}

std::vector<std::string> GradScaler::load(
    torch::serialize::InputArchive& archive, OptionsFrom from) {
  c10::IValue format;
  torch::serialize::InputArchive list;
  TORCH_CHECK(
      archive.try_read(kScalerFormatKey, format) && format.isInt() &&
          format.toInt() == 1 && archive.try_read("options", list),
      kGradScaler,
      ": the archive holds no scaler of this version of the format");
  GradScalerOptions of_file = options_;
  GradScalerOptions::option_list().read(list, of_file);
  const auto differences =
      detail::option_differences(named(of_file), named(options_));
  TORCH_CHECK(
      differences.empty() || from != OptionsFrom::kMustAgree,
      kGradScaler,
      ": ",
      detail::texts_of(differences));
  const double scale = detail::read_double(archive, kGradScaler, "scale");
  detail::check_option(
      is_scale(scale),
      kGradScaler,
      "'scale' of the archive",
      kScaleRule,
      scale);
  const int64_t growth =
      detail::read_int(archive, kGradScaler, "growth_tracker");
  const int64_t skipped =
      detail::read_int(archive, kGradScaler, "skipped_steps");
  if (from == OptionsFrom::kFile) options_ = of_file;
  scale_ = scale_tensor(scale);
  growth_ = count_tensor(growth);
  skipped_ = count_tensor(skipped);
  begin_iteration();
  std::vector<std::string> texts;
  for (const auto& difference : differences) texts.push_back(difference.text);
  return texts;
}

}  // namespace stepsize
