#include <stepsize/tune/lr_search.h>

#include <ATen/Context.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/state/random_state.h"
#include "csrc/tune/halton.h"
#include "csrc/tune/search_columns.h"
#include "csrc/tune/search_journal.h"
#include "csrc/tune/search_model.h"
#include "csrc/tune/search_state.h"
#include "csrc/tune/trial_access.h"

namespace stepsize {
namespace {

constexpr char kLRSearch[] = "LRSearch";
constexpr double kNaNLoss = std::numeric_limits<double>::quiet_NaN();

using detail::SearchRecord;
using detail::SearchState;

SearchSpace checked_space(const LRSearchOptions& options) {
  const auto check =
      [](bool holds, const char* option, const std::string& rule, auto value) {
        detail::check_option(holds, kLRSearch, option, rule, value);
      };
  const double low = options.low();
  const double high = options.high();
  check(std::isfinite(low) && low > 0, "low", "finite and > 0", low);
  check(
      std::isfinite(high) && high > low,
      "high",
      "finite and > low (" + detail::number_text(low) + ")",
      high);
  check(options.trials() >= 0, "trials", ">= 0", options.trials());
  check(options.startup() >= 0, "startup", ">= 0", options.startup());
  check(
      options.repeats() >= 1 && options.repeats() <= 1000,
      "repeats",
      "in [1, 1000]",
      options.repeats());
  check(options.halving() > 1, "halving", "> 1", options.halving());
  SearchSpace space;
  space.add({"lr", low, high, SearchScale::kLog});
  space.add(options.numbers());
  check(
      space.size() <= detail::kMostHaltonDimensions,
      "numbers",
      "at most " + std::to_string(detail::kMostHaltonDimensions - 1) +
          " besides the rate",
      static_cast<int64_t>(space.size()) - 1);
  for (const char* column : detail::kSearchColumns) {
    for (const SearchNumber& number : space.numbers()) {
      TORCH_CHECK(
          number.name != column,
          kLRSearch,
          ": a number must not have the name of a column of write_csv(), got '",
          number.name,
          "'");
    }
  }
  return space;
}

std::vector<at::Generator> default_generators() {
  std::vector<at::Generator> all = {detail::default_generator(at::kCPU)};
  for (std::size_t i = 0; i < detail::cuda_devices(); ++i) {
    all.push_back(detail::default_generator(
        at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(i))));
  }
  return all;
}

// The random state as it was, however the search ends.
class RandomStateKeeper {
 public:
  RandomStateKeeper() : state_(default_generators()) {}
  ~RandomStateKeeper() {
    try {
      state_.restore();
    } catch (const std::exception& error) {
      TORCH_WARN(kLRSearch, ": the random state is lost: ", error.what());
    }
  }
  RandomStateKeeper(const RandomStateKeeper&) = delete;
  RandomStateKeeper& operator=(const RandomStateKeeper&) = delete;

 private:
  detail::RandomState state_;
};

std::uint64_t mixed(int64_t seed, int64_t number) {
  auto state = static_cast<std::uint64_t>(seed);
  state = detail::split_mix(state) + static_cast<std::uint64_t>(number);
  return detail::split_mix(state);
}

double median_of_some(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Losses of trials as the model takes them. A variance of two or three
// repeats says little: they share one, in the units of the model.
std::vector<detail::SearchObservation> observations_of(
    const SearchState& state) {
  std::vector<detail::SearchObservation> all;
  bool is_log = true;
  std::vector<double> variances;
  std::vector<double> relative;
  for (std::size_t i = 0; i < state.trials().size(); ++i) {
    const SearchState::Trial& trial = state.trials()[i];
    detail::SearchObservation one{trial.values, std::nullopt, 0};
    const std::string status = trial.status();
    if (status == "finished") one.loss = trial.mean_loss();
    if (status == "stopped") {
      one.loss = state.stopped_loss(static_cast<int64_t>(i));
    }
    if (status == "diverged") one.loss = kNaNLoss;
    if (one.loss && std::isfinite(*one.loss)) {
      is_log = is_log && *one.loss > 0;
      const double variance = trial.loss_variance();
      if (std::isfinite(variance)) {
        variances.push_back(variance);
        relative.push_back(variance / (*one.loss * *one.loss));
      }
    }
    all.push_back(std::move(one));
  }
  const double shared = median_of_some(is_log ? relative : variances);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!all[i].loss || !std::isfinite(*all[i].loss)) continue;
    const auto count = static_cast<double>(
        std::max<int64_t>(state.trials()[i].finished_repeats(), 1));
    const double unit = is_log ? *all[i].loss * *all[i].loss : 1;
    all[i].variance = shared * unit / count;
  }
  return all;
}

