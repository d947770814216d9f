#pragma once

#include <stepsize/optim/rollback_rule.h>
#include <stepsize/state/option_list.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <string>

namespace stepsize::detail {

/// So often is the wait for a recovery doubled at most.
constexpr int64_t kMostFailedRecoveries = 16;

/// All of the state but the trend, which archives of version 0.1 do not have.
const OptionList<RollbackRule::State>& rollback_state_list();

void write_rollback_state(
    torch::serialize::OutputArchive& archive, const RollbackRule::State& state);
RollbackRule::State read_rollback_state(
    torch::serialize::InputArchive& archive, const std::string& kind);

}  // namespace stepsize::detail
