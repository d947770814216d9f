#include <stepsize/tune/batch_size_schedule.h>

#include <c10/util/Exception.h>
#include <stepsize/schedule/decay.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <vector>

#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr char kBatchSizeSchedule[] = "BatchSizeSchedule";
constexpr int64_t kMostTime = 100'000'000;
constexpr int64_t kMostBatch = 1'000'000'000;

int64_t most_micro_batch(const BatchSizeScheduleOptions& options) {
  return options.max_micro_batch() == 0 ? options.max_batch()
                                        : options.max_micro_batch();
}

BatchSizeScheduleOptions checked(BatchSizeScheduleOptions options) {
  const auto check = [](bool holds,
                        const char* option,
                        const std::string& rule,
                        int64_t value) {
    detail::check_option(holds, kBatchSizeSchedule, option, rule, value);
  };
  const int64_t base = options.base_batch();
  const int64_t most = options.max_batch();
  check(base >= 1, "base_batch", ">= 1", base);
  check(
      most >= base && most <= kMostBatch,
      "max_batch",
      "in [base_batch, 1e9] = [" + std::to_string(base) + ", " +
          std::to_string(kMostBatch) + "]",
      most);
  check(
      options.max_micro_batch() >= 0,
      "max_micro_batch",
      ">= 0",
      options.max_micro_batch());
  const int64_t micro = most_micro_batch(options);
  const int64_t unit = options.multiple_of();
  check(
      unit >= 1 && unit <= micro,
      "multiple_of",
      "in [1, max_micro_batch] = [1, " + std::to_string(micro) + "]",
      unit);
  check(
      base % unit == 0,
      "base_batch",
      "a multiple of multiple_of = " + std::to_string(unit),
      base);
  return options;
}

double checked_length(const Schedule& schedule) {
  const double length = schedule.length();
  TORCH_CHECK(
      !std::isinf(length),
      kBatchSizeSchedule,
      ": the schedule must have an end; cut it with limit(): ",
      schedule.to_string());
  detail::check_option(
      length <= static_cast<double>(kMostTime),
      kBatchSizeSchedule,
      "the schedule's length",
      "<= 1e8",
      length);
  return length;
}

// Equal micro-batches of at most `most` examples for at most `wanted` in all:
// full ones, or one more of smaller ones, whichever have more examples. (Many
// tiny ones may come closer to `wanted`, and cost too many passes.) The batch
// never falls as `wanted` grows. All numbers are in units of `unit` examples.
BatchPlan plan_of(int64_t wanted, int64_t most, int64_t unit) {
  const int64_t whole = wanted / most;
  const int64_t parts = whole + 1;
  const int64_t part = wanted / parts;
  if (whole * most >= parts * part) {
    return {whole * most * unit, most * unit, whole, 0};
  }
  return {parts * part * unit, part * unit, parts, 0};
}

}  // namespace

struct BatchSizeSchedule::Table {
  // The plan from a whole time on, with the update that is the first to come at
  // or after it, and the examples seen before that update.
  struct Entry {
    int64_t time;
    BatchPlan plan;
    int64_t first_update;
    int64_t examples;
  };

  Table(const Schedule& curve, const BatchSizeScheduleOptions& settings)
      : schedule(curve),
        options(checked(settings)),
        length(checked_length(curve)) {
    find_batches();
    count_updates();
  }

  void find_batches() {
    const auto last = static_cast<int64_t>(std::ceil(length));
    std::vector<double> highest(static_cast<std::size_t>(last) + 1);
    double high = 0;
    for (int64_t t = last; t >= 0; --t) {
      const double factor = schedule(static_cast<double>(t));
      high = std::max(high, factor);
      highest[static_cast<std::size_t>(t)] = high;
    }
    TORCH_CHECK(
        high > 0,
        kBatchSizeSchedule,
        ": the schedule's factor must be > 0 somewhere: ",
        schedule.to_string());
    const int64_t unit = options.multiple_of();
    const int64_t most_micro = most_micro_batch(options) / unit;
    for (int64_t t = 0; t <= last; ++t) {
      const double share = highest[static_cast<std::size_t>(t)] / high;
      const BatchPlan plan =
          plan_of(wanted_batch(share) / unit, most_micro, unit);
      if (entries.empty() || entries.back().plan.batch != plan.batch) {
        entries.push_back({t, plan, 0, 0});
      }
    }
  }