TrialStatus status_of(const std::string& word) {
  if (word == "finished") return TrialStatus::kFinished;
  return word == "stopped" ? TrialStatus::kStopped : TrialStatus::kDiverged;
}

// The journals of the trials that a thread is in, the innermost last. A search
// that is called in a trial of its own journal would wait for that trial, which
// waits for it.
class TrialOfThread {
 public:
  using File = std::pair<std::uint64_t, std::uint64_t>;

  explicit TrialOfThread(File journal) { journals().push_back(journal); }
  ~TrialOfThread() { journals().pop_back(); }
  TrialOfThread(const TrialOfThread&) = delete;
  TrialOfThread& operator=(const TrialOfThread&) = delete;

  static bool is_in_trial_of(File journal) {
    const auto& all = journals();
    return std::find(all.begin(), all.end(), journal) != all.end();
  }

 private:
  static std::vector<File>& journals() {
    thread_local std::vector<File> files;
    return files;
  }
};

class Search {
 public:
  Search(const TrialClosure& train, const LRSearchOptions& options)
      : train_(train),
        options_(options),
        space_(checked_space(options)),
        state_(space_.size(), options.repeats()) {
    TORCH_CHECK(train, kLRSearch, ": the closure must be a function, got none");
    if (options.journal().empty()) return;
    SearchRecord head;
    head.space = space_.to_string();
    head.context = {
        space_.context().steps_per_epoch, space_.context().run_length};
    head.label = options.label();
    head.seed = options.seed();
    head.repeats = options.repeats();
    journal_ = std::make_unique<detail::SearchJournal>(options.journal(), head);
    TORCH_CHECK(
        !TrialOfThread::is_in_trial_of(journal_->file()),
        kLRSearch,
        ": ",
        options.journal(),
        " is the journal of the search that this one is called in; it must be "
        "another");
  }

  LRSearchResult run() {
    const RandomStateKeeper keeper;
    while (const auto trial = take()) {
      run_trial(*trial);
      if (options_.progress() && !options_.progress()(searched(*trial))) break;
    }
    return result();
  }

 private:
  // Calls with the journal to itself and all that stands in it known.
  template <typename Call>
  auto in_turn(const Call& call) {
    if (!journal_) return call();
    const detail::SearchJournal::Turn turn(*journal_);
    for (const SearchRecord& record : journal_->read()) {
      if (!fits(record) || !state_.apply(record)) ++misfits_;
    }
    return call();
  }

  bool fits(const SearchRecord& record) const {
    if (record.kind != SearchRecord::Kind::kStart) return true;
    if (record.values.size() != space_.size()) return false;
    for (std::size_t i = 0; i < space_.size(); ++i) {
      const SearchNumber& number = space_.numbers()[i];
      const double value = record.values[i];
      if (!(value >= number.low && value <= number.high)) return false;
    }
    return true;
  }

  void record(const SearchRecord& record) {
    if (journal_) journal_->add(record);
    state_.apply(record);
  }

