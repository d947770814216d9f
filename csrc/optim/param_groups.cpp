#include <stepsize/optim/param_groups.h>

#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <typeinfo>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/optim/name_patterns.h"
#include "csrc/optim/norm_modules.h"

namespace stepsize::detail {
namespace {

constexpr char kParamGroups[] = "ParamGroups";

std::string layer_list(
    const std::vector<std::size_t>& in,
    const std::vector<std::string>& layers) {
  std::vector<std::string> names;
  for (const std::size_t layer : in) names.push_back(layers[layer]);
  return some_of(names);
}

// 'a.weight', or 'a.weight' (shared, also 'b.weight')
std::string parameter_text(const std::vector<std::string>& names) {
  std::string text = "parameter " + some_of({names.front()});
  if (names.size() > 1) {
    text += " (shared, also " + some_of({names.begin() + 1, names.end()}) + ")";
  }
  return text;
}

void check_size(const char* option, double value) {
  check_option(
      std::isfinite(value) && value >= 0,
      kParamGroups,
      option,
      "finite and >= 0",
      value);
}

}  // namespace

ParamGroupPlan::ParamGroupPlan(
    const torch::nn::Module& module,
    std::shared_ptr<const torch::optim::OptimizerOptions> options,
    Access weight_decay)
    : options_(std::move(options)), weight_decay_(weight_decay) {
  collect(module, "");
  TORCH_CHECK(
      !parameters_.empty(),
      kParamGroups,
      ": the module must have a parameter, got ",
      c10::demangle(typeid(module).name()),
      " without any");
}

// In the order of named_parameters(): a module's own, then its children's.
void ParamGroupPlan::collect(
    const torch::nn::Module& module, const std::string& prefix) {
  for (const auto& entry : module.named_parameters(/*recurse=*/false)) {
    const at::Tensor& tensor = entry.value();
    if (!tensor.defined()) continue;
    const auto known = std::find_if(
        parameters_.begin(), parameters_.end(), [&](const Parameter& other) {
          return other.tensor.is_same(tensor);
        });
    if (known != parameters_.end()) {
      known->names.push_back(prefix + entry.key());
      continue;
    }
    Parameter& parameter = parameters_.emplace_back();
    parameter.tensor = tensor;
    parameter.names = {prefix + entry.key()};
    parameter.norm_or_bias = tensor.dim() <= 1 || is_bias_name(entry.key()) ||
                             is_norm_parameter(module, tensor);
  }
  for (const auto& child : module.named_children()) {
    collect(*child.value(), prefix + child.key() + ".");
  }
}

std::vector<bool> ParamGroupPlan::matched(
    const std::vector<std::string>& patterns, const std::string& what) const {
  TORCH_CHECK(
      !patterns.empty(), kParamGroups, ": ", what, " must have a pattern");
  std::vector<bool> found(parameters_.size(), false);
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      for (const std::string& name : parameters_[i].names) {
        if (!name_matches(pattern, name)) continue;
        found[i] = true;
        any = true;
      }
    }
    if (any) continue;
    std::vector<std::string> names;
    for (const Parameter& parameter : parameters_) {
      names.insert(names.end(), parameter.names.begin(), parameter.names.end());
    }
    TORCH_CHECK(
        false,
        kParamGroups,
        ": the pattern '",
        pattern,
        "' of ",
        what,
        " matches no parameter",
        near_names(pattern, names));
  }
  return found;
}

void ParamGroupPlan::check_has_weight_decay(const std::string& what) const {
  const auto& options = *options_;
  TORCH_CHECK(
      weight_decay_ != nullptr,
      kParamGroups,
      ": ",
      what,
      " wants options with a weight_decay, got ",
      c10::demangle(typeid(options).name()));
}

void ParamGroupPlan::check_rule(
    const std::string& name, const ParamGroupOptions& own) const {
  TORCH_CHECK(
      !name.empty(), kParamGroups, ": the name of a group must not be empty");
  bool known = others_ && others_->name == name;
  for (const Rule& rule : rules_) known = known || rule.name == name;
  TORCH_CHECK(
      !known, kParamGroups, ": there are two groups of the name '", name, "'");
  check_size("lr_factor", own.lr_factor());
  if (own.weight_decay()) {
    check_has_weight_decay("weight_decay of group '" + name + "'");
    check_size("weight_decay", *own.weight_decay());
  }
}

