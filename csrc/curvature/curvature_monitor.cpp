#include <stepsize/curvature/curvature_monitor.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/hutchinson.h>
#include <stepsize/state/optimizer_traits.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"
#include "csrc/curvature/mapped_operator.h"
#include "csrc/curvature/vector_math.h"
#include "csrc/state/optimizer_traits.h"

namespace stepsize {
namespace {

constexpr char kCurvatureMonitor[] = "CurvatureMonitor";
constexpr double kPercent = 100;

const CurvatureMonitorOptions& checked(const CurvatureMonitorOptions& options) {
  CurvatureMonitorOptions::option_list().check(options, kCurvatureMonitor);
  check_momentum_limit(kCurvatureMonitor, options.momentum_limit());
  return options;
}

// The largest of one rate a group, or of one for all.
double largest_of(const std::vector<double>& lrs, std::size_t groups) {
  TORCH_CHECK(
      lrs.size() == 1 || lrs.size() == groups,
      kCurvatureMonitor,
      ": there must be one rate, or one for each of ",
      groups,
      " groups, got ",
      lrs.size());
  for (const double lr : lrs) {
    detail::check_option(
        std::isfinite(lr) && lr >= 0,
        kCurvatureMonitor,
        "lr",
        "finite and >= 0",
        lr);
  }
  return *std::max_element(lrs.begin(), lrs.end());
}

// Rows as columns, which an archive keeps bit for bit.
using Columns = std::vector<std::vector<double>>;

// The numbers of a row, those that need not be there last.
constexpr std::size_t kAlwaysThere = 4;
constexpr std::size_t kNumbers = 8;

std::vector<std::optional<double>> numbers_of(const CurvatureMeasurement& row) {
  return {
      static_cast<double>(row.update),
      row.lr,
      row.sharpness,
      row.effective_sharpness,
      row.lr_sharpness,
      row.limit,
      row.trace,
      row.trace_error};
}

CurvatureMeasurement row_of(const std::vector<std::optional<double>>& numbers) {
  CurvatureMeasurement row;
  row.update = static_cast<int64_t>(numbers[0].value_or(0));
  row.lr = numbers[1].value_or(0);
  row.sharpness = numbers[2].value_or(row.sharpness);
  row.effective_sharpness = numbers[3].value_or(row.effective_sharpness);
  row.lr_sharpness = numbers[4];
  row.limit = numbers[5];
  row.trace = numbers[6];
  row.trace_error = numbers[7];
  return row;
}

template <typename Part>
void write_part(
    torch::serialize::OutputArchive& archive,
    const std::string& key,
    const Part& part) {
  torch::serialize::OutputArchive own(archive.compilation_unit());
  part.save(own);
  archive.write(key, own);
}

CurvatureMeter read_meter(
    torch::serialize::InputArchive& archive,
    const std::string& key,
    CurvatureMeter meter) {
  torch::serialize::InputArchive own;
  TORCH_CHECK(
      archive.try_read(key, own),
      kCurvatureMonitor,
      ": the archive has no '",
      key,
      "'");
  meter.load(own);
  return meter;
}

}  // namespace

// What is a model's or a function is in no archive.
const OptionList<CurvatureMonitorOptions>&
CurvatureMonitorOptions::option_list() {
  static const auto list =
      OptionList<CurvatureMonitorOptions>(kCurvatureMonitor)
          .option(STEPSIZE_OPTION(every))
          .at_least(1)
          .option(STEPSIZE_OPTION(budget))
          .not_negative()
          .option(STEPSIZE_OPTION(momentum))
          .share()
          .option(STEPSIZE_OPTION(nesterov))
          .choice(
              STEPSIZE_OPTION(momentum_limit), {"kEffectiveRate", "kQuadratic"})
          .option(STEPSIZE_OPTION(has_limit))
          .option(STEPSIZE_OPTION(trace_samples))
          .count_must_be(
              "0 or >= 2",
              [](int64_t samples) { return samples == 0 || samples >= 2; })
          .include(
              CurvatureMeterOptions::option_list(),
              [](auto& own) -> auto& { return own.meter(); });
  return list;
}

// The parameters that require a gradient, and the group of each.
struct CurvatureMonitor::Watched {
  TensorVector parameters;
  std::vector<std::size_t> groups;
};

// What an operator meets: the largest rate and what goes for it, and the root
// of each group's part of that.
struct CurvatureMonitor::Rates {
  double largest = 0;
  std::optional<double> limit;
  std::vector<double> scales;