  // The trial to run next, which is this process's then; nothing where all have
  // ended.
  std::optional<int64_t> take() {
    constexpr std::chrono::milliseconds kPause(50);
    while (true) {
      bool all_done = false;
      const auto taken = in_turn([&]() -> std::optional<int64_t> {
        const auto count = static_cast<int64_t>(state_.trials().size());
        bool running = false;
        for (int64_t i = 0; i < count; ++i) {
          if (state_.trials()[static_cast<std::size_t>(i)].is_done()) continue;
          if (!journal_ || journal_->claim(i)) return i;
          running = true;
        }
        if (count < trials()) {
          SearchRecord start;
          start.kind = SearchRecord::Kind::kStart;
          start.trial = count;
          start.values = sound_proposal(count);
          if (journal_) journal_->claim(count);
          record(start);
          return count;
        }
        all_done = !running;
        return std::nullopt;
      });
      if (taken || all_done) return taken;
      // Others are at it: what they leave undone is ours.
      std::this_thread::sleep_for(kPause);
    }
  }

  int64_t trials() const {
    if (options_.trials() > 0) return options_.trials();
    return 5 + 10 * static_cast<int64_t>(space_.size());
  }

  int64_t startup() const {
    if (options_.startup() > 0) return options_.startup();
    return 1 + 2 * static_cast<int64_t>(space_.size());
  }

  detail::SearchModel model_of(
      const std::vector<detail::SearchObservation>& observations) const {
    return {space_, observations, static_cast<std::size_t>(startup())};
  }

  // A text that add_schedule() has tried at some places only may be none here:
  // another place is taken then, before any process has begun with this one.
  std::vector<double> sound_proposal(int64_t number) const {
    std::vector<double> values = proposal(number);
    if (!space_.has_schedule()) return values;
    const detail::Halton sequence(
        space_.size(), static_cast<std::uint64_t>(options_.seed()));
    constexpr int64_t kMostTries = 1000;
    constexpr int64_t kBeyondTrials = 1 << 20;
    for (int64_t tried = 1;; ++tried) {
      try {
        space_.schedule(values);
        return values;
      } catch (const ParseError&) {
        if (tried == kMostTries) throw;
      }
      values = space_.at(sequence.point(tried * kBeyondTrials + number));
    }
  }

  std::vector<double> proposal(int64_t number) const {
    if (number >= startup()) {
      const auto observations = observations_of(state_);
      if (detail::SearchModel::can_be_made(observations)) {
        return model_of(observations).propose(mixed(options_.seed(), number));
      }
    }
    const detail::Halton sequence(
        space_.size(), static_cast<std::uint64_t>(options_.seed()));
    return space_.at(sequence.point(number));
  }

  void run_trial(int64_t number) {
    for (int64_t repeat = 0; repeat < options_.repeats(); ++repeat) {
      const SearchState::Trial& trial =
          state_.trials()[static_cast<std::size_t>(number)];
      if (trial.is_done()) break;
      if (trial.repeats[static_cast<std::size_t>(repeat)].status.empty()) {
        run_repeat(number, repeat);
      }
    }
    if (journal_) journal_->release(number);
  }

