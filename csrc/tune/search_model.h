#pragma once

#include <stepsize/tune/search_space.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "csrc/tune/gaussian_process.h"

namespace stepsize::detail {

/// A trial as the model sees it.
struct SearchObservation {
  std::vector<double> values;
  /// NaN or infinite where it has diverged; nothing while it runs.
  std::optional<double> loss;
  /// Of the loss; 0 where it is not known.
  double variance = 0;
};

/// What the model expects of the loss along one number.
struct SearchCurve {
  std::vector<double> values;
  std::vector<double> means;  ///< of the loss, or its median where the model
                              ///< is of its logarithm
  std::vector<double> lows;   ///< and a band of 95 %, without noise
  std::vector<double> highs;
};

/// A Gaussian process of the loss over the places of the numbers; of its
/// logarithm where all losses are > 0. Its prior mean is a bowl, which rises to
/// the ends of each number (Snoek et al., Scalable Bayesian Optimization Using
/// Deep Neural Networks, 2015). What is above the median of the first trials,
/// which lie all over the space, by more than the best is below it, counts as
/// that high, and so does what has diverged: how bad a bad place is says
/// nothing of the good ones. Both are bounds, which the process takes for
/// uncertain.
class SearchModel {
 public:
  /// One observation at the least has a finite loss. `first`: how many of them
  /// were not proposed by a model.
  SearchModel(
      const SearchSpace& space,
      const std::vector<SearchObservation>& observations,
      std::size_t first);

  static bool can_be_made(const std::vector<SearchObservation>& observations);

  /// The numbers of the next trial: where the expected improvement on the best
  /// mean is highest, among quasi-random places and those around the best ones,
  /// refined. Trials that run count as if they had come out as expected.
  std::vector<double> propose(std::uint64_t seed) const;

  /// Share of the variance of the mean that each number alone explains, over
  /// the whole space (Hutter, Hoos, Leyton-Brown, An efficient approach for
  /// assessing hyperparameter importance, 2014, section 3); zeros where it does
  /// not vary.
  std::vector<double> importance() const;

  /// Along a number, the others at some values.
  SearchCurve curve(
      std::size_t number, const std::vector<double>& values) const;

 private:
  GaussianProcess::Posterior posterior_at(
      const GaussianProcess& process, const at::Tensor& places) const;
  at::Tensor bowl(const at::Tensor& places) const;
  at::Tensor snapped(const at::Tensor& places) const;
  double loss_of(double target) const;

  const SearchSpace& space_;
  bool is_log_ = false;
  at::Tensor places_;   // of trials that have ended, [n, d]
  at::Tensor running_;  // of the others, [m, d]
  at::Tensor targets_;
  at::Tensor variances_;
  double bowl_height_ = 1;
  bool varies_ = false;
  std::unique_ptr<GaussianProcess> process_;
};

}  // namespace stepsize::detail
