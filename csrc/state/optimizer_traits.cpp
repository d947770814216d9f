#include <stepsize/state/optimizer_traits.h>

#include <c10/util/Exception.h>
#include <c10/util/Type.h>

#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "csrc/state/known_optimizers.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

using torch::optim::Optimizer;
using torch::optim::OptimizerOptions;

// "ClippedSGDOptions", of "stepsize::ClippedSGDOptions".
std::string short_name(std::type_index type) {
  const std::string name = c10::demangle(type.name());
  const auto colon = name.rfind("::");
  return colon == std::string::npos ? name : name.substr(colon + 2);
}

double as_double(const OptionValue& value) {
  const auto* count = std::get_if<int64_t>(&value);
  return count != nullptr ? static_cast<double>(*count)
                          : std::get<double>(value);
}

// Rows of classes that do not describe themselves. None is ever removed.
class Registry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  void add(OptimizerTraits traits) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto optimizer = traits.optimizer();
    TORCH_CHECK(
        by_optimizer_.count(optimizer) == 0,
        "describe_optimizer: ",
        traits.name(),
        " is described already");
    rows_.push_back(std::make_unique<OptimizerTraits>(std::move(traits)));
    const OptimizerTraits* const row = rows_.back().get();
    by_optimizer_[optimizer] = row;
    // The class that options are made for comes before those that borrow them.
    by_options_.emplace(row->options().type(), row);
  }

  const OptimizerTraits* of_optimizer(std::type_index type) const {
    return find(by_optimizer_, type);
  }
  const OptimizerTraits* of_options(std::type_index type) const {
    return find(by_options_, type);
  }

 private:
  using Rows = std::unordered_map<std::type_index, const OptimizerTraits*>;

  Registry() {
    for (OptimizerTraits& traits : detail::libtorch_traits()) {
      add(std::move(traits));
    }
  }

  const OptimizerTraits* find(const Rows& rows, std::type_index type) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = rows.find(type);
    return found == rows.end() ? nullptr : found->second;
  }

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<OptimizerTraits>> rows_;
  Rows by_optimizer_;
  Rows by_options_;
};

}  // namespace

const void* OptimizerOptionList::own(const OptimizerOptions& options) const {
  const void* const found = find_(options);
  TORCH_CHECK(
      found != nullptr,
      kind(),
      ": the options of a parameter group must be ",
      short_name(type_));
  return found;
}

const OptimizerOptionList::Entry& OptimizerOptionList::entry(
    const std::string& name) const {
  const Entry* const found = list_.find(name);
  TORCH_CHECK(found != nullptr, kind(), ": there is no option ", name);
  return *found;
}

std::string OptimizerOptionList::name_of(OptionRole role) const {
  for (const Entry& entry : list_.entries()) {
    if (entry.field.role == role) return entry.field.name;
  }
  return {};
}

double OptimizerOptionList::get(
    const OptimizerOptions& options, const std::string& name) const {
  return as_double(entry(name).get(own(options)));
}

void OptimizerOptionList::set(
    OptimizerOptions& options, const std::string& name, double value) const {
  // The options are not const: they came so.
  list_.set(const_cast<void*>(own(options)), name, value);
}

std::optional<double> OptimizerOptionList::get(
    const OptimizerOptions& options, OptionRole role) const {
  const std::string name = name_of(role);
  if (name.empty()) return std::nullopt;
  return get(options, name);
}

bool OptimizerOptionList::set(
    OptimizerOptions& options, OptionRole role, double value) const {
  const std::string name = name_of(role);
  if (name.empty()) return false;
  set(options, name, value);
  return true;
}

std::vector<std::pair<std::string, double>> OptimizerOptionList::numbers(
    const OptimizerOptions& options) const {
  return list_.numbers(own(options));
}

void OptimizerOptionList::check(const OptimizerOptions& options) const {
  list_.check(own(options), kind());
}

void OptimizerOptionList::check_same_in_groups(
    const OptimizerOptions& first, const OptimizerOptions& other) const {
  list_.check_same_in_groups(own(first), own(other));
}

std::string OptimizerOptionList::describe(
    const OptimizerOptions& options) const {
  return list_.describe(own(options));
}

bool OptimizerOptionList::assign(
    OptimizerOptions& to, const OptimizerOptions& from) const {
  if (std::type_index(typeid(to)) != type_ ||
      std::type_index(typeid(from)) != type_) {
    return false;
  }
  assign_(to, from);
  return true;
}

