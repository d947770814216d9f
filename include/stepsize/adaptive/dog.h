#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace stepsize {

namespace detail {
struct DoGNumbers;
}

/// Options of DoG, named and preset as in its authors' code. All but rate and
/// decay are the same in all groups.
class DoGOptions : public ListedOptions<DoGOptions> {
 public:
  /// `lr`: factor of the rate that is found, finite and >= 0; the paper's c.
  /// Its authors advise against another value than 1.
  DoGOptions(double lr = 1);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// The first distance is reps_rel (1 + |p0|), the paper's r_epsilon; finite
  /// and > 0. 1e-4 where the model has batch normalisation.
  TORCH_ARG(double, reps_rel) = 1e-6;
  /// Added to the sum of squared gradients; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Rate of the first update, times lr, in the place of reps_rel; finite and
  /// >= 0, 0: none.
  TORCH_ARG(double, init_eta) = 0;
  /// Added to the gradient; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// A rate for each parameter, of its own distance and gradients (LDoG).
  TORCH_ARG(bool, layer_wise) = false;

 public:
  static const OptionList<DoGOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// DoG, distance over gradients (Ivgi, Hinder and Carmon, DoG is SGD's Best
/// Friend, 2023, equation 2): gradient descent with the rate
///
///   r = max(r, |p - p0|)    G = G + |g|^2    eta = lr r / sqrt(G)
///
/// p0 being the start, r = reps_rel (1 + |p0|) and G = eps at first, and the
/// norms those of all parameters of all groups that have a gradient; with
/// layer_wise those of each parameter. A gradient of another scale gives the
/// same path, but for eps. The theory is of an average of the iterates, and the
/// last one is seldom the best.
///
/// Cost a step on a CPU: 24 bytes moved a float32 parameter, in one pass for
/// the norms and one for the update; one buffer (float32 for half-precision
/// parameters).
class DoG : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  DoG(std::vector<at::Tensor> parameters, const DoGOptions& options = {});
  DoG(const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const DoGOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// The rate of the last update, that of one parameter of the group where it
  /// is layer_wise; 0 before the first.
  double current_lr(std::size_t group = 0, std::size_t index = 0) const;
  /// r and G of the last update; 0 before the first.
  double max_distance(std::size_t group = 0, std::size_t index = 0) const;
  double squared_gradients(std::size_t group = 0, std::size_t index = 0) const;

 protected:
  bool has_deciding_counters() const override { return true; }

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  /// What the loops do, by tensor operations, as on a device without them: the
  /// sums, and one parameter's update.
  static at::Tensor sums_by_operations(
      const at::Tensor& parameter,
      const at::Tensor& gradient,
      const at::Tensor& start,
      const detail::DoGNumbers& numbers);
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const at::Tensor& start,
      const detail::DoGNumbers& numbers);

 private:
  /// What a rate is made of; zeros before the first update.
  struct Block {
    double distance = 0;
    double squares = 0;
    double eta = 0;
  };

  const DoGOptions& options_of(std::size_t group) const;
  /// `parts`: squares of the norms of start, distance and gradient.
  static Block renewed(
      Block block, const double* parts, const DoGOptions& options);
  std::vector<Block> renewed_blocks(
      const std::vector<ParameterUpdate>& updates,
      std::vector<double> parts,
      const DoGOptions& options);
  Block block_of(std::size_t group, std::size_t index) const;
  /// A parameter's, which is kept as an extra.
  Block layer_of(std::size_t group, std::size_t index) const;

  Block whole_;  ///< of all parameters, unless each has its own
};

}  // namespace stepsize
