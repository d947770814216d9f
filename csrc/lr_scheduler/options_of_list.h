#pragma once

#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/greedy_lr.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <stepsize/schedule/schedule.h>

#include <vector>

#include "csrc/core/named_options.h"

namespace stepsize::detail {

// The way back from a list, as a file has it, to options; for those that a
// scheduler keeps besides its rule. Each throws c10::Error, in the name of the
// kind, for what is no such option.

WarmupStableDecayLROptions warmup_stable_decay_of(const NamedOptions& list);
GreedyLROptions greedy_of(const NamedOptions& list);
ReduceLROnPlateauOptions plateau_of(const NamedOptions& list);
/// `present` gives the schedules that hold callables.
std::vector<LRPhase> phases_of(
    const NamedOptions& list, const std::vector<LRPhase>& present);
/// `present` gives what cannot stand in a list.
CurvatureLROptions curvature_of(
    const NamedOptions& list, const CurvatureLROptions& present);
/// One a group, or one for all.
std::vector<Schedule> schedules_of(const NamedOptions& list);

}  // namespace stepsize::detail
