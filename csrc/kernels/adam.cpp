#include <stepsize/kernels/adam.h>

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/kernels/aten_adam.h"
#include "csrc/kernels/compact_operands.h"
#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/device_lists.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/prefetch.h"

namespace stepsize {
namespace {

using detail::Operands;

constexpr detail::Signature kAdamSignature = {
    "adam_step",
    {"parameter", "gradient", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}};

void check_beta(const char* name, double value) {
  TORCH_CHECK(
      value >= 0.0 && value < 1.0,
      "adam_step: ",
      name,
      " must be in [0, 1), got ",
      value);
}

void check_adam_numbers(const AdamHyperparameters& h) {
  detail::check_not_negative("adam_step", "lr", h.lr);
  check_beta("beta1", h.beta1);
  check_beta("beta2", h.beta2);
  detail::check_not_negative("adam_step", "eps", h.eps);
  detail::check_not_negative("adam_step", "weight_decay", h.weight_decay);
}

/// The numbers of each step that parameters are at, mostly one and the same,
/// and of both types that steps are computed in.
class NumbersByStep {
 public:
  NumbersByStep(const AdamHyperparameters& h) : h_(h) {}

  size_t index_of(int64_t step, bool is_double) {
    size_t i = steps_.size();
    while (i > 0 && steps_[i - 1] != step) --i;
    if (i == 0) {
      steps_.push_back(step);
      numbers_.resize(numbers_.size() + 2, numbers_at(step));
      i = steps_.size();
    }
    return 2 * (i - 1) + (is_double ? 1 : 0);
  }

  void set_scale(const detail::Scale& scale) {
    const detail::Scale scales[2] = {
        scale.for_type(false), scale.for_type(true)};
    for (size_t i = 0; i < numbers_.size(); ++i) {
      const detail::Scale& own = scales[i % 2];
      numbers_[i].coarse = own.coarse;
      numbers_[i].scale = h_.maximize ? -own.fine : own.fine;
    }
  }

  const detail::AdamNumbers& operator[](size_t index) const {
    return numbers_[index];
  }

 private:
  detail::AdamNumbers numbers_at(int64_t step) const {
    const bool decoupled = h_.decoupled_weight_decay;
    const detail::BiasCorrection correction = detail::bias_correction(h_, step);
    detail::AdamNumbers numbers = {};
    numbers.beta1 = h_.beta1;
    numbers.beta2 = h_.beta2;
    numbers.eps = h_.eps;
    numbers.decay = decoupled ? 0.0 : h_.weight_decay;
    numbers.keep = decoupled ? 1.0 - h_.lr * h_.weight_decay : 1.0;
    numbers.coarse = 1.0;
    numbers.scale = 1.0;
    numbers.mask = 1.0;
    numbers.step_size = correction.step_size;
    numbers.inverse_root = correction.inverse_root;
    return numbers;
  }

