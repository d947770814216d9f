#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

namespace stepsize {

/// How CyclicLR scales its triangles, n counting the cycles from 1.
enum class CyclicMode : std::uint8_t {
  kTriangular,   ///< 1
  kTriangular2,  ///< 1 / 2^(n - 1)
  kExpRange,     ///< gamma^t
};

/// What CyclicLR's scale_fn is a function of.
enum class CyclicScaleMode : std::uint8_t {
  kCycle,       ///< n, the cycle's number from 1
  kIterations,  ///< t
};

/// Options of CyclicLR.
class CyclicLROptions {
 public:
  /// The foot and the peak of the triangles, for all groups or one a group.
  CyclicLROptions(PerGroup base_lr, PerGroup max_lr)
      : base_lr_(std::move(base_lr)), max_lr_(std::move(max_lr)) {}

  /// The foot; finite and >= 0.
  TORCH_ARG(PerGroup, base_lr);
  /// The peak; finite and >= 0.
  TORCH_ARG(PerGroup, max_lr);
  /// Steps of the rising half; > 0. Defaults here and below: Python's.
  TORCH_ARG(int64_t, step_size_up) = 2000;
  /// Steps of the falling half; > 0; unset: as the rising one.
  TORCH_ARG(std::optional<int64_t>, step_size_down) = std::nullopt;
  TORCH_ARG(CyclicMode, mode) = CyclicMode::kTriangular;
  /// For kExpRange; in (0, 1].
  TORCH_ARG(double, gamma) = 1.0;
  /// A scale of the user's own, instead of the mode's; finite and >= 0.
  TORCH_ARG(std::function<double(double)>, scale_fn) = nullptr;
  /// What scale_fn is given.
  TORCH_ARG(CyclicScaleMode, scale_mode) = CyclicScaleMode::kCycle;
  /// Whether the momentum goes down when the rate goes up. The optimizer's
  /// options must then have one; see MomentumAccess.
  TORCH_ARG(bool, cycle_momentum) = true;
  /// The momentum at the peak; in [0, 1).
  TORCH_ARG(PerGroup, base_momentum) = 0.8;
  /// The momentum at the foot; in [0, 1).
  TORCH_ARG(PerGroup, max_momentum) = 0.9;
  /// Where the momentum of another optimizer than LibTorch's is.
  TORCH_ARG(MomentumAccess, momentum_access);

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// Triangles between base_lr and max_lr (Smith 2017, "Cyclical Learning Rates
/// for Training Neural Networks"). With x the height of the triangle at t in
/// [0, 1] and s the mode's scale,
///
///     lr = base_lr + (max_lr - base_lr) x s
///     momentum = max_momentum - (max_momentum - base_momentum) x s
///
/// Python: torch.optim.lr_scheduler.CyclicLR. A group added later has its own
/// rate for its foot, and the last group's ratio of peak and foot.
class CyclicLR : public RuleLR {
 public:
  CyclicLR(torch::optim::Optimizer& optimizer, const CyclicLROptions& options);
};

}  // namespace stepsize
