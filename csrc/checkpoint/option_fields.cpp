#include "csrc/checkpoint/option_fields.h"

#include <c10/util/Exception.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <tuple>
#include <typeinfo>

namespace stepsize::detail {
namespace {

using torch::optim::OptimizerOptions;

// The one line search that LBFGS has.
constexpr char kStrongWolfe[] = "strong_wolfe";

// One option: reads it, and writes it.
struct Access {
  std::string name;
  std::function<double()> get;
  std::function<void(double)> set;
};

template <typename Value>
Access access(const std::string& name, Value& value) {
  return {
      name,
      [&value] { return static_cast<double>(value); },
      [&value](double number) {
        if constexpr (std::is_same_v<Value, bool>) {
          value = number != 0;
        } else {
          value = number;
        }
      }};
}

std::vector<Access> accesses(torch::optim::SGDOptions& options) {
  return {
      access("lr", options.lr()),
      access("momentum", options.momentum()),
      access("dampening", options.dampening()),
      access("weight_decay", options.weight_decay()),
      access("nesterov", options.nesterov())};
}

template <typename Options>
std::vector<Access> adam_accesses(Options& options) {
  return {
      access("lr", options.lr()),
      access("beta1", std::get<0>(options.betas())),
      access("beta2", std::get<1>(options.betas())),
      access("eps", options.eps()),
      access("weight_decay", options.weight_decay()),
      access("amsgrad", options.amsgrad())};
}

std::vector<Access> accesses(torch::optim::AdamOptions& options) {
  return adam_accesses(options);
}

std::vector<Access> accesses(torch::optim::AdamWOptions& options) {
  return adam_accesses(options);
}

std::vector<Access> accesses(torch::optim::RMSpropOptions& options) {
  return {
      access("lr", options.lr()),
      access("alpha", options.alpha()),
      access("eps", options.eps()),
      access("weight_decay", options.weight_decay()),
      access("momentum", options.momentum()),
      access("centered", options.centered())};
}

std::vector<Access> accesses(torch::optim::AdagradOptions& options) {
  return {
      access("lr", options.lr()),
      access("lr_decay", options.lr_decay()),
      access("weight_decay", options.weight_decay()),
      access("initial_accumulator_value", options.initial_accumulator_value()),
      access("eps", options.eps())};
}

Access access(const std::string& name, int64_t& value) {
  return {
      name,
      [&value] { return static_cast<double>(value); },
      [&value](double number) { value = static_cast<int64_t>(number); }};
}

// NaN stands for none.
std::vector<Access> accesses(torch::optim::LBFGSOptions& options) {
  return {
      access("lr", options.lr()),
      access("max_iter", options.max_iter()),
      {"max_eval",
       [&options] {
         return options.max_eval() ? static_cast<double>(*options.max_eval())
                                   : std::nan("");
       },
       [&options](double number) {
         options.max_eval().reset();
         if (!std::isnan(number)) {
           options.max_eval(static_cast<int64_t>(number));
         }
       }},
      access("tolerance_grad", options.tolerance_grad()),
      access("tolerance_change", options.tolerance_change()),
      access("history_size", options.history_size()),
      {"strong_wolfe",
       [&options] {
         const auto& name = options.line_search_fn();
         TORCH_CHECK(
             !name || *name == kStrongWolfe,
             "LBFGS: line_search_fn must be strong_wolfe, got ",
             *name);
         return name ? 1.0 : 0.0;
       },
       [&options](double number) {
         options.line_search_fn().reset();
         if (number != 0) options.line_search_fn(kStrongWolfe);
       }}};
}

// Where they are of this very class: a subclass may hold more.
template <typename Options>
void add_of(OptimizerOptions& options, std::vector<Access>& all) {
  if (typeid(options) == typeid(Options)) {
    all = accesses(static_cast<Options&>(options));
  }
}

std::optional<double> rate_of(const OptimizerOptions& options) {
  try {
    return options.get_lr();
  } catch (const c10::Error&) {
    return std::nullopt;  // the base class has none
  }
}

std::vector<Access> all_accesses(OptimizerOptions& options) {
  std::vector<Access> all;
  add_of<torch::optim::SGDOptions>(options, all);
  add_of<torch::optim::AdamOptions>(options, all);
  add_of<torch::optim::AdamWOptions>(options, all);
  add_of<torch::optim::RMSpropOptions>(options, all);
  add_of<torch::optim::AdagradOptions>(options, all);
  add_of<torch::optim::LBFGSOptions>(options, all);
  if (all.empty() && rate_of(options)) {
    all.push_back(
        {"lr",
         [&options] { return options.get_lr(); },
         [&options](double lr) { options.set_lr(lr); }});
  }
  return all;
}

}  // namespace

OptionFields option_fields(const OptimizerOptions& options) {
  OptionFields fields;
  const auto copy = options.clone();
  for (const Access& one : all_accesses(*copy)) {
    fields.emplace_back(one.name, one.get());
  }
  return fields;
}

std::string set_option_fields(
    OptimizerOptions& options, const OptionFields& fields) {
  const auto all = all_accesses(options);
  for (const Access& one : all) {
    bool found = false;
    for (const auto& [name, value] : fields) {
      if (name == one.name) {
        one.set(value);
        found = true;
      }
    }
    if (!found) return "the option '" + one.name + "' is not in the file";
  }
  for (const auto& field : fields) {
    bool known = false;
    for (const Access& one : all) known = known || one.name == field.first;
    if (!known) return "the option '" + field.first + "' is unknown here";
  }
  return {};
}

}  // namespace stepsize::detail
