#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/tune/lr_range_test.h>

#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// The closure that the optimizer's step gets: one or more passes of the user's
/// closure, each with cleared gradients, and the mean of what they give.
class LossPass {
 public:
  /// `keeps_graph`: the optimizer calls backward itself, on what it is given.
  /// `averages`: it averages over ranks itself. `reduction`: null where there
  /// are none.
  LossPass(
      const RangeTestClosure& closure,
      const LRRangeTestOptions& options,
      const TensorVector& parameters,
      bool keeps_graph,
      bool averages,
      Reduction* reduction);

  /// To be called before a step.
  void begin() { first_loss_.reset(); }

  at::Tensor operator()();

  /// To be called after it. Returns the loss of the first pass since begin(),
  /// which is that of before the update; with other ranks the mean. Throws
  /// c10::Error where the step has not called the closure, or no rank's closure
  /// has left a gradient.
  double end();

  /// The relative step of the coarsest type that a loss has had.
  double precision() const { return precision_; }

 private:
  at::Tensor evaluate();
  at::Tensor mean_of_passes();
  void clear_gradients();
  void see_gradients();
  bool has_gradient() const;
  void add_gradients(TensorVector& sums);
  void set_mean_gradients(const TensorVector& sums);

  const RangeTestClosure& closure_;
  bool calls_backward_;
  bool keeps_graph_;
  bool averages_;
  int64_t passes_;
  TensorVector parameters_;
  Reduction* reduction_;
  at::Tensor first_loss_;
  bool seen_gradient_ = false;
  double precision_ = 0;
};

/// The relative step between neighbouring numbers of the tensor's type.
double precision_of(const at::Tensor& loss);

/// Throws c10::Error, naming what it is of, unless it is one number.
void check_is_loss(const at::Tensor& loss, const char* whose);

}  // namespace stepsize::detail
