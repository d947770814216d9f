#pragma once

#include <stepsize/lr_scheduler/momentum_access.h>
#include <torch/optim/optimizer.h>

#include <cstddef>
#include <vector>

namespace stepsize::detail {

/// Writes into an optimizer's groups that are undone unless keep() is called:
/// a setter of the user's may throw half way.
class GroupWrites {
 public:
  explicit GroupWrites(torch::optim::Optimizer& optimizer)
      : optimizer_(optimizer) {}
  GroupWrites(const GroupWrites&) = delete;
  GroupWrites& operator=(const GroupWrites&) = delete;
  ~GroupWrites();

  /// The group must have a momentum that `access` knows. `access` must outlive
  /// this.
  void set_momentum(
      const MomentumAccess& access, std::size_t group, double momentum);
  void set_lrs(const std::vector<double>& lrs);

  void keep() { undo_.clear(); }

 private:
  struct Undo {
    std::size_t group;
    const MomentumAccess* access;  // a null pointer: the rate
    double value;
  };

  torch::optim::Optimizer& optimizer_;
  std::vector<Undo> undo_;
};

}  // namespace stepsize::detail
