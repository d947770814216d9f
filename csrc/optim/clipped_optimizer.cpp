#include <stepsize/optim/clipped_optimizer.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/optim/value_archive.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kClipRule[] = "clip_rule";

int64_t with_unread(int64_t count, const at::Tensor& unread) {
  return unread.defined() ? count + unread.item<int64_t>() : count;
}

void add_unread(at::Tensor& unread, const at::Tensor& condition) {
  const at::Tensor one = condition.to(at::kLong);
  unread = unread.defined() ? unread.to(one.device()).add(one) : one;
}

// Processors may differ in the last bit, and must not decide otherwise: the
// norm becomes the mean over ranks.
void agree(Reduction& reduction, double& fraction, double& unit) {
  // So much smaller, the sum of norms beyond the range of a double is in it.
  constexpr int kSmaller = 64;
  const double mean = reduction.mean(fraction * unit);
  if (std::isfinite(mean)) {
    fraction = mean;
    unit = 1;
    return;
  }
  fraction = reduction.mean(std::scalbn(fraction, std::ilogb(unit) - kSmaller));
  unit = std::ldexp(1.0, kSmaller);
}

// A number, or the first of two whose product it is, over a scale. Undefined
// counts as 1.
at::Tensor over_scale(const at::Tensor& number, const at::Tensor& scale) {
  if (!number.defined()) return scale.to(at::kCPU, at::kDouble).reciprocal();
  const at::Tensor there = scale.to(number.device(), number.scalar_type());
  return number.dim() == 0 ? number.div(there)
                           : at::stack({number[0].div(there), number[1]});
}

}  // namespace

ClippedOptimizer::ClippedOptimizer(
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(defaults)) {}

ClippedOptimizer::ClippedOptimizer(
    std::string kind,
    std::vector<std::string> slots,
    std::unique_ptr<torch::optim::OptimizerOptions> defaults)
    : IndexedOptimizer(std::move(kind), std::move(slots), std::move(defaults)) {
}

bool ClippedOptimizer::measure(
    const std::vector<at::Tensor>& gradients,
    const ClipOptions& clip,
    at::Tensor& grad_scale) {
  const bool is_wide = std::any_of(
      gradients.begin(), gradients.end(), [](const at::Tensor& gradient) {
        return gradient.scalar_type() == at::kDouble;
      });
  // Of other types the norm is a number of float64 in any case.
  at::Tensor norm = is_wide ? norm_in_parts(gradients, clip.norm_type)
                            : global_norm(gradients, clip.norm_type);
  // A scaler is looking for the largest scale: an overflow is no error.
  const bool throws =
      clip.non_finite == NonFiniteGradient::kThrow && !scale_.defined();
  const bool on_host = norm.is_cpu() || rule_ != nullptr || throws;
  if (on_host) {
    const at::Tensor here = norm.to(at::kCPU, at::kDouble);
    double fraction = (is_wide ? here[0] : here).item<double>();
    double unit = is_wide ? here[1].item<double>() : 1;
    if (reduction() != nullptr) {
      agree(*reduction(), fraction, unit);
    }
    if (scale_.defined()) fraction /= scale_.item<double>();
    const double value = fraction * unit;
    // A rule knows the norm as one number.
    const bool finite = std::isfinite(rule_ != nullptr ? value : fraction);
    TORCH_CHECK(
        finite || !throws,
        kind(),
        ": the norm of the gradient must be finite, got ",
        detail::number_text(value),
        "; nothing was changed");
    last_norm_ = at::scalar_tensor(value, at::kDouble);
    if (scale_.defined()) left_out_ = at::scalar_tensor(!finite, at::kBool);
    if (!finite) {
      ++skipped_;
      return false;
    }
    if (value > clip.max_norm) {
      ++clipped_;
      const at::Tensor factors = clip_coefficient(
          at::tensor({fraction, unit}, at::kDouble), clip.max_norm);
      // A second factor costs a pass on a device.
      grad_scale = factors[1].item<double>() == 1 ? factors[0] : factors;
    }
    if (scale_.defined()) grad_scale = over_scale(grad_scale, scale_);
    if (grad_scale.defined()) grad_scale = grad_scale.to(norm.device());
    return true;
  }
  if (scale_.defined()) norm = over_scale(norm, scale_);
  // Not finite where the norm is not, so that the kernel changes nothing.
  grad_scale = clip_coefficient(norm, clip.max_norm);
  if (scale_.defined()) grad_scale = over_scale(grad_scale, scale_);
  const at::Tensor finite = (is_wide ? norm[0] : norm).isfinite();
  last_norm_ = is_wide ? norm.prod() : norm;
  left_out_ = finite.logical_not();
  add_unread(skipped_there_, left_out_);
  add_unread(clipped_there_, last_norm_.gt(clip.max_norm).logical_and(finite));
  return true;
}

void ClippedOptimizer::set_clip_rule(const ClipRule& rule) {
  rule_ = rule.clone();
}