void ParamGroupPlan::add_group(
    const std::string& name,
    const std::vector<std::string>& patterns,
    const ParamGroupOptions& own,
    Edit edit) {
  check_rule(name, own);
  const std::vector<bool> members = matched(patterns, "group '" + name + "'");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    TORCH_CHECK(
        !members[i] || !parameters_[i].rule,
        kParamGroups,
        ": ",
        parameter_text(parameters_[i].names),
        " is in two groups, '",
        rules_[parameters_[i].rule.value_or(0)].name,
        "' and '",
        name,
        "'; let one of them alone match it");
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (members[i]) parameters_[i].rule = rules_.size();
  }
  rules_.push_back({name, patterns, own, std::move(edit)});
}

void ParamGroupPlan::add_others(
    const std::string& name, const ParamGroupOptions& own, Edit edit) {
  TORCH_CHECK(
      !others_,
      kParamGroups,
      ": others() must be called once, got '",
      others_ ? others_->name : "",
      "' and '",
      name,
      "'");
  check_rule(name, own);
  others_ = Rule{name, {}, own, std::move(edit)};
}

void ParamGroupPlan::no_decay_for_norms_and_biases() {
  check_has_weight_decay("no_decay_for_norms_and_biases()");
  for (Parameter& parameter : parameters_) {
    parameter.decays = parameter.decays && !parameter.norm_or_bias;
  }
}

void ParamGroupPlan::no_decay_for(const std::vector<std::string>& patterns) {
  check_has_weight_decay("no_decay_for()");
  const std::vector<bool> members = matched(patterns, "no_decay_for()");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].decays = parameters_[i].decays && !members[i];
  }
}

void ParamGroupPlan::layer_decay(double factor) {
  std::vector<std::string> layers;
  std::vector<std::size_t> layer_of;
  for (const Parameter& parameter : parameters_) {
    // The first of a shared parameter's names: nearest to the body.
    const std::string& name = parameter.names.front();
    const std::size_t dot = name.find('.');
    TORCH_CHECK(
        dot != std::string::npos,
        kParamGroups,
        ": layer_decay: parameter '",
        name,
        "' is in no child of the module; name the layers from body to head");
    const std::string child = name.substr(0, dot);
    const auto known = std::find(layers.begin(), layers.end(), child);
    layer_of.push_back(static_cast<std::size_t>(known - layers.begin()));
    if (known == layers.end()) layers.push_back(child);
  }
  set_layers(factor, layers, layer_of);
}

void ParamGroupPlan::layer_decay(
    double factor, const std::vector<std::string>& layers) {
  matched(layers, "layer_decay()");
  std::vector<std::size_t> layer_of;
  std::vector<std::string> homeless;
  for (const Parameter& parameter : parameters_) {
    std::size_t first = layers.size();
    for (const std::string& name : parameter.names) {
      std::vector<std::size_t> in;
      for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        if (name_matches(layers[layer], name)) in.push_back(layer);
      }
      TORCH_CHECK(
          in.size() < 2,
          kParamGroups,
          ": layer_decay: parameter '",
          name,
          "' is in the layers ",
          layer_list(in, layers));
      if (!in.empty()) first = std::min(first, in.front());
    }
    if (first == layers.size()) homeless.push_back(parameter.names.front());
    layer_of.push_back(first);
  }
  TORCH_CHECK(
      homeless.empty(),
      kParamGroups,
      ": layer_decay: ",
      some_of(homeless),
      homeless.size() == 1 ? " is in no layer" : " are in no layer");
  set_layers(factor, layers, layer_of);
}

void ParamGroupPlan::set_layers(
    double factor,
    const std::vector<std::string>& layers,
    const std::vector<std::size_t>& layer_of) {
  check_option(
      factor > 0 && factor <= 1,
      kParamGroups,
      "the factor of layer_decay",
      "in (0, 1]",
      factor);
  TORCH_CHECK(
      layers_.empty(), kParamGroups, ": layer_decay must be called once");
  layers_ = layers;
  layer_factor_ = factor;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    parameters_[i].layer = layer_of[i];
  }
}

