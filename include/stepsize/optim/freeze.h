#pragma once

#include <torch/optim/optimizer.h>

#include <string>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize {

/// Freezes the parameters that one of the patterns matches (as those of
/// ParamGroups do; of a shared parameter any name will do): they want no
/// gradient any more, and the gradient that is there is taken away. So no
/// optimizer moves them, not by momentum or weight decay either, and its state
/// of them stays as it is. They stay in the optimizer's groups, so that
/// checkpoints fit.
///
/// Returns the names of those that were not frozen before. Throws c10::Error
/// where a pattern matches nothing; nothing has changed then.
///
/// The running means of a frozen BatchNorm still move: call eval() on it too.
std::vector<std::string> freeze(
    torch::nn::Module& module, const std::vector<std::string>& patterns);

/// The reverse: they want gradients again, and the optimizer goes on with the
/// state that it had of them. Returns the names of those that were frozen.
std::vector<std::string> unfreeze(
    torch::nn::Module& module, const std::vector<std::string>& patterns);

/// The names of the frozen parameters, in the module's order.
std::vector<std::string> frozen_parameters(const torch::nn::Module& module);

/// Which parameters of a module are frozen, as the state of a checkpoint, which
/// keeps values alone of the module itself:
///
///     FrozenState frozen(*model);
///     checkpoint.state("frozen", frozen);
///
/// A load freezes and unfreezes so that it is as it was. The module must
/// outlive this.
class FrozenState {
 public:
  explicit FrozenState(torch::nn::Module& module);

  void save(torch::serialize::OutputArchive& archive) const;
  /// Throws c10::Error where the names of the parameters are others; nothing
  /// has changed then.
  void load(torch::serialize::InputArchive& archive);

 private:
  torch::nn::Module* module_;
};

}  // namespace stepsize