bool ClippedOptimizer::clip_by(
    ClipRule& rule,
    std::vector<std::vector<at::Tensor>>& gradients,
    at::Tensor& grad_scale) const {
  ClipInput input;
  input.norm = last_grad_norm();
  input.over_ranks = [this](const std::vector<double>& numbers) {
    if (reduction() == nullptr) return numbers;
    RankShare share;
    share.numbers = numbers;
    return average({}, share, *reduction()).numbers;
  };
  std::size_t position = 0;
  for (std::size_t g = 0; g < gradients.size(); ++g) {
    for (std::size_t i = 0; i < gradients[g].size(); ++i, ++position) {
      if (!gradients[g][i].defined()) continue;
      input.parameters.push_back(param_groups()[g].params()[i]);
      input.gradients.push_back(gradients[g][i]);
      input.positions.push_back(position);
      input.groups.push_back(g);
    }
  }
  const ClippedGradients clipped = rule.clip(input);
  TORCH_CHECK(
      clipped.gradients.size() == input.gradients.size() &&
          std::isfinite(clipped.scale) && clipped.scale >= 0,
      kind(),
      ": ",
      rule.name(),
      " must return a gradient for each of ",
      input.gradients.size(),
      " and a scale that is finite and >= 0, got ",
      clipped.gradients.size(),
      " and ",
      detail::number_text(clipped.scale));
  bool changed = clipped.scale != 1;
  std::size_t next = 0;
  for (std::size_t g = 0; g < gradients.size(); ++g) {
    for (std::size_t i = 0; i < gradients[g].size(); ++i) {
      at::Tensor& gradient = gradients[g][i];
      if (!gradient.defined()) continue;
      const at::Tensor& left = clipped.gradients[next++];
      TORCH_CHECK(
          left.defined(),
          kind(),
          ": ",
          rule.name(),
          " has left no gradient of parameter ",
          i,
          " of group ",
          g);
      check_gradient(g, i, left);
      changed = changed || !gradient.is_same(left);
      gradient = left;
    }
  }
  if (clipped.scale != 1) {
    grad_scale = at::scalar_tensor(clipped.scale, at::kDouble)
                     .to(input.gradients.front().device());
  }
  return changed;
}

at::Tensor ClippedOptimizer::step(LossClosure closure) {
  // No group is stepped where one is wrong.
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<at::Tensor> all;
  gradients.reserve(param_groups().size());
  for (const auto& group : param_groups()) {
    auto& own = gradients.emplace_back();
    own.reserve(group.params().size());
    for (const at::Tensor& parameter : group.params()) {
      const at::Tensor& gradient = parameter.grad();
      own.push_back(gradient);
      if (gradient.defined()) {
        all.push_back(gradient);
      }
    }
  }
  at::Tensor grad_scale;
  ClipOptions clip = clip_options(param_groups().front().options());
  if (rule_ != nullptr) {
    clip.max_norm = std::numeric_limits<double>::infinity();
    clip.norm_type = NormType::kTwo;
  }
  if (all.empty()) return loss;
  const bool unmeasured = clip.non_finite == NonFiniteGradient::kUnchecked &&
                          rule_ == nullptr && !scale_.defined();
  if (unmeasured) {
    last_norm_.reset();
  } else if (!measure(all, clip, grad_scale)) {
    return loss;
  }
  if (rule_ != nullptr) {
    const std::shared_ptr<ClipRule> rule = rule_->clone();
    if (clip_by(*rule, gradients, grad_scale)) ++clipped_;
    rule_ = rule;
  }
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    update_group(i, param_groups()[i].params(), gradients[i], grad_scale);
  }
  return loss;
}

double ClippedOptimizer::last_grad_norm() const {
  return last_norm_.defined() ? last_norm_.item<double>()
                              : std::numeric_limits<double>::quiet_NaN();
}

int64_t ClippedOptimizer::clipped_steps() const {
  return with_unread(clipped_, clipped_there_);
}

int64_t ClippedOptimizer::skipped_steps() const {
  return with_unread(skipped_, skipped_there_);
}

void ClippedOptimizer::save_counters(
    torch::serialize::OutputArchive& archive) const {
  detail::write_int(archive, "clipped_steps", clipped_steps());
  detail::write_int(archive, "skipped_steps", skipped_steps());
  detail::write_double(archive, "last_grad_norm", last_grad_norm());
  if (rule_ != nullptr) detail::write_value(archive, kClipRule, *rule_);
}

std::function<void()> ClippedOptimizer::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto clipped = detail::read_int(archive, kind(), "clipped_steps");
  const auto skipped = detail::read_int(archive, kind(), "skipped_steps");
  const auto norm = detail::read_double(archive, kind(), "last_grad_norm");
  std::shared_ptr<const ClipRule> rule;
  c10::IValue there;
  if (rule_ != nullptr) {
    rule = detail::read_value(archive, kind(), kClipRule, "clip rule", *rule_);
  } else {
    TORCH_CHECK(
        !archive.try_read(kClipRule, there),
        kind(),
        ": the archive was written with a clip rule, and here is none: call "
        "set_clip_rule() before");
  }
  return [this, clipped, skipped, norm, rule] {
    rule_ = rule;
    clipped_ = clipped;
    skipped_ = skipped;
    clipped_there_.reset();
    skipped_there_.reset();
    last_norm_ = at::scalar_tensor(norm, at::kDouble);
  };
}

}  // namespace stepsize
