#pragma once

namespace stepsize::detail {

/// What write_csv() of a search's result says of a trial beside its numbers;
/// the last one behind them, where there is a schedule.
constexpr const char* kSearchColumns[] = {
    "trial", "status", "loss", "loss_error", "steps", "schedule_text"};

}  // namespace stepsize::detail
