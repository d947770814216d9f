#pragma once

#include <iosfwd>

#include "examples/trainer/cli/options.h"

namespace stepsize::trainer {

/// Exit statuses of a run that was started. One that a signal ended has
/// kSignal and the signal's number, as shells have it.
constexpr int kDone = 0;
constexpr int kBadInput = 1;
constexpr int kDiverged = 3;
constexpr int kRankLost = 4;
constexpr int kSignal = 128;

/// Does what the command line asks for: reads the data, says what is odd about
/// the schedule, trains, and leaves log, plots and checkpoints in options.out,
/// where it goes on from the last checkpoint with command.resume. What cannot
/// be used is found before the training starts. Ctrl-C and SIGTERM are waited
/// for once the data is read, and end the run in good order.
///
/// Of several processes, that of rank 0 writes all this, and the others say
/// nothing but why they fail. Where one of them is lost, the others end with
/// kRankLost, and the last complete update is saved.
///
/// Reports to `out` (with a progress bar where `bar`), warnings and errors to
/// `err`. Returns an exit status; throws nothing.
int run(
    const CommandLine& command, std::ostream& out, std::ostream& err, bool bar);

}  // namespace stepsize::trainer
