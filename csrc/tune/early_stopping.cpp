#include <stepsize/tune/early_stopping.h>

#include <ATen/core/grad_mode.h>
#include <torch/nn/module.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/core/named_options.h"
#include "csrc/core/overlap.h"
#include "csrc/state/metric_order.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kEarlyStopping[] = "EarlyStopping";
constexpr char kStoppingFormatKey[] = "stepsize_early_stopping_format";

detail::NamedOptions list_of(const EarlyStoppingOptions& options) {
  const bool is_rel = options.min_delta_mode() == MinDeltaMode::kRel;
  detail::NamedOptions list(kEarlyStopping);
  list.add("mode", detail::text_of(options.mode()), "min");
  list.add("patience", std::to_string(options.patience()), "10");
  list.add("min_delta", detail::number_text(options.min_delta()), "0");
  list.add("min_delta_mode", is_rel ? "rel" : "abs", "abs");
  return list;
}

// The way back; what is no such option is refused.
EarlyStoppingOptions options_of(const detail::NamedOptions& list) {
  EarlyStoppingOptions options;
  const auto read = [&list](const char* name, const auto& take) {
    const auto* option = list.find(name);
    TORCH_CHECK(
        option == nullptr || take(option->value),
        kEarlyStopping,
        ": ",
        name,
        " of the file, ",
        option == nullptr ? "" : option->value,
        ", cannot be taken from there");
  };
  const auto number = [](const std::string& text, auto& value) {
    const auto parsed = detail::number_in<std::decay_t<decltype(value)>>(text);
    if (parsed) value = *parsed;
    return parsed.has_value();
  };
  read("mode", [&](const std::string& text) {
    options.mode(text == "max" ? MetricMode::kMax : MetricMode::kMin);
    return text == "min" || text == "max";
  });
  read("patience", [&](const std::string& text) {
    return number(text, options.patience());
  });
  read("min_delta", [&](const std::string& text) {
    return number(text, options.min_delta());
  });
  read("min_delta_mode", [&](const std::string& text) {
    options.min_delta_mode(
        text == "rel" ? MinDeltaMode::kRel : MinDeltaMode::kAbs);
    return text == "rel" || text == "abs";
  });
  options.describe();
  return options;
}

std::vector<at::Tensor> weights_of(const torch::nn::Module& module) {
  std::vector<at::Tensor> tensors;
  for (const auto& tensors_of : {module.parameters(), module.buffers()}) {
    for (const at::Tensor& tensor : tensors_of) {
      if (tensor.defined()) tensors.push_back(tensor);
    }
  }
  TORCH_CHECK(
      !tensors.empty(),
      kEarlyStopping,
      ": the module has no parameters or buffers");
  return tensors;
}

bool is_alike(const at::Tensor& left, const at::Tensor& right) {
  return left.sizes() == right.sizes() &&
         left.scalar_type() == right.scalar_type();
}

bool are_alike(
    const std::vector<at::Tensor>& left, const std::vector<at::Tensor>& right) {
  bool alike = left.size() == right.size();
  for (std::size_t i = 0; alike && i < left.size(); ++i) {
    alike =
        left[i].defined() && right[i].defined() && is_alike(left[i], right[i]);
  }
  return alike;
}

// Reuses the memory of the copies that fit. All new memory is there before the
// first copy is written: where there is not enough, the copies stay as they
// are.
void copy_weights(
    const std::vector<at::Tensor>& from, std::vector<at::Tensor>& copies) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> fresh(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    const bool fits = i < copies.size() && is_alike(copies[i], from[i]) &&
                      copies[i].device() == from[i].device();
    if (!fits) fresh[i] = from[i].detach().clone();
  }
  copies.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (fresh[i].defined()) {
      copies[i] = fresh[i];
    } else {
      copies[i].copy_(from[i]);
    }
  }
}

}  // namespace

std::string EarlyStoppingOptions::describe() const {
  detail::check_option(
      patience_ >= 0, kEarlyStopping, "patience", ">= 0", patience_);
  detail::check_option(
      std::isfinite(min_delta_) && min_delta_ >= 0,
      kEarlyStopping,
      "min_delta",
      "finite and >= 0",
      min_delta_);
  const bool is_rel = min_delta_mode_ == MinDeltaMode::kRel;
  detail::check_option(
      !is_rel || min_delta_ < 1,
      kEarlyStopping,
      "min_delta",
      "below 1 where it is relative",
      min_delta_);
  return list_of(*this).text();
}

EarlyStopping::EarlyStopping(const EarlyStoppingOptions& options)
    : options_(options), best_(detail::worst_metric(options.mode())) {
  options_.describe();
}

EarlyStopping::EarlyStopping(
    std::vector<at::Tensor> tensors, const EarlyStoppingOptions& options)
    : EarlyStopping(options) {
  TORCH_CHECK(
      !tensors.empty(), kEarlyStopping, ": the list of tensors is empty");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TORCH_CHECK(
        tensors[i].defined(),
        kEarlyStopping,
        ": tensors must be defined; number ",
        i,
        " is not");
  }
  tensors_ = std::move(tensors);
}

EarlyStopping::EarlyStopping(
    const torch::nn::Module& module, const EarlyStoppingOptions& options)
    : EarlyStopping(weights_of(module), options) {}

