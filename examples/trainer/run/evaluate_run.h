#pragma once

#include "examples/trainer/cli/options.h"
#include "examples/trainer/run/run_text.h"

namespace stepsize::trainer {

/// Tests the model of command.evaluate, a checkpoint of a run, on the test
/// images of that run, which must be the ones that it had, says what comes out,
/// and writes its weights where command.options.export_file asks for them.
/// Returns the exit status. Throws as load_checkpoint() does for a file that is
/// damaged, and as check_data() for other images.
int evaluate_checkpoint(const CommandLine& command, const Console& console);

}  // namespace stepsize::trainer