std::vector<ParamGroupPlan::Group> ParamGroupPlan::groups() const {
  std::vector<std::string> homeless;
  std::map<std::tuple<std::size_t, std::size_t, bool>, Group> sorted;
  for (const Parameter& parameter : parameters_) {
    const std::size_t rule = parameter.rule.value_or(rules_.size());
    const Rule* own = parameter.rule ? &rules_[rule]
                      : others_      ? &*others_
                                     : nullptr;
    if (own == nullptr && !rules_.empty()) {
      homeless.push_back(parameter.names.front());
      continue;
    }
    // What decays comes first.
    Group& group = sorted[{rule, parameter.layer, !parameter.decays}];
    group.rule = own;
    group.layer = parameter.layer;
    group.decays = parameter.decays;
    group.members.push_back(&parameter);
  }
  TORCH_CHECK(
      homeless.empty(),
      kParamGroups,
      ": ",
      some_of(homeless),
      homeless.size() == 1 ? " is in no group" : " are in no group",
      "; others() makes one of what no pattern matches");
  std::vector<Group> groups;
  for (auto& entry : sorted) groups.push_back(std::move(entry.second));
  const OptimizerTraits* const traits = find_traits(*options_);
  TORCH_CHECK(
      groups.size() == 1 || traits == nullptr || !traits->one_group(),
      kParamGroups,
      ": ",
      traits == nullptr ? "" : traits->name(),
      " must have one parameter group, got ",
      groups.size());
  return groups;
}

std::unique_ptr<torch::optim::OptimizerOptions> ParamGroupPlan::options_of(
    const Group& group) const {
  auto options = options_->clone();
  if (group.rule != nullptr) {
    const ParamGroupOptions& own = group.rule->own;
    if (own.lr_factor() != 1) {
      options->set_lr(options->get_lr() * own.lr_factor());
    }
    if (own.weight_decay()) weight_decay_(*options, &*own.weight_decay());
    if (group.rule->edit) group.rule->edit(*options);
  }
  // After the edit, which may set a rate and a decay of its own.
  if (!layers_.empty()) {
    const auto following =
        static_cast<double>(layers_.size() - 1 - group.layer);
    options->set_lr(options->get_lr() * std::pow(layer_factor_, following));
  }
  if (!group.decays) {
    const double none = 0;
    weight_decay_(*options, &none);
  }
  return options;
}

std::string ParamGroupPlan::name_of(const Group& group) const {
  std::string name = group.rule != nullptr ? group.rule->name : "";
  if (!layers_.empty()) {
    name += (name.empty() ? "" : " / ") + layers_[group.layer];
  }
  if (name.empty()) name = "all";
  return group.decays ? name : name + " (no decay)";
}

std::vector<torch::optim::OptimizerParamGroup> ParamGroupPlan::build() const {
  std::vector<torch::optim::OptimizerParamGroup> built;
  for (const Group& group : groups()) {
    std::vector<at::Tensor> tensors;
    for (const Parameter* member : group.members) {
      tensors.push_back(member->tensor);
    }
    built.emplace_back(std::move(tensors), options_of(group));
  }
  return built;
}

std::vector<ParamGroupInfo> ParamGroupPlan::infos() const {
  std::vector<ParamGroupInfo> infos;
  for (const Group& group : groups()) {
    ParamGroupInfo& info = infos.emplace_back();
    info.name = name_of(group);
    if (group.rule != nullptr) info.patterns = group.rule->patterns;
    for (const Parameter* member : group.members) {
      info.parameters.push_back(member->names.front());
      info.values += member->tensor.numel();
      if (!member->tensor.requires_grad()) ++info.frozen;
    }
    const auto options = options_of(group);
    info.lr = options->get_lr();
    if (weight_decay_ != nullptr) {
      info.weight_decay = weight_decay_(*options, nullptr);
    }
  }
  return infos;
}

void ParamGroupPlan::set_options(torch::optim::Optimizer& optimizer) const {
  const std::vector<Group> own = groups();
  auto& theirs = optimizer.param_groups();
  bool same = own.size() == theirs.size();
  for (std::size_t g = 0; same && g < own.size(); ++g) {
    const auto& tensors = theirs[g].params();
    same = own[g].members.size() == tensors.size();
    for (std::size_t i = 0; same && i < tensors.size(); ++i) {
      same = own[g].members[i]->tensor.is_same(tensors[i]);
    }
  }
  TORCH_CHECK(
      same,
      kParamGroups,
      ": set_options() wants an optimizer made from build(), got one with "
      "other groups");
  std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> options;
  for (const Group& group : own) options.push_back(options_of(group));
  for (std::size_t g = 0; g < own.size(); ++g) {
    theirs[g].set_options(std::move(options[g]));
  }
}

}  // namespace stepsize::detail