  const AdamHyperparameters& h_;
  std::vector<int64_t> steps_;
  std::vector<detail::AdamNumbers> numbers_;
};

/// Either the first two loops or the last two are there.
struct AdamSlot {
  detail::AdamLoop loop;
  detail::AdamCountLoop count;
  size_t numbers;
  detail::CompactLoop<detail::AdamNumbers> compact;
  detail::CompactCountLoop compact_count;
};

detail::AdamArrays arrays_of(void* const* arrays) {
  return {arrays[0], arrays[1], arrays[2], arrays[3], arrays[4]};
}

// The factor of a parameter of whose elements so many are moved.
double mask_factor(int64_t moved, int64_t elements) {
  // The authors' own bound.
  constexpr double kLeastShare = 1e-3;
  const double share =
      static_cast<double>(moved) / static_cast<double>(elements);
  return 1.0 / std::max(share, kLeastShare);
}

}  // namespace

void adam_step(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList exp_avgs,
    at::TensorList exp_avg_sqs,
    at::TensorList max_exp_avg_sqs,
    at::IntArrayRef steps,
    const AdamHyperparameters& hyperparameters,
    const at::Tensor& grad_scale) {
  const bool amsgrad = hyperparameters.amsgrad;
  const bool cautious = hyperparameters.cautious;
  check_adam_numbers(hyperparameters);
  detail::check_length("adam_step", "grads", grads.size(), params.size());
  detail::check_length("adam_step", "exp_avgs", exp_avgs.size(), params.size());
  detail::check_length(
      "adam_step", "exp_avg_sqs", exp_avg_sqs.size(), params.size());
  detail::check_length(
      "adam_step",
      amsgrad ? "max_exp_avg_sqs with amsgrad"
              : "max_exp_avg_sqs without amsgrad",
      max_exp_avg_sqs.size(),
      amsgrad ? params.size() : 0);
  detail::check_length("adam_step", "steps", steps.size(), params.size());
  detail::check_scale("adam_step", grad_scale);

  const at::NoGradGuard no_grad;
  const detail::LoopTable& table = detail::loops();
  const bool coupled = hyperparameters.weight_decay != 0.0 &&
                       !hyperparameters.decoupled_weight_decay;
  const auto operands_at = [&](size_t i) {
    return Operands{
        {&params[i],
         &grads[i],
         &exp_avgs[i],
         &exp_avg_sqs[i],
         amsgrad ? &max_exp_avg_sqs[i] : nullptr},
        amsgrad ? 5 : 4};
  };
  NumbersByStep numbers(hyperparameters);
  const auto seed_at = [&](size_t i) {
    return detail::rounding_seed(hyperparameters.rounding_seed, steps[i], i);
  };
  const auto arrays_at = [&](size_t i, void* const* arrays) {
    return detail::compact_arrays(arrays, params[i], seed_at(i));
  };
  detail::CpuWork<AdamSlot> cpu(params.size(), detail::kCodeBlock);
  detail::DeviceLists elsewhere;
  std::vector<size_t> compact_elsewhere;
  for (size_t i = 0; i < params.size(); ++i) {
    for (const at::TensorList list :
         {params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs}) {
      detail::prefetch_tensor(list, i);
    }
    if (!grads[i].defined()) continue;
    const Operands operands = operands_at(i);
    const auto form =
        detail::compact_form_of(operands, hyperparameters.stochastic_rounding);
    if (form) {
      detail::check_compact_operands(
          kAdamSignature, static_cast<int64_t>(i), operands);
    } else {
      detail::check_operands(kAdamSignature, static_cast<int64_t>(i), operands);
    }
    TORCH_CHECK(
        steps[i] >= 1, "adam_step: step ", i, " must be >= 1, got ", steps[i]);
    if (!params[i].is_cpu()) {
      if (form) {
        compact_elsewhere.push_back(i);
      } else {
        elsewhere.add(operands, steps[i]);
      }
      continue;
    }
    const size_t own_numbers =
        numbers.index_of(steps[i], params[i].scalar_type() == at::kDouble);
    if (form) {
      cpu.add_compact(
          operands,
          i,
          {nullptr,
           nullptr,
           own_numbers,
           table.compact_adam[*form][coupled][amsgrad][cautious],
           table.compact_adam_count[*form]});
      continue;
    }
    const detail::Format format = detail::format_of(operands);
    cpu.add(
        operands,
        i,
        {table.adam[format][coupled][amsgrad][cautious],
         table.adam_count[format][coupled],
         own_numbers,
         nullptr,
         nullptr});
  }

  const auto step_elsewhere = [&](const detail::DeviceLists& lists) {
    for (const detail::DeviceList& list : lists.lists()) {
      detail::aten_adam_step(
          list,
          list.tag,
          hyperparameters,
          grad_scale,
          cautious ? detail::Route::kForeach : detail::fused_route_of(list));
    }
  };
  step_elsewhere(elsewhere);
  for (const size_t i : compact_elsewhere) {
    const detail::FullState full(operands_at(i), seed_at(i));
    detail::DeviceLists one;
    one.add(full.operands(), steps[i]);
    step_elsewhere(one);
    full.write_back(grad_scale);
  }
  if (cpu.empty()) return;
  const detail::Scale scale = detail::read_scale(grad_scale);
  if (!scale.is_usable()) return;
  numbers.set_scale(scale);
  std::vector<std::atomic<int64_t>> moved(cautious ? params.size() : 0);
  if (cautious) {
    cpu.read([&](const AdamSlot& slot,
                 size_t index,
                 void* const* arrays,
                 int64_t begin,
                 int64_t end) {
      const detail::AdamNumbers& own = numbers[slot.numbers];
      moved[index] +=
          slot.compact_count != nullptr
              ? slot.compact_count(arrays_at(index, arrays), begin, end, own)
              : slot.count(arrays_of(arrays), begin, end, own);
    });
  }
  cpu.run(
      [&](const AdamSlot& slot,
          size_t index,
          void* const* arrays,
          int64_t begin,
          int64_t end) {
        detail::AdamNumbers own = numbers[slot.numbers];
        if (cautious) {
          own.mask = mask_factor(moved[index], params[index].numel());
        }
        if (slot.compact != nullptr) {
          slot.compact(arrays_at(index, arrays), begin, end, own);
        } else {
          slot.loop(arrays_of(arrays), begin, end, own);
        }
      },
      operands_at);
}

}  // namespace stepsize