  bool alike() const {
    return std::all_of(
        scales.begin(), scales.end(), [](double scale) { return scale == 1; });
  }
};

// A measurement that has not counted yet.
struct CurvatureMonitor::Trial {
  CurvatureMeter meter;
  CurvatureMeter effective_meter;
  CurvatureMeasurement row;
};

CurvatureMonitor::CurvatureMonitor(
    TensorVector parameters, const CurvatureMonitorOptions& options)
    : CurvatureMonitor(
          std::vector<torch::optim::OptimizerParamGroup>{
              torch::optim::OptimizerParamGroup(std::move(parameters))},
          options) {}

CurvatureMonitor::CurvatureMonitor(
    const std::vector<torch::optim::OptimizerParamGroup>& groups,
    const CurvatureMonitorOptions& options)
    : group_count_(groups.size()),
      options_(checked(options)),
      meter_(options.meter()),
      effective_meter_(options.meter()) {
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const at::Tensor& parameter : groups[group].params()) {
      TORCH_CHECK(
          parameter.defined(),
          kCurvatureMonitor,
          ": parameter ",
          parameters_.size(),
          " is undefined");
      parameters_.push_back(parameter);
      groups_.push_back(group);
    }
  }
  TORCH_CHECK(
      !parameters_.empty(), kCurvatureMonitor, ": there must be a parameter");
}

CurvatureMonitor::CurvatureMonitor(
    torch::optim::Optimizer& optimizer, const CurvatureMonitorOptions& options)
    : CurvatureMonitor(optimizer.param_groups(), options) {
  TORCH_CHECK(
      options.has_limit() && !options.preconditioner(),
      kCurvatureMonitor,
      ": the optimizer says itself whether there is a limit and what divides "
      "its gradient: has_limit and preconditioner must be left alone");
  optimizer_ = &optimizer;
}

CurvatureMonitor::Watched CurvatureMonitor::watched() const {
  Watched found;
  const auto add = [&found](const at::Tensor& parameter, std::size_t group) {
    if (!parameter.requires_grad()) return;
    found.parameters.push_back(parameter);
    found.groups.push_back(group);
  };
  if (optimizer_ == nullptr) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      add(parameters_[i], groups_[i]);
    }
    return found;
  }
  const auto& groups = optimizer_->param_groups();
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const at::Tensor& parameter : groups[group].params()) {
      add(parameter, group);
    }
  }
  return found;
}

std::size_t CurvatureMonitor::group_count() const {
  return optimizer_ == nullptr ? group_count_
                               : optimizer_->param_groups().size();
}

