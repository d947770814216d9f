#pragma once

#include <iosfwd>

#include "options.h"

namespace stepsize::trainer {

/// Exit statuses of a run that was started.
constexpr int kDone = 0;
constexpr int kBadInput = 1;
constexpr int kDiverged = 3;

/// Does what the options ask for: reads the data, says what is odd about the
/// schedule, trains, and leaves the log and the plots in options.out. What
/// cannot be used is found before the training starts.
///
/// Reports to `out` (with a progress bar where `bar`), warnings and errors to
/// `err`. Returns an exit status; throws nothing.
int run(
    const TrainOptions& options,
    std::ostream& out,
    std::ostream& err,
    bool bar);

}  // namespace stepsize::trainer