  void run_repeat(int64_t number, int64_t repeat) {
    SearchRecord end;
    end.kind = SearchRecord::Kind::kEnd;
    end.trial = number;
    end.repeat = repeat;
    end.status = "finished";
    int64_t told = -1;
    const Trial::Report report = [&](int64_t step, double loss) {
      if (end.status != "finished") return false;
      end.step = step;
      end.loss = loss;
      if (!std::isfinite(loss)) {
        end.status = "diverged";
        return false;
      }
      // Twenty-odd reports a decade of steps tell as much as all.
      constexpr double kNext = 1.1;
      if (told >= 0 &&
          static_cast<double>(step) < kNext * static_cast<double>(told)) {
        return true;
      }
      told = step;
      const bool goes_on = in_turn([&] {
        const bool does =
            state_.goes_on(number, repeat, step, loss, options_.halving());
        SearchRecord on_the_way = end;
        on_the_way.kind = SearchRecord::Kind::kReport;
        record(on_the_way);
        return does;
      });
      if (!goes_on) end.status = "stopped";
      return goes_on;
    };
    // Not above 2^63, for generators that take a signed seed.
    const auto seed =
        static_cast<int64_t>(mixed(options_.seed(), repeat) >> 1U);
    // A trial that the closure keeps must not reach for what ends here.
    const auto reporter = std::make_shared<Trial::Report>(report);
    Trial trial = TrialAccess::make(
        space_,
        state_.trials()[static_cast<std::size_t>(number)].values,
        number,
        repeat,
        seed,
        reporter);
    at::manual_seed(static_cast<std::uint64_t>(seed));
    try {
      std::optional<TrialOfThread> place;
      if (journal_) place.emplace(journal_->file());
      const double loss = train_(trial);
      if (end.status == "finished") end.loss = loss;
    } catch (const TrialDiverged&) {
      if (end.status == "finished") end.status = "diverged";
    }
    if (end.status != "stopped" && !std::isfinite(end.loss)) {
      end.status = "diverged";
    }
    if (end.status == "diverged") end.loss = kNaNLoss;
    in_turn([&] { record(end); });
  }

  SearchedTrial searched(int64_t number) const {
    const SearchState::Trial& trial =
        state_.trials()[static_cast<std::size_t>(number)];
    SearchedTrial out;
    out.number = number;
    out.values = trial.values;
    out.status = status_of(trial.status());
    out.steps = trial.steps();
    out.loss = kNaNLoss;
    out.loss_error = kNaNLoss;
    if (out.status == TrialStatus::kFinished) {
      out.loss = trial.mean_loss();
      out.loss_error = std::sqrt(
          trial.loss_variance() /
          static_cast<double>(trial.finished_repeats()));
    } else if (out.status == TrialStatus::kStopped) {
      for (const auto& repeat : trial.repeats) {
        if (repeat.status == "stopped") out.loss = repeat.loss;
      }
    }
    return out;
  }

  LRSearchResult result() {
    LRSearchResult result;
    result.space = space_;
    result.broken_lines =
        misfits_ + (journal_ ? journal_->broken_lines() : int64_t{0});
    if (result.broken_lines > 0) {
      TORCH_WARN(
          kLRSearch,
          ": ",
          std::to_string(result.broken_lines),
          " lines of ",
          options_.journal(),
          " are none of a search, and were left out");
    }
    for (std::size_t i = 0; i < state_.trials().size(); ++i) {
      if (state_.trials()[i].is_done()) {
        result.trials.push_back(searched(static_cast<int64_t>(i)));
      }
    }
    result.importance.assign(space_.size(), kNaNLoss);
    const auto observations = observations_of(state_);
    if (!detail::SearchModel::can_be_made(observations)) return result;
    const detail::SearchModel model = model_of(observations);
    result.importance = model.importance();
    std::vector<double> base;
    double lowest = std::numeric_limits<double>::infinity();
    for (const detail::SearchObservation& one : observations) {
      if (one.loss && *one.loss < lowest) {
        lowest = *one.loss;
        base = one.values;
      }
    }
    if (result.has_best()) base = result.best().values;
    for (std::size_t i = 0; i < space_.size(); ++i) {
      auto curve = model.curve(i, base);
      result.responses.push_back(
          {std::move(curve.values),
           std::move(curve.means),
           std::move(curve.lows),
           std::move(curve.highs)});
    }
    return result;
  }

  const TrialClosure& train_;
  const LRSearchOptions& options_;
  SearchSpace space_;
  SearchState state_;
  std::unique_ptr<detail::SearchJournal> journal_;
  int64_t misfits_ = 0;
};

}  // namespace

LRSearchResult lr_search(
    const TrialClosure& train, const LRSearchOptions& options) {
  return Search(train, options).run();
}

}  // namespace stepsize
