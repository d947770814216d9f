#pragma once

#include <stepsize/optim/indexed_optimizer.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

namespace stepsize {

namespace detail {
struct GroupRates;
}

/// What Prodigy and DAdaptAdam have in common: Adam whose rate is lr times d,
/// an estimate from below of the distance from the start to the solution. It
/// goes by sums over all parameters of all groups, and never falls. The groups'
/// rates weigh against the largest of them; a group at rate 0 is left alone.
/// Not a base of your own classes.
class DistanceAdam : public IndexedOptimizer {
 public:
  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// The estimate that the coming update goes by; d0 at first.
  double d() const;
  /// That of the last update, and whether it grew by it. NaN before the first.
  double last_d() const { return last_d_; }
  bool d_grew() const { return d() > last_d_; }

 protected:
  /// The estimate, and the mean over updates that is in its numerator.
  struct Estimate {
    double d;
    double numerator;
  };

  explicit DistanceAdam(
      std::unique_ptr<torch::optim::OptimizerOptions> defaults);

  bool has_deciding_counters() const override { return true; }
  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  /// The number of the coming update, from 1.
  int64_t coming_step() const { return updates_ + 1; }

  virtual double d0(const torch::optim::OptimizerOptions& options) const = 0;
  /// Makes the updates, of which none is of a group at rate 0, and returns the
  /// two sums that the estimate goes by: over all parameters.
  virtual std::vector<double> update_all(
      std::vector<ParameterUpdate>& updates,
      const detail::GroupRates& rates) = 0;
  /// The estimate after an update with these sums.
  virtual Estimate renewed(
      const Estimate& last,
      const std::vector<double>& sums,
      const detail::GroupRates& rates) = 0;

 private:
  double d_ = 0;  ///< 0 until there is an estimate
  double last_d_ = std::numeric_limits<double>::quiet_NaN();
  double numerator_ = 0;
  int64_t updates_ = 0;
};

}  // namespace stepsize
