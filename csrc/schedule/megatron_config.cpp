#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <cmath>

#include "csrc/schedule/config.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// With underscores; one that stands there in two spellings is refused.
ConfigValue with_underscores(const ConfigValue& config) {
  ConfigValue made;
  made.kind = ConfigKind::kObject;
  for (const auto& [name, value] : config.members) {
    std::string plain = megatron_name(name);
    if (made.find(plain) != nullptr) {
      refuse_config(in_quotes(name) + " stands there in two spellings");
    }
    made.members.emplace_back(std::move(plain), value);
  }
  return made;
}

class MegatronConfig {
 public:
  MegatronConfig(const ConfigValue& config, const ParseContext& context)
      : plain_(with_underscores(config)),
        fields_(plain_, "the configuration of Megatron-LM", megatron_fields()),
        context_(context),
        in_samples_(counts_samples()),
        batch_(fields_.steps("global_batch_size", 1)),
        lr_(fields_.positive("lr")),
        floor_(factor("min_lr")),
        start_(factor("lr_warmup_init")),
        end_(decay_steps()),
        warmup_(warmup_steps()),
        style_(fields_
                   .choice(
                       "lr_decay_style",
                       {"constant",
                        "linear",
                        "cosine",
                        "inverse-square-root",
                        "WSD"})
                   .value_or("linear")) {}

  ConfiguredSchedule schedule() {
    if (in_samples_) {
      notes_.push_back(
          "samples are taken as updates of global_batch_size " +
          number_text(*batch_) + " each, which a batch that grows is not");
    }
    if (!(warmup_ < end_)) {
      refuse_config(
          fields_.place() + ": the warm-up must be shorter than the decay's " +
          number_text(end_) + " updates, got " + number_text(warmup_));
    }
    return {curve(), lr_, notes_};
  }

 private:
  bool counts_samples() const {
    const ConfigNames samples = {
        "train_samples",
        "lr_decay_samples",
        "lr_warmup_samples",
        "lr_wsd_decay_samples"};
    const ConfigNames updates = {
        "train_iters",
        "lr_decay_iters",
        "lr_warmup_iters",
        "lr_wsd_decay_iters"};
    const auto first = [this](const ConfigNames& names) {
      return std::find_if(
          names.begin(), names.end(), [this](const std::string& name) {
            return says_length(name);
          });
    };
    const auto sample = first(samples);
    const auto update = first(updates);
    if (sample != samples.end() && update != updates.end()) {
      refuse_config(
          fields_.place() + ": " + *update + " counts updates and " + *sample +
          " samples; give all in one of them");
    }
    return sample != samples.end();
  }

  // A warm-up of 0 is their default: it stands in every dump of the arguments.
  bool says_length(const std::string& name) const {
    if (!fields_.has(name.c_str())) return false;
    const ConfigValue& value = *plain_.find(name);
    const bool is_warmup =
        name == "lr_warmup_iters" || name == "lr_warmup_samples";
    return !(
        is_warmup && value.kind == ConfigKind::kNumber && value.number == 0);
  }

  double factor(const char* name) const {
    return config_factor(
        fields_, name, fields_.number(name).value_or(0), lr_, "lr");
  }

  // A length in updates.
  std::optional<double> updates(
      const char* iters, const char* samples, double least) const {
    if (!in_samples_) return fields_.steps(iters, least);
    const auto count = fields_.steps(samples, least);
    if (count && !batch_) {
      fields_.refuse(
          samples,
          "come with global_batch_size, which says how many make an "
          "update");
    }
    return count ? std::optional<double>(*count / *batch_) : std::nullopt;
  }

  double decay_steps() const {
    const auto run = updates("train_iters", "train_samples", 1);
    if (const auto decay = updates("lr_decay_iters", "lr_decay_samples", 1)) {
      return *decay;
    }
    if (run) return *run;
    if (context_.run_length > 0) return context_.run_length;
    refuse_config(
        fields_.place() +
        ": the length is missing; give lr_decay_iters, train_iters or "
        "ParseContext::run_length");
  }