double CurvatureMonitor::now() const {
  if (options_.clock()) return options_.clock()();
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Whether to measure the update that has just been counted.
bool CurvatureMonitor::wake() {
  if (options_.budget() == 0) return true;
  const double time = now();
  if (!std::isnan(mark_)) {
    trained_ += std::max(time - mark_, 0.0);
    timed_updates_ += updates_ - marked_update_;
  }
  mark_ = time;
  marked_update_ = updates_;
  wake_ = next_;
  if (updates_ < next_) return false;
  // Nothing is known of the first one's cost.
  if (spent_ == 0 ||
      spent_ + cost_ <= options_.budget() / kPercent * trained_) {
    return true;
  }
  plan_next();
  return false;
}

// The next multiple of `every`; with a budget, the first one that it seems to
// allow.
void CurvatureMonitor::plan_next() {
  int64_t wait = 1;
  if (options_.budget() > 0 && trained_ > 0) {
    const double missing =
        (spent_ + cost_) * kPercent / options_.budget() - trained_;
    const double updates =
        missing / trained_ * static_cast<double>(timed_updates_);
    // An estimate from few updates may be far off: it is looked at again.
    constexpr double kMostIntervals = 1000;
    constexpr double kMostUpdates = 0x1p52;
    const double most = std::min(
        kMostIntervals * static_cast<double>(options_.every()), kMostUpdates);
    // In this order, so that what is no number becomes 1.
    wait =
        static_cast<int64_t>(std::min(std::max(1.0, std::ceil(updates)), most));
  }
  const int64_t every = options_.every();
  const int64_t earliest = updates_ + wait;
  const int64_t beyond = earliest % every;
  next_ = beyond == 0 ? earliest : earliest + (every - beyond);
  wake_ = next_;
}

double CurvatureMonitor::overhead() const {
  if (options_.budget() == 0) return std::numeric_limits<double>::quiet_NaN();
  return kPercent * spent_ / trained_;
}

// What the optimizer adds to the Hessian, where that is the same for all
// parameters and all that it does.
std::optional<double> CurvatureMonitor::added_to_hessian(
    const TensorVector& gradients) const {
  if (optimizer_ == nullptr) {
    if (options_.preconditioner()) return std::nullopt;
    return 0;
  }
  if (!has_coming_operator(*optimizer_)) return 0;
  const OptimizerTraits& traits = *find_traits(*optimizer_);
  // One that may clip, of which only the gradient tells whether it does.
  const bool may_clip = traits.gradient_factor() && !gradients.empty();
  if (traits.gradient() != GradientUse::kDescends || may_clip) {
    return std::nullopt;
  }
  std::optional<double> common;
  for (const auto& group : optimizer_->param_groups()) {
    const double own =
        detail::descent_numbers(traits, group.options()).coupled_decay;
    if (common.value_or(own) != own) return std::nullopt;
    common = own;
  }
  return common;
}

LinearOperator CurvatureMonitor::changed(
    const LinearOperator& op, const TensorVector& gradients) const {
  if (added_to_hessian(gradients) == 0.0) return op;
  if (optimizer_ == nullptr) return options_.preconditioner()(op);
  return coming_operator(op, *optimizer_, gradients).op;
}

// lr * sharpness stays below it, of each group; empty where one has none.
std::vector<double> CurvatureMonitor::limits() const {
  if (optimizer_ == nullptr) {
    if (!options_.has_limit()) return {};
    return std::vector<double>(
        group_count_,
        max_stable_lr(
            1,
            options_.momentum(),
            options_.nesterov(),
            options_.momentum_limit()));
  }
  if (!has_coming_operator(*optimizer_)) return {};
  std::vector<double> limits;
  for (const auto& group : optimizer_->param_groups()) {
    const auto numbers =
        detail::descent_numbers(*find_traits(*optimizer_), group.options());
    // With a dampening of 1 or more momentum gathers nothing, or goes uphill.
    if (!(numbers.entering() > 0)) return {};
    limits.push_back(
        max_stable_lr(
            1, numbers.momentum, numbers.nesterov, options_.momentum_limit()) /
        numbers.entering());
  }
  return limits;
}

// A group's rate counts as its share of the largest, and more where its own
// limit is lower than that of the group which has that.
CurvatureMonitor::Rates CurvatureMonitor::rates_of(
    const std::vector<double>& lrs) const {
  const std::size_t count = group_count();
  Rates rates;
  rates.largest = largest_of(lrs, count);
  const std::vector<double> limits = this->limits();
  const auto first = static_cast<std::size_t>(
      std::max_element(lrs.begin(), lrs.end()) - lrs.begin());
  if (!limits.empty()) rates.limit = limits[first];
  for (std::size_t group = 0; group < count; ++group) {
    const double lr = lrs.size() == 1 ? lrs[0] : lrs[group];
    const double share = lr == rates.largest ? 1 : lr / rates.largest;
    const double tighter = rates.limit ? *rates.limit / limits[group] : 1;
    rates.scales.push_back(std::sqrt(share * tighter));
  }
  return rates;
}

LinearOperator CurvatureMonitor::scaled(
    const LinearOperator& inner, const Rates& rates) const {
  if (rates.alike()) return inner;
  std::vector<double> scales;
  for (const std::size_t group : watched().groups) {
    scales.push_back(rates.scales[group]);
  }
  TORCH_CHECK(
      scales.size() == inner.like().size(),
      kCurvatureMonitor,
      ": rates or limits differ among groups, and the operator has ",
      inner.like().size(),
      " tensors, expected ",
      scales.size(),
      " (one a parameter)");
  const auto scale = [scales](TensorVector vector) {
    for (std::size_t i = 0; i < scales.size(); ++i) {
      vector[i] = vector[i].mul(scales[i]);
    }
    return vector;
  };
  return detail::mapped(
      inner,
      inner.like(),
      scale,
      [scale](TensorVector product, const TensorVector& /*scaled*/) {
        return scale(std::move(product));
      });
}

// H + decay has the eigenvectors of H, and where the eigenvalue of largest
// magnitude is positive they have the same leading one: one measurement tells
// both. Else the effective sharpness is NaN.
void CurvatureMonitor::measure_with_decay(
    Trial& trial, const LinearOperator& op, double decay) {
  TensorVector last_v;
  TensorVector last_product;
  trial.row.sharpness = trial.meter.measure(
      function_operator(op.like(), [&](const TensorVector& v) {
        last_v = v;
        last_product = op.apply(v);
        return last_product;
      }));
  trial.row.effective_sharpness = std::numeric_limits<double>::quiet_NaN();
  const double rising = detail::dot(last_v, last_product).item<double>();
  if (!(rising > 0)) return;
  const TensorVector moved = detail::plus_scaled(
      last_product, at::scalar_tensor(decay, at::kDouble), last_v);
  trial.row.effective_sharpness = detail::norm(moved) / detail::norm(last_v);
}

CurvatureMonitor::Trial CurvatureMonitor::attempt(
    const std::vector<double>& lrs,
    const LinearOperator& op,
    const TensorVector& gradients) const {
  Trial trial{meter_, effective_meter_, {}};
  CurvatureMeasurement& row = trial.row;
  const Rates rates = rates_of(lrs);
  const std::optional<double> added = added_to_hessian(gradients);
  TORCH_CHECK(
      added || optimizer_ == nullptr || !gradients.empty() ||
          find_traits(*optimizer_)->gradient() == GradientUse::kDescends,
      kCurvatureMonitor,
      ": the closure must return a loss for ",
      find_traits(*optimizer_)->name(),
      ", whose preconditioner takes the gradient, and it returned an operator");
  row.update = updates_;
  row.lr = rates.largest;
  const bool one_measurement = added && rates.alike();
  if (one_measurement && *added != 0) {
    measure_with_decay(trial, op, *added);
  } else {
    row.sharpness = trial.meter.measure(op);
    row.effective_sharpness = row.sharpness;
  }
  if (!one_measurement || std::isnan(row.effective_sharpness)) {
    row.effective_sharpness =
        trial.effective_meter.measure(scaled(changed(op, gradients), rates));
  } else {
    // A fresher vector than one of long ago, should it be wanted again.
    trial.effective_meter = trial.meter;
  }
  row.limit = rates.limit;
  if (row.limit) row.lr_sharpness = row.lr * row.effective_sharpness;
  if (options_.trace_samples() > 0) {
    // By the update, so that there is no state of it to keep.
    auto generator = at::detail::createCPUGenerator(
        static_cast<uint64_t>(options_.meter().seed()) +
        static_cast<uint64_t>(updates_));
    const TraceResult trace = hutchinson_trace(
        op,
        HutchinsonOptions()
            .samples(options_.trace_samples())
            .generator(generator));
    row.trace = trace.value;
    row.trace_error = trace.standard_error;
  }
  return trial;
}

const CurvatureMeasurement& CurvatureMonitor::timed(
    const std::function<Trial()>& work) {
  const double start = options_.budget() > 0 ? now() : 0;
  Trial trial = work();
  if (options_.budget() > 0) {
    if (!std::isnan(mark_)) {
      // Where this was not asked for by a step().
      trained_ += std::max(start - mark_, 0.0);
      timed_updates_ += updates_ - marked_update_;
    }
    mark_ = now();
    marked_update_ = updates_;
    cost_ = std::max(mark_ - start, 0.0);
    spent_ += cost_;
  }
  meter_ = std::move(trial.meter);
  effective_meter_ = std::move(trial.effective_meter);
  rows_.push_back(trial.row);
  plan_next();
  return rows_.back();
}

const CurvatureMeasurement& CurvatureMonitor::measure(
    const std::vector<double>& lrs, const OperatorClosure& closure) {
  TORCH_CHECK(closure != nullptr, kCurvatureMonitor, ": the closure is empty");
  largest_of(lrs, group_count());
  return timed([&] { return attempt(lrs, closure(), {}); });
}

const CurvatureMeasurement& CurvatureMonitor::measure(
    const std::vector<double>& lrs, const GraphClosure& closure) {
  largest_of(lrs, group_count());
  const CurvatureMeterOptions& own = options_.meter();
  return timed([&] {
    const TensorVector parameters = watched().parameters;
    HessianOptions options;
    options.method(own.method()).buffers(own.buffers());
    const auto hessian = hessian_operator(closure, parameters, options);
    Trial trial = attempt(lrs, hessian, hessian.used_gradient());
    if (!std::isfinite(trial.row.sharpness) &&
        own.method() == HessianMethod::kAutomatic &&
        hessian.method() == HessianMethod::kExact) {
      // As CurvatureMeter does: the loss may be smooth all the same.
      options.method(HessianMethod::kFiniteDifference)
          .gradient(hessian.gradient());
      trial = attempt(
          lrs,
          hessian_operator(closure, parameters, options),
          hessian.used_gradient());
    }
    return trial;
  });
}

void CurvatureMonitor::save(torch::serialize::OutputArchive& archive) const {
  Columns columns(kNumbers);
  std::vector<std::vector<int64_t>> there(kNumbers);
  for (const CurvatureMeasurement& row : rows_) {
    const auto numbers = numbers_of(row);
    for (std::size_t i = 0; i < kNumbers; ++i) {
      columns[i].push_back(numbers[i].value_or(0));
      there[i].push_back(numbers[i] ? 1 : 0);
    }
  }
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const std::string key = "column" + std::to_string(i);
    detail::write_doubles(archive, key, columns[i]);
    if (i >= kAlwaysThere) detail::write_ints(archive, key + "_is", there[i]);
  }
  write_part(archive, "meter", meter_);
  write_part(archive, "effective_meter", effective_meter_);
  detail::write_int(archive, "updates", updates_);
  detail::write_int(archive, "next", next_);
  detail::write_double(archive, "cost", cost_);
  detail::write_double(archive, "spent", spent_);
  // The updates since the clock was looked at, too: a run that is resumed often
  // would forget them again and again.
  const bool runs = options_.budget() > 0 && !std::isnan(mark_);
  detail::write_double(
      archive,
      "trained",
      trained_ + (runs ? std::max(now() - mark_, 0.0) : 0.0));
  detail::write_int(
      archive,
      "timed_updates",
      timed_updates_ + (runs ? updates_ - marked_update_ : 0));
}

