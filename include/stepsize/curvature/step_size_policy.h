#pragma once

#include <stepsize/state/listed.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// A second derivative of the loss along a line, told from losses.
struct ProbedCurvature {
  double value;
  /// What rounding of the losses may amount to: a value below it is none.
  double resolution;
};

/// What a StepSizePolicy may ask of the batch at hand. In an update parameters
/// w move by -rate u; u is the gradient g, weight decay that is coupled with
/// it, through momentum. Where groups differ in their factor `lr`, g and u
/// below have each group's part times its share of the largest factor.
///
/// Loss, slopes, curvatures and changes are all of one function: the loss of
/// the batch plus decay / 2 |w|^2 for each parameter that has a gradient and a
/// decay that is coupled. H is its Hessian.
///
/// What is asked for is computed then, and nothing else is: that is what a
/// policy costs. With other ranks all numbers are those of the mean loss, and
/// all must ask alike.
class StepProbe {
 public:
  virtual ~StepProbe() = default;

  virtual double loss() = 0;
  /// The largest momentum of a group.
  virtual double momentum() = 0;
  /// How fast the loss falls along g, and along u; u.u. A pass over memory
  /// each.
  virtual double gradient_square() = 0;
  virtual double slope() = 0;
  virtual double update_square() = 0;
  /// g'Hg and u'Hu, from the loss at w - step g and at w - step u: one
  /// evaluation of the loss, without a gradient. Exact where the loss is a
  /// quadratic, at every step > 0.
  virtual ProbedCurvature gradient_curvature(double step) = 0;
  virtual ProbedCurvature update_curvature(double step) = 0;
  /// |g(w) - g(w - step u)| / (step |u|), for a gradient; step > 0.
  virtual double gradient_change(double step) = 0;
  /// |Psi| of a vector that is kept: Psi = (1 - weight) Psi + weight H Psi /
  /// |Psi|, a one-sided difference of gradients, for one more; in (0, 1].
  virtual double averaged_product(double weight) = 0;
};

/// How large a step is: it looks at the update at hand and says its rate. The
/// rule of the update itself (momentum, decay) is an optimizer's, AutoSGD's
/// say. A pure value; of tensors it sees what StepProbe tells.
class StepSizePolicy {
 public:
  virtual ~StepSizePolicy() = default;
  virtual std::unique_ptr<StepSizePolicy> clone() const = 0;

  /// "EdgePolicy".
  virtual std::string name() const = 0;
  /// Its options by name; the same on all ranks.
  virtual std::vector<std::pair<std::string, double>> numbers() const = 0;
  /// Goes on with options that numbers() of a policy of this name has told, so
  /// that an archive can bring them along. Throws c10::Error, and changes
  /// nothing, where one is out of range. By default none can be changed: throws
  /// where one is another than here, naming it and both values.
  virtual void set_numbers(
      const std::vector<std::pair<std::string, double>>& numbers);
  /// The same as text.
  virtual std::string describe() const = 0;

  /// Whether the coming update may be asked for more than loss and gradient.
  virtual bool due() const = 0;
  /// Told after an update whose gradient was far too long and has been cut: the
  /// rate may be too large.
  virtual void gradient_was_cut() = 0;
  /// The rate of the update at hand, finite and >= 0. 0 where nothing can be
  /// said of it yet: no step is made then. To be called once an update, with a
  /// loss and a gradient that are finite.
  virtual double next_rate(StepProbe& probe) = 0;

  /// The rate of the last update, or what a cut has left of it; 0 before the
  /// first.
  virtual double rate() const = 0;
  /// What the rate goes by, as a curvature: NaN before the first measurement.
  virtual double curvature() const = 0;

  /// The state, options aside. restore() throws c10::Error where it is none of
  /// this policy's, and changes nothing then.
  virtual std::vector<double> state() const = 0;
  virtual void restore(const std::vector<double>& state) = 0;
};

/// The base of a policy with an Options class that has an OptionList:
///
///     class MyPolicy : public ListedPolicy<MyPolicy, MyPolicyOptions> {
///       using ListedPolicy::ListedPolicy;
///
/// See Listed.
template <typename Derived, typename Options>
class ListedPolicy : public Listed<Derived, StepSizePolicy, Options> {
 public:
  using Listed<Derived, StepSizePolicy, Options>::Listed;
};

}  // namespace stepsize
