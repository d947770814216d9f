#pragma once

#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// What a configuration of another library says of the learning rate.
struct ConfiguredSchedule {
  /// The factor of the base rate; to_string() says it in words of ours.
  Schedule schedule;
  /// The base rate, where the configuration names one; > 0.
  std::optional<double> lr;
  /// What it says or implies besides, that a schedule cannot hold: a sentence
  /// each, for a person.
  std::vector<std::string> notes;
};

/// The schedule of another library's configuration in JSON: ScheduleLR has
/// their rate in the same update.
///
///     from_config(R"({"lr_scheduler_type": "cosine_with_min_lr",
///                     "lr_scheduler_kwargs": {"min_lr": 1e-5},
///                     "learning_rate": 1e-3, "warmup_ratio": 0.03,
///                     "max_steps": 10000})")
///
/// `lr_scheduler_type` tells Hugging Face's, `type` or `scheduler` DeepSpeed's,
/// `lr_decay_style` or `train_iters` Megatron-LM's: docs/migration.md lists
/// names, fields and differences. A length left open is context.run_length.
///
/// Throws std::invalid_argument that names the field, the rule and the value:
/// an unknown type or field, one that stands twice, a length or rate that is
/// missing, a scheduler that goes by a metric, a text that is no JSON.
ConfiguredSchedule from_config(
    const std::string& json, const ParseContext& context = {});

}  // namespace stepsize
