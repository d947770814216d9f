#pragma once

#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>

#include "batch_source.h"
#include "course.h"
#include "image_model.h"
#include "phase_timer.h"
#include "resume.h"
#include "stop_signal.h"

namespace stepsize::trainer {

/// Whom a run reports to.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool bar;
  /// Of processes that say nothing to `err` too.
  std::ostream& all_err;
};

/// The signal that any process has received; 0: none.
class AgreedSignal {
 public:
  /// Both must outlive this; `ranks` is null where the process is alone.
  AgreedSignal(const StopSignals& own, Reduction* ranks)
      : own_(own), ranks_(ranks) {}

  /// To be asked by all of them.
  int received() {
    const int own = own_.received();
    last_ = ranks_ != nullptr ? static_cast<int>(ranks_->max(own)) : own;
    return last_;
  }
  /// The last answer.
  int last() const { return last_; }

 private:
  const StopSignals& own_;
  Reduction* ranks_;
  int last_ = 0;
};

/// What a run is made of once all that was asked for has been checked; nothing
/// is owned.
struct RunSetup {
  const RunRequest& request;
  /// Those of the request, fit to the data.
  const TrainOptions& options;
  Course& course;
  double lr;
  const std::string& data;
  std::int64_t classes;
  ImageModel& model;
  const Normalization& normalization;
  BatchSource& train;
  BatchSource& test;
  PhaseTimer& timer;
  AgreedSignal& signal;
  /// Null where this process is alone.
  const std::shared_ptr<Reduction>& ranks;

  /// Whether this process writes files.
  bool is_first() const { return options.rank == 0; }
};

}  // namespace stepsize::trainer