void CurvatureMonitor::load(torch::serialize::InputArchive& archive) {
  Columns columns;
  std::vector<std::vector<int64_t>> there(kNumbers);
  std::size_t count = 0;
  bool sound = true;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const std::string key = "column" + std::to_string(i);
    columns.push_back(detail::read_doubles(archive, kCurvatureMonitor, key));
    if (i == 0) count = columns[0].size();
    there[i].assign(count, 1);
    if (i >= kAlwaysThere) {
      there[i] = detail::read_ints(archive, kCurvatureMonitor, key + "_is");
    }
    sound = sound && columns[i].size() == count && there[i].size() == count;
  }
  TORCH_CHECK(
      sound,
      kCurvatureMonitor,
      ": the rows of the archive are no measurements");
  detail::check_finite(kCurvatureMonitor, "column0", columns[0]);
  std::vector<CurvatureMeasurement> rows;
  for (std::size_t row = 0; row < count; ++row) {
    std::vector<std::optional<double>> numbers(kNumbers);
    for (std::size_t i = 0; i < kNumbers; ++i) {
      if (there[i][row] != 0) numbers[i] = columns[i][row];
    }
    rows.push_back(row_of(numbers));
  }
  auto meter = read_meter(archive, "meter", meter_);
  auto effective_meter =
      read_meter(archive, "effective_meter", effective_meter_);
  const auto updates = detail::read_int(archive, kCurvatureMonitor, "updates");
  const auto next = detail::read_int(archive, kCurvatureMonitor, "next");
  const double cost = detail::read_double(archive, kCurvatureMonitor, "cost");
  const double spent = detail::read_double(archive, kCurvatureMonitor, "spent");
  const double trained =
      detail::read_double(archive, kCurvatureMonitor, "trained");
  const auto timed_updates =
      detail::read_int(archive, kCurvatureMonitor, "timed_updates");
  detail::check_finite(kCurvatureMonitor, "time", {cost, spent, trained});
  rows_ = std::move(rows);
  meter_ = std::move(meter);
  effective_meter_ = std::move(effective_meter);
  updates_ = updates;
  next_ = next;
  cost_ = cost;
  spent_ = spent;
  trained_ = trained;
  timed_updates_ = timed_updates;
  // The clock of now is another one: the next step() starts it.
  mark_ = std::numeric_limits<double>::quiet_NaN();
  marked_update_ = updates;
  wake_ = options_.budget() > 0 ? std::min(next, updates + 1) : next;
}

}  // namespace stepsize
