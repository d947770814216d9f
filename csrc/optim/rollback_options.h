#pragma once

#include <stepsize/optim/rollback_options.h>
#include <stepsize/optim/rollback_rule.h>
#include <torch/optim/optimizer.h>

#include <string>

namespace stepsize::detail {

/// Throws c10::Error "Kind: option must be RULE, got VALUE".
void check_rollback_options(
    const std::string& kind, const RollbackOptions& options);

/// Whether all numbers are the same; the buffers are not looked at.
bool same_rollback_numbers(
    const RollbackOptions& left, const RollbackOptions& right);

/// All but the buffers.
void write_rollback_options(
    torch::serialize::OutputArchive& archive, const RollbackOptions& options);
/// `present`: has what an archive of an earlier version lacks.
RollbackOptions read_rollback_options(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const RollbackOptions& present);

void write_rollback_state(
    torch::serialize::OutputArchive& archive, const RollbackRule::State& state);
RollbackRule::State read_rollback_state(
    torch::serialize::InputArchive& archive, const std::string& kind);

}  // namespace stepsize::detail