  double warmup_steps() const {
    const auto count = updates("lr_warmup_iters", "lr_warmup_samples", 0);
    const auto share = fields_.share("lr_warmup_fraction");
    if (share && count.value_or(0) > 0) {
      fields_.one_of(
          in_samples_ ? "lr_warmup_samples" : "lr_warmup_iters",
          "lr_warmup_fraction");
    }
    return share ? *share * end_ : count.value_or(0);
  }

  Schedule curve() const {
    const Schedule rise = warmup(warmup_, WarmupShape::kLinear, start_);
    const double rest = end_ - warmup_;
    if (style_ == "constant") return warmup_ > 0 ? rise : constant();
    if (style_ == "linear") {
      return config_sequence({rise, linear(rest, 1, floor_)});
    }
    if (style_ == "cosine") {
      return config_sequence({rise, cosine(rest, floor_)});
    }
    return style_ == "WSD" ? stable(rise) : inverse_root(rise);
  }

  Schedule stable(const Schedule& rise) const {
    const char* name =
        in_samples_ ? "lr_wsd_decay_samples" : "lr_wsd_decay_iters";
    const auto length =
        updates("lr_wsd_decay_iters", "lr_wsd_decay_samples", 1);
    const std::string shape =
        fields_
            .choice(
                "lr_wsd_decay_style",
                {"exponential", "linear", "cosine", "minus_sqrt"})
            .value_or("exponential");
    if (!length) fields_.refuse(name, "be given for WSD");
    const double held = end_ - *length - warmup_;
    if (held < 0) {
      fields_.refuse(
          name,
          "leave room for a warm-up of " + number_text(warmup_) +
              " updates in " + number_text(end_));
    }
    const CooldownShape fall = shape == "linear"   ? CooldownShape::kLinear
                               : shape == "cosine" ? CooldownShape::kCosine
                               : shape == "minus_sqrt"
                                   ? CooldownShape::kSqrt
                                   : CooldownShape::kHalfLife;
    return config_sequence(
        {rise, constant().limit(held), cooldown(*length, fall, floor_)});
  }

  // sqrt(w / t), w being the warm-up or, where there is none, one sample: the
  // scheduler counts samples.
  Schedule inverse_root(const Schedule& rise) const {
    double timescale = warmup_;
    if (warmup_ < 1) {
      if (!batch_) {
        refuse_config(
            fields_.place() +
            ": inverse-square-root counts from the first sample where the "
            "warm-up is shorter than an update; give lr_warmup_iters or "
            "global_batch_size");
      }
      timescale = std::max(warmup_, 1 / *batch_);
    }
    Schedule fall = inverse_sqrt(timescale);
    if (floor_ > 0) fall = fall.clamp(floor_, 1);
    // At the end itself the curve still stands, and the floor after it.
    const double held = timescale - warmup_;
    const double last = std::floor(end_) + 1 - timescale;
    return config_sequence(
        {rise, constant().limit(held), fall.limit(last), constant(floor_)});
  }

  ConfigValue plain_;
  ConfigFields fields_;
  const ParseContext& context_;
  bool in_samples_;
  std::optional<double> batch_;
  std::optional<double> lr_;
  double floor_;
  double start_;
  double end_;
  double warmup_;
  std::string style_;
  std::vector<std::string> notes_;
};

}  // namespace

const ConfigNames& megatron_fields() {
  static const ConfigNames names = {
      "lr",
      "min_lr",
      "lr_decay_style",
      "lr_decay_iters",
      "lr_decay_samples",
      "lr_warmup_fraction",
      "lr_warmup_init",
      "lr_warmup_iters",
      "lr_warmup_samples",
      "lr_wsd_decay_style",
      "lr_wsd_decay_iters",
      "lr_wsd_decay_samples",
      "train_iters",
      "train_samples",
      "global_batch_size"};
  return names;
}

std::string megatron_name(std::string_view name) {
  if (name.substr(0, 2) == "--") name.remove_prefix(2);
  std::string plain(name);
  std::replace(plain.begin(), plain.end(), '-', '_');
  return plain;
}

ConfiguredSchedule megatron_schedule(
    const ConfigValue& config, const ParseContext& context) {
  return MegatronConfig(config, context).schedule();
}

}  // namespace stepsize::detail