void describe_optimizer(OptimizerTraits traits) {
  Registry::instance().add(std::move(traits));
}

const OptimizerTraits* find_traits(const OptimizerOptions& options) {
  if (const auto* own = dynamic_cast<const DescribedOptions*>(&options)) {
    const OptimizerTraits& traits = own->traits();
    if (traits.options().type() == typeid(options)) return &traits;
  }
  return Registry::instance().of_options(typeid(options));
}

const OptimizerTraits* find_traits(const Optimizer& optimizer) {
  const auto* found = Registry::instance().of_optimizer(typeid(optimizer));
  if (found != nullptr) return found;
  for (const auto& group : optimizer.param_groups()) {
    if (!group.has_options()) continue;
    found = find_traits(group.options());
    return found != nullptr && found->optimizer() == typeid(optimizer)
               ? found
               : nullptr;
  }
  return nullptr;
}

namespace detail {

void assign_options(
    torch::optim::OptimizerParamGroup& group, const OptimizerOptions& value) {
  const OptimizerTraits* const traits = find_traits(value);
  if (traits != nullptr && group.has_options() &&
      traits->options().assign(group.options(), value)) {
    return;
  }
  group.set_options(value.clone());
}

const OptimizerTraits& check_follows_curvature(
    const char* kind, const Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  TORCH_CHECK(
      traits != nullptr && traits->gradient() != GradientUse::kUnknown,
      kind,
      ": cannot set the rate of ",
      c10::demangle(typeid(optimizer).name()),
      ", of which nothing says that it descends along the gradient: describe "
      "it by OptimizerTraits, as docs/your_own_optimizer.md shows");
  const char* reason = nullptr;
  if (traits->sets_own_rate()) {
    reason =
        "it finds its rate itself, and its lr is a factor or the start of it";
  }
  switch (traits->gradient()) {
    case GradientUse::kScalesCoordinates:
      if (traits->preconditioner() != nullptr) break;
      reason =
          "it scales the gradient by coordinate, and its OptimizerTraits name "
          "no preconditioner, which the limit of its rate depends on";
      break;
    case GradientUse::kTakesSigns:
      reason =
          "it takes the signs of the gradient, and its steps are as long as "
          "its rate whatever the Hessian is";
      break;
    case GradientUse::kScalesLayers:
      reason =
          "it scales the gradient by layer, and the limit of its rate is not "
          "that of the Hessian";
      break;
    case GradientUse::kOrthogonalizes:
      reason =
          "it orthogonalizes the gradient, and its steps are as long as its "
          "rate whatever the Hessian is";
      break;
    case GradientUse::kAverages:
      reason =
          "it takes the gradient at a mean of its points, and the limit of its "
          "rate grows as that lags behind";
      break;
    case GradientUse::kQuasiNewton:
      reason =
          "it estimates the inverse Hessian itself, and its rate of 1 is a "
          "full step of that";
      break;
    default:
      break;
  }
  TORCH_CHECK(
      reason == nullptr,
      kind,
      ": cannot set the rate of ",
      traits->name(),
      ": ",
      reason == nullptr ? "" : reason);
  return *traits;
}

bool descends(const Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  return traits != nullptr && !traits->sets_own_rate() &&
         traits->gradient() == GradientUse::kDescends;
}

std::vector<at::Tensor> trained_parameters(const Optimizer& optimizer) {
  std::vector<at::Tensor> parameters;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (parameter.requires_grad()) parameters.push_back(parameter);
    }
  }
  return parameters;
}

DescentNumbers descent_numbers(
    const OptimizerTraits& traits, const OptimizerOptions& options) {
  const OptimizerOptionList& list = traits.options();
  const auto number = [&](OptionRole role) {
    return list.get(options, role).value_or(0);
  };
  DescentNumbers numbers;
  numbers.momentum = number(OptionRole::kMomentum);
  if (numbers.momentum != 0) {
    numbers.dampening = number(OptionRole::kDampening);
  }
  numbers.is_mean = traits.momentum_is_mean();
  numbers.nesterov = number(OptionRole::kNesterov) != 0;
  numbers.maximizes = number(OptionRole::kMaximizes) != 0;
  if (number(OptionRole::kDecouples) == 0) {
    numbers.coupled_decay = number(OptionRole::kWeightDecay);
  }
  return numbers;
}

}  // namespace detail
}  // namespace stepsize
