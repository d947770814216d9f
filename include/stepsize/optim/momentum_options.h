#pragma once

namespace stepsize {

/// Options with a momentum that a scheduler may cycle: CyclicLR and OneCycleLR
/// find it without being told. For Adam's kin it is beta1.
class MomentumOptions {
 public:
  virtual ~MomentumOptions() = default;
  virtual double cycled_momentum() const = 0;
  virtual void set_cycled_momentum(double momentum) = 0;
};

}  // namespace stepsize