bool EarlyStopping::is_better(double metric) const {
  if (best_step_ < 0) return true;
  const double size =
      options_.min_delta_mode() == MinDeltaMode::kRel ? std::abs(best_) : 1;
  const double delta = options_.min_delta() * size;
  const double limit =
      options_.mode() == MetricMode::kMin ? best_ - delta : best_ + delta;
  return detail::is_better(options_.mode(), metric, limit);
}

bool EarlyStopping::step(double metric) {
  if (!std::isfinite(metric)) {
    ++non_finite_steps_;
    ++num_bad_steps_;
  } else if (is_better(metric)) {
    copy_weights(tensors_, best_tensors_);
    best_ = metric;
    best_step_ = steps_;
    num_bad_steps_ = 0;
  } else {
    ++num_bad_steps_;
  }
  ++steps_;
  return stopped();
}

void EarlyStopping::restore_best() const {
  TORCH_CHECK(
      !tensors_.empty(),
      kEarlyStopping,
      ": there are no weights to restore: give it a module or tensors");
  TORCH_CHECK(
      best_step_ >= 0,
      kEarlyStopping,
      ": there is no best step to restore: none of ",
      std::to_string(steps_),
      " metrics was finite");
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    TORCH_CHECK(
        is_alike(tensors_[i], best_tensors_[i]),
        kEarlyStopping,
        ": tensor ",
        i,
        " has changed its shape or type since the best step: it is ",
        tensors_[i].scalar_type(),
        " of ",
        tensors_[i].sizes(),
        " and was ",
        best_tensors_[i].scalar_type(),
        " of ",
        best_tensors_[i].sizes());
  }
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    detail::put_back(tensors_[i], best_tensors_[i]);
  }
}

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive, const EarlyStopping& stopping) {
  detail::write_int(archive, kStoppingFormatKey, 1);
  detail::write_string(archive, "options", stopping.options_.describe());
  detail::write_double(archive, "best", stopping.best_);
  // From 1, so that "none" is no negative number.
  detail::write_int(archive, "best_count", stopping.best_step_ + 1);
  detail::write_int(archive, "num_bad_steps", stopping.num_bad_steps_);
  detail::write_int(archive, "steps", stopping.steps_);
  detail::write_int(archive, "non_finite_steps", stopping.non_finite_steps_);
  detail::write_int(
      archive, "weights", static_cast<int64_t>(stopping.tensors_.size()));
  detail::write_tensors(archive, "best_tensors", stopping.best_tensors_);
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, EarlyStopping& stopping) {
  stopping.load(archive);
  return archive;
}

std::function<void()> EarlyStopping::keep_options() {
  return [this, options = options_] { options_ = options; };
}

std::vector<std::string> EarlyStopping::load(
    torch::serialize::InputArchive& archive, OptionsFrom from) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kStoppingFormatKey, format) && format.isInt() &&
          format.toInt() == 1,
      kEarlyStopping,
      ": the archive holds no early stopping of this version of the format");
  const auto saved = detail::NamedOptions::parse(
      detail::read_string(archive, kEarlyStopping, "options"));
  const auto differences = detail::option_differences(saved, list_of(options_));
  TORCH_CHECK(
      differences.empty() || from != OptionsFrom::kMustAgree,
      kEarlyStopping,
      ": ",
      detail::texts_of(differences));
  const EarlyStoppingOptions of_file = options_of(saved);
  TORCH_CHECK(
      from != OptionsFrom::kProgram || of_file.mode() == options_.mode(),
      kEarlyStopping,
      ": mode is another in the file, whose best metric says nothing here");
  const EarlyStoppingOptions options =
      from == OptionsFrom::kFile ? of_file : options_;
  const double best = detail::read_double(archive, kEarlyStopping, "best");
  const int64_t steps = detail::read_int(archive, kEarlyStopping, "steps");
  const int64_t best_count =
      detail::read_int(archive, kEarlyStopping, "best_count", steps);
  const int64_t bad =
      detail::read_int(archive, kEarlyStopping, "num_bad_steps", steps);
  const int64_t non_finite =
      detail::read_int(archive, kEarlyStopping, "non_finite_steps", steps);
  const bool has_best = best_count > 0;
  detail::check_option(
      has_best ? std::isfinite(best)
               : best == detail::worst_metric(options.mode()),
      kEarlyStopping,
      "'best' of the archive",
      has_best ? "finite" : "infinite before the first best step",
      best);
  const auto count = static_cast<int64_t>(tensors_.size());
  const auto weights =
      detail::read_tensors(archive, kEarlyStopping, "best_tensors");
  TORCH_CHECK(
      detail::read_int(archive, kEarlyStopping, "weights") == count &&
          (has_best ? are_alike(weights, tensors_) : weights.empty()),
      kEarlyStopping,
      ": the archive does not fit the weights: their number, shapes or types "
      "are others");
  // Copies of their own, on the weights' devices: the archive's memory is not
  // to be written.
  std::vector<at::Tensor> copies;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    copies.push_back(weights[i].to(tensors_[i].device()).clone());
  }
  best_ = best;
  best_step_ = best_count - 1;
  num_bad_steps_ = bad;
  steps_ = steps;
  non_finite_steps_ = non_finite;
  best_tensors_ = std::move(copies);
  options_ = options;
  std::vector<std::string> texts;
  for (const auto& difference : differences) texts.push_back(difference.text);
  return texts;
}

}  // namespace stepsize
