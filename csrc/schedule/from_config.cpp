#include <stepsize/schedule/from_config.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "csrc/schedule/config.h"
#include "csrc/schedule/parse_part.h"

namespace stepsize {
namespace {

constexpr char kWhose[] =
    "lr_scheduler_type (Hugging Face's), type or scheduler (DeepSpeed's), or "
    "lr_decay_style, lr_decay_iters, train_iters or train_samples "
    "(Megatron-LM's)";

bool is_hugging_face(std::string_view name) {
  return name == "lr_scheduler_type";
}

bool is_deepspeed(std::string_view name) {
  return name == "type" || name == "scheduler";
}

// Those of Megatron's fields that nobody else has.
bool is_megatron(std::string_view name) {
  const detail::ConfigNames own = {
      "lr_decay_style",
      "lr_decay_iters",
      "lr_decay_samples",
      "train_iters",
      "train_samples"};
  return std::find(own.begin(), own.end(), detail::megatron_name(name)) !=
         own.end();
}

bool has_field(
    const detail::ConfigValue& config, bool (*is_theirs)(std::string_view)) {
  return std::any_of(
      config.members.begin(),
      config.members.end(),
      [is_theirs](const auto& member) { return is_theirs(member.first); });
}

// A null of one library is no field of another's, which would refuse it.
void drop_nulls_that_tell_whose(detail::ConfigValue& config) {
  auto& members = config.members;
  members.erase(
      std::remove_if(
          members.begin(),
          members.end(),
          [](const auto& member) {
            const auto& [name, value] = member;
            return value.kind == detail::ConfigKind::kNull &&
                   (is_hugging_face(name) || is_deepspeed(name) ||
                    is_megatron(name));
          }),
      members.end());
}

}  // namespace

ConfiguredSchedule from_config(
    const std::string& json, const ParseContext& context) {
  detail::check_context(context);
  detail::ConfigValue config = detail::read_config(json);
  drop_nulls_that_tell_whose(config);
  const bool hugging_face = has_field(config, is_hugging_face);
  const bool deepspeed = has_field(config, is_deepspeed);
  const bool megatron = has_field(config, is_megatron);
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
