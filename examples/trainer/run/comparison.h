#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {

/// What a run has left in its tables.
struct RunTables {
  std::string name;
  std::vector<StepResult> steps;    ///< step, loss and batch are read
  std::vector<EpochResult> epochs;  ///< of log.csv, all columns but the rate
};

/// Reads log.csv and steps.csv of a run, one that is still on too: a last line
/// that is not whole yet is left out. Throws std::runtime_error naming path and
/// line where a table cannot be read, lacks a column or has a cell that is no
/// number.
RunTables read_run_tables(const std::filesystem::path& folder);

/// A line a run, of at most 79 columns: epochs, best test accuracy and its
/// epoch, last test loss, and the time that training took.
std::string comparison_table(const std::vector<RunTables>& runs);

/// One SVG document: test accuracy above, losses below, over the images trained
/// on, so that runs with other batches can stand together.
std::string comparison_svg(const std::vector<RunTables>& runs);

/// Compares the runs in these folders: the table goes to `out`, the picture to
/// compare.svg in `folder`, which is made if need be; empty: the present one.
/// Returns the exit status; throws as read_run_tables() does.
int compare_runs(
    const std::vector<std::string>& folders,
    const std::filesystem::path& folder,
    std::ostream& out);

}  // namespace stepsize::trainer
