#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/report/line_plot.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <string>
#include <vector>

namespace stepsize::lab {

/// What an experiment reports to: prints one row for each thing that theory
/// says and was measured, writes pictures, and knows whether all rows hold.
class Lab {
 public:
  /// Prints the title and the head of the table. Pictures go to `folder`, which
  /// is made if there is none.
  Lab(const std::string& title, std::string folder);

  /// A row that holds if |measured - theory| <= tolerance.
  void expect_near(
      const std::string& what,
      double theory,
      double measured,
      double tolerance);
  /// A row that holds if lo <= measured <= hi.
  void expect_between(
      const std::string& what, double lo, double hi, double measured);
  /// A row of numbers that nothing is said about.
  void note(const std::string& what, double measured);

  /// Writes the picture to NAME.svg in the folder.
  void draw(const std::string& name, const LinePlot& plot) const;

  /// Whether every row so far holds. NaN never does.
  bool all_hold() const { return all_hold_; }

 private:
  void row(
      const std::string& what,
      const std::string& theory,
      const std::string& measured,
      const std::string& verdict);

  std::string folder_;
  bool all_hold_ = true;
};

/// The main function of an experiment, `NAME [OUT_DIR]`, on one thread: the
/// problems are too small for more. Returns 0 if every row holds, 1 if not or
/// if something is thrown, 2 for a command line of another form, 77 if the data
/// set that it needs is not installed.
int run(
    int argc,
    char** argv,
    const std::string& title,
    const std::function<void(Lab&)>& experiment);

/// The smallest and the largest of some values; NaN if one of them is, which
/// std::min_element and its like may pass over.
struct Extremes {
  double least;
  double most;
};
Extremes extremes(const std::vector<double>& values);

/// One update on the loss, with the gradient of autograd. Returns the loss of
/// before it, as the optimizer does. Not for optimizers that compute the
/// gradient themselves (PowerMethodSGD).
double update(
    torch::optim::Optimizer& optimizer,
    const std::function<at::Tensor()>& loss);

}  // namespace stepsize::lab
