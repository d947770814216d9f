#pragma once

#include <stepsize/optim/indexed_optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace stepsize {

/// What ScheduleFreeAdamW and ScheduleFreeSGD have in common (Defazio et al.,
/// The Road Less Scheduled, 2024, equations 3 to 5). Steps are made at z, their
/// mean x is the result, and gradients are taken between them, with d the
/// direction there and w_t = t^r (largest rate so far)^weight_lr_power:
///
///   y = (1 - beta) z + beta x,  z = z - lr d,
///   x = (1 - c) x + c z,        c = w_t / (w_1 + ... + w_t)
///
/// The parameters hold y in training, as at first, and x after eval(); only z
/// is kept besides, x being z + (y - z) / beta. The rate is lr t / warmup_steps
/// in the first warmup_steps updates. A rate of 0 changes neither point. Counts
/// and weights are each parameter's own, and beta may change between updates: y
/// moves, and x stays. The archive carries the mode: save the module and the
/// optimizer in the same one.
class ScheduleFreeOptimizer : public IndexedOptimizer {
 public:
  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error in eval mode, where an option is
  /// out of range and where a gradient does not fit its parameter; nothing has
  /// been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// Has the parameters hold y, to be trained. Where they do nothing is done.
  /// Going to x and back may change y in its last bits; ScheduleFreeEvaluation
  /// puts it back as it was. Throws c10::Error, and changes nothing, where an
  /// option is out of range or a parameter has another shape or type than its
  /// state.
  void train();
  /// Has them hold the mean x, to be evaluated and shipped.
  void eval();
  bool is_training() const { return training_; }

 protected:
  bool has_deciding_counters() const override { return true; }

  /// What the mean goes by.
  struct Averaging {
    double lr;
    double beta;
    int64_t warmup_steps;
    double r;
    double weight_lr_power;
  };
  /// An update: with d the direction, y = y + pull (z - y) + push d and
  /// z = z - lr d.
  struct AveragedStep {
    double lr;
    double pull;
    double push;
  };

  explicit ScheduleFreeOptimizer(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  virtual Averaging averaging(
      const torch::optim::OptimizerOptions& options) const = 0;
  /// Makes all updates; the first kind of state is z. Throws before any.
  virtual void update_all(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<AveragedStep>& steps) = 0;

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

 private:
  friend class ScheduleFreeEvaluation;

  /// Of one parameter; `total` is the sum of the weights in units of the last.
  struct Mean {
    double total = 0;
    double lr_max = 0;
    double beta = 0;  ///< that y lies at; 0 before the first update
  };
  struct Point;

  static AveragedStep next_step(
      const Averaging& options, int64_t step, Mean& mean);
  Mean mean_of(const at::Tensor& parameter) const;
  std::vector<Point> points();

  std::unordered_map<const void*, Mean> means_;
  bool training_ = true;
};

}  // namespace stepsize
