#include <stepsize/schedule/from_config.h>

#include <algorithm>
#include <stdexcept>

#include "csrc/schedule/config.h"
#include "csrc/schedule/parse_part.h"

namespace stepsize {
namespace {

constexpr char kWhose[] =
    "lr_scheduler_type (Hugging Face's), type or scheduler (DeepSpeed's), or "
    "lr_decay_style, lr_decay_iters, train_iters or train_samples "
    "(Megatron-LM's)";

// Those of Megatron's fields that nobody else has.
bool is_megatron(const detail::ConfigValue& config) {
  return std::any_of(
      config.members.begin(), config.members.end(), [](const auto& member) {
        const std::string name = detail::megatron_name(member.first);
        const detail::ConfigNames own = {
            "lr_decay_style",
            "lr_decay_iters",
            "lr_decay_samples",
            "train_iters",
            "train_samples"};
        return std::find(own.begin(), own.end(), name) != own.end();
      });
}

}  // namespace

ConfiguredSchedule from_config(
    const std::string& json, const ParseContext& context) {
  detail::check_context(context);
  const detail::ConfigValue config = detail::read_config(json);
  const bool hugging_face = config.find("lr_scheduler_type") != nullptr;
  const bool deepspeed =
      config.find("type") != nullptr || config.find("scheduler") != nullptr;
  const bool megatron = is_megatron(config);
  if (int{hugging_face} + int{deepspeed} + int{megatron} != 1) {
    detail::ConfigNames names;
    for (const auto& [name, value] : config.members) {
      if (names.size() < 20) names.push_back(detail::shortened(name));
    }
    detail::refuse_config(
        std::string("the fields must tell whose configuration it is, by one "
                    "of ") +
        kWhose + "; got " + detail::name_list(names));
  }
  try {
    return hugging_face ? detail::hugging_face_schedule(config, context)
           : deepspeed  ? detail::deepspeed_schedule(config, context)
                        : detail::megatron_schedule(config, context);
  } catch (const std::invalid_argument& error) {
    // A curve's own, of numbers at the edge of a double's range.
    const std::string message = error.what();
    if (message.rfind("from_config: ", 0) == 0) throw;
    detail::refuse_config(message);
  }
}

}  // namespace stepsize