  int64_t wanted_batch(double share) const {
    const bool is_linear = options.exchange() == BatchExchange::kLinear;
    const double divisor = is_linear ? share : share * share;
    // A batch that is whole but for rounding counts as whole.
    const double batch =
        static_cast<double>(options.base_batch()) / divisor * (1 + 1e-12);
    return batch < static_cast<double>(options.max_batch())
               ? static_cast<int64_t>(batch)
               : options.max_batch();
  }

  void count_updates() {
    int64_t update = 0;
    int64_t examples = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      entries[i].first_update = update;
      entries[i].examples = examples;
      // A schedule may end between whole times, and the last entry stand past
      // it.
      const double end =
          i + 1 < entries.size()
              ? std::min(static_cast<double>(entries[i + 1].time), length)
              : length;
      const auto goal = static_cast<int64_t>(
          std::ceil(end * static_cast<double>(options.base_batch())));
      const int64_t batch = entries[i].plan.batch;
      const int64_t count =
          std::max<int64_t>(0, (goal - examples + batch - 1) / batch);
      update += count;
      examples += count * batch;
    }
    updates = update;
  }

  double lr_factor(double t, int64_t batch) const {
    const double growth =
        static_cast<double>(batch) / static_cast<double>(options.base_batch());
    const bool is_linear = options.exchange() == BatchExchange::kLinear;
    return schedule(std::min(t, length)) *
           (is_linear ? growth : std::sqrt(growth));
  }

  BatchPlan with_rate(BatchPlan plan, double t) const {
    plan.lr_factor = lr_factor(t, plan.batch);
    return plan;
  }

  BatchPlan at(double t) const {
    const double time = std::min(t, length);
    const auto after = std::upper_bound(
        entries.begin(),
        entries.end(),
        // The plan at the end is that of the whole time after it.
        t < length ? std::floor(time) : std::ceil(time),
        [](double value, const Entry& entry) {
          return value < static_cast<double>(entry.time);
        });
    return with_rate(std::prev(after)->plan, time);
  }

  BatchPlan at_update(int64_t n) const {
    if (n >= updates) return at(length);
    const auto after = std::upper_bound(
        entries.begin(), entries.end(), n, [](int64_t value, const Entry& e) {
          return value < e.first_update;
        });
    const Entry& entry = *std::prev(after);
    const int64_t examples =
        entry.examples + (n - entry.first_update) * entry.plan.batch;
    return with_rate(
        entry.plan,
        static_cast<double>(examples) /
            static_cast<double>(options.base_batch()));
  }

  Schedule schedule;
  BatchSizeScheduleOptions options;
  double length;
  std::vector<Entry> entries;
  int64_t updates = 0;
};

BatchSizeSchedule::BatchSizeSchedule(
    const Schedule& schedule, const BatchSizeScheduleOptions& options)
    : table_(std::make_shared<const Table>(schedule, options)) {}

BatchPlan BatchSizeSchedule::at(double t) const {
  detail::check_option(t >= 0, kBatchSizeSchedule, "t", ">= 0", t);
  return table_->at(t);
}

BatchPlan BatchSizeSchedule::at_update(int64_t n) const {
  detail::check_option(n >= 0, kBatchSizeSchedule, "n", ">= 0", n);
  return table_->at_update(n);
}

double BatchSizeSchedule::lr_factor(double t, int64_t batch) const {
  detail::check_option(t >= 0, kBatchSizeSchedule, "t", ">= 0", t);
  detail::check_option(batch >= 1, kBatchSizeSchedule, "batch", ">= 1", batch);
  return table_->lr_factor(t, batch);
}

int64_t BatchSizeSchedule::updates() const { return table_->updates; }

Schedule BatchSizeSchedule::lr_schedule() const {
  const auto table = table_;
  return callable(
      [table](double n) {
        // Past the end, which is held, and within the range of int64_t.
        const auto most = static_cast<double>(table->updates);
        return table->at_update(static_cast<int64_t>(std::min(n, most)))
            .lr_factor;
      },
      static_cast<double>(updates()));
}

const Schedule& BatchSizeSchedule::schedule() const { return table_->schedule; }

const BatchSizeScheduleOptions& BatchSizeSchedule::options() const {
  return table_->options;
}

}  // namespace stepsize
