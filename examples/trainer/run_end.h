#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>

#include "run_checkpoints.h"
#include "run_log.h"
#include "run_setup.h"
#include "training.h"

namespace stepsize::trainer {

/// "stepsize-train: MESSAGE", with its rank where the process is not the first.
void say_as(
    const TrainOptions& options, const std::string& message, std::ostream& err);

/// Draws the pictures after a failure, whose message a second one must not
/// hide.
void draw_what_there_is(const RunLog& log, std::ostream& err);

// How a run has ended, for a person; each returns the exit status.

/// By a signal. `what`: how far the run came (" after update 74 of 141").
int report_stop(
    const TrainOptions& options,
    const std::string& what,
    const RunCheckpoints& checkpoints,
    int signal,
    std::ostream& err);

/// By a hopeless loss. Removes the checkpoint with the weights that gave it.
/// `recovers`: the best checkpoint may be of use.
int report_divergence(
    const TrainOptions& options,
    const DivergedError& error,
    const RunLog& log,
    bool recovers,
    RunCheckpoints& checkpoints,
    std::ostream& err);

/// By the loss of another process. `save` saves what all had done, false where
/// checkpoints.error() says why not; null where this process may not write. Of
/// more than two such a one does not speak of checkpoints: another may be about
/// to save one.
int report_lost_rank(
    const TrainOptions& options,
    const RankLostError& error,
    const std::function<bool()>& save,
    const RunCheckpoints& checkpoints,
    std::ostream& err);

/// As it should.
int report_end(
    const RunSetup& setup,
    const RunLog& log,
    const EarlyStopping* stopping,
    const Updater& updater,
    const RunCheckpoints& checkpoints,
    double seconds,
    const Console& console);

}  // namespace stepsize::trainer
