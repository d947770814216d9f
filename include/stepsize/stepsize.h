#pragma once

/// The whole library in one include. A program that wants to compile faster
/// includes the headers it uses instead: those of the rooms `schedule` and
/// `report` need no LibTorch at all.

#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/inverse_time_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/lr_rule.h>
#include <stepsize/lr_scheduler/momentum_access.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/multiplicative_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <stepsize/report/csv_cell.h>
#include <stepsize/report/csv_writer.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/report/terminal_plot.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>
#include <stepsize/schedule/schedule.h>
