#pragma once

#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// An optimizer by its name, with the numbers that the trainer's user gives.
struct OptimizerChoice {
  /// That of an OptimizerRow.
  std::string name = "sgd";
  /// Where the optimizer finds its rate a factor of it.
  double lr = 0;
  /// beta1 for the kin of Adam.
  double momentum = 0;
  double weight_decay = 0;
  /// The longest gradient that is not clipped.
  std::optional<double> max_norm;
  /// Share of the largest stable rate, and how the rate is found: edge,
  /// sharpness, averaged-vector, secant or polyak.
  std::optional<double> safety;
  std::optional<std::string> policy;
  /// What means are kept in: float32, bfloat16 or 8bit.
  std::string state_type = "float32";
  /// Length of the way uphill.
  std::optional<double> rho;
  /// Images in a full micro-batch, to measure the gradient noise scale; 0 for
  /// not. Of no use to those that find gradients themselves.
  std::int64_t micro_batch = 0;
  /// The processes that train together; null where there is one.
  std::shared_ptr<Reduction> ranks = nullptr;
};

/// An optimizer that the trainer offers: a new one is one row more.
struct OptimizerRow {
  using Make = std::unique_ptr<TrainedOptimizer> (*)(
      ImageModel&, const OptimizerChoice&);

  std::string name;
  std::string about;  ///< in 27 characters at most
  Make make;

  // What the choice's numbers are where they are left out; nothing where the
  // optimizer has no such number.
  double lr;
  std::optional<double> momentum;
  double weight_decay;
  std::string lr_scaling = "sqrt";  ///< how the rate follows the batch
  std::string schedule = "warmup 10% > cosine 90%";
  std::optional<double> max_norm = std::nullopt;
  std::optional<double> safety = std::nullopt;
  std::optional<double> rho = std::nullopt;

  /// How it finds its rate, of which `lr` is a factor, in a word or two;
  /// empty: `lr` is the rate.
  std::string finds_rate = {};
  /// Whether it learns its rate from where `lr` was set last, so that a
  /// schedule that changes in every update leaves it nothing to learn.
  bool learns_rate = false;
  /// The optimizer that a range test is made with, where it is another.
  std::string range_test = {};
  /// Whether it comes back from a rate that is too high.
  bool recovers = false;
  /// Whether a loss comes with its graph, and the optimizer calls backward().
  bool wants_graph = false;
  /// Whether what it tests and ships is a mean of points; its momentum, the
  /// share of the mean where gradients are taken, is above 0.
  bool averages = false;
  /// Whether its state may be kept in fewer bytes.
  bool has_state_types = false;

  /// Whether a rate that a person names is tried before the run.
  bool is_tried_first() const { return finds_rate.empty() && !recovers; }
};

/// In the order in which a person is told of them.
const std::vector<OptimizerRow>& optimizer_rows();

/// Throws c10::Error, naming all, where there is none of that name.
const OptimizerRow& optimizer_row(const std::string& name);

/// That optimizer of the model, which must outlive it. Throws c10::Error for
/// another name and for a number that is missing, out of range or of no use to
/// the optimizer.
std::unique_ptr<TrainedOptimizer> make_optimizer(
    ImageModel& model, const OptimizerChoice& choice);

}  // namespace stepsize::trainer
