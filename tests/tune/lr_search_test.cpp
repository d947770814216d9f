#include <stepsize/tune/lr_search.h>

#include <ATen/Functions.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/report/svg.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Lowest at 0.03, where it is 1; nine times as high a decade away.
double valley(double lr) {
  const double decades = std::log10(lr / 0.03);
  return std::pow(9, decades * decades);
}

LRSearchOptions wide() { return LRSearchOptions(1e-5, 10); }

std::string table_of(const LRSearchResult& result) {
  std::ostringstream text;
  text << result.table(1000);
  for (const auto& trial : result.trials) {
    for (const double value : trial.values) text << std::hexfloat << value;
  }
  return text.str();
}

TEST(LRSearch, FindsTheLowestPlaceOfAValley) {
  for (int64_t seed = 0; seed < 20; ++seed) {
    const auto result = lr_search(
        [](Trial& trial) { return valley(trial.lr()); }, wide().seed(seed));
    EXPECT_EQ(result.trials.size(), 15U);
    EXPECT_LT(result.best().loss, 1.01) << seed;
    EXPECT_EQ(result.best("lr"), result.best().values[0]);
  }
}

// A quadratic of three numbers, with a cross term.
TEST(LRSearch, FindsTheLowestPlaceOfThreeNumbers) {
  std::vector<double> losses;
  for (int64_t seed = 0; seed < 5; ++seed) {
    const auto result = lr_search(
        [](Trial& trial) {
          const double a = std::log10(trial.lr() / 0.03);
          const double b = std::log10((1 - trial["momentum"]) / 0.1);
          const double c = trial["dropout"] - 0.2;
          return 1 + a * a + b * b + a * b + 10 * c * c;
        },
        wide()
            .numbers("momentum:0..0.999 log1m, dropout:0..0.5")
            .trials(40)
            .seed(seed));
    losses.push_back(result.best().loss);
  }
  for (const double loss : losses) EXPECT_LT(loss, 1.02);
}

TEST(LRSearch, NegativeLossesAreLossesToo) {
  const auto result = lr_search(
      [](Trial& trial) { return std::log(valley(trial.lr())) - 5; }, wide());
  EXPECT_LT(result.best().loss, -4.99);
}

TEST(LRSearch, ATrialThatDivergesIsABadOne) {
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    const auto result = lr_search(
        [bad](Trial& trial) {
          return trial.lr() > 0.05 ? bad : valley(trial.lr());
        },
        wide());
    EXPECT_LT(result.best().loss, 1.01);
    for (const SearchedTrial& trial : result.trials) {
      EXPECT_EQ(trial.status == TrialStatus::kDiverged, trial.values[0] > 0.05);
      EXPECT_EQ(std::isnan(trial.loss), trial.values[0] > 0.05);
    }
  }
}

TEST(LRSearch, DivergenceMayBeThrownOrTold) {
  int told = 0;
  const auto result = lr_search(
      [&told](Trial& trial) {
        if (trial.lr() > 1) throw TrialDiverged();
        if (trial.lr() > 0.05) {
          EXPECT_FALSE(trial.report(1, kNaN));
          EXPECT_FALSE(trial.report(2, 1.0));
          ++told;
          return 1e-9;  // counts for nothing
        }
        return valley(trial.lr());
      },
      wide());
  EXPECT_GT(told, 0);
  EXPECT_NEAR(result.best("lr"), 0.03, 0.01);
}

// What the search has stopped is not known to diverge.
TEST(LRSearch, WhatIsThrownByAStoppedTrialDoesNotMakeItADivergedOne) {
  const auto result = lr_search(
      [](Trial& trial) {
        for (int64_t step = 1; step <= 90; ++step) {
          if (!trial.report(step, valley(trial.lr()))) throw TrialDiverged();
        }
        return valley(trial.lr());
      },
      wide());
  int64_t stopped = 0;
  for (const SearchedTrial& trial : result.trials) {
    EXPECT_NE(trial.status, TrialStatus::kDiverged);
    stopped += trial.status == TrialStatus::kStopped ? 1 : 0;
  }
  EXPECT_GE(stopped, 2);
}

TEST(LRSearch, ATrialThatIsKeptIsOneByItself) {
  std::optional<Trial> kept;
  const auto result = lr_search(
      [&kept](Trial& trial) {
        if (!kept) kept = trial;
        return valley(trial.lr());
      },
      wide().trials(2));
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->lr(), result.trials[0].values[0]);
  EXPECT_TRUE(kept->report(1, 0.5));
  EXPECT_FALSE(kept->report(2, kNaN));
}

// One place of 2^7 is no schedule: add_schedule() does not come to it, the
// proposals do not stay there.
TEST(LRSearch, ProposesNumbersThatAreASchedule) {
  SearchSpace space;
  space.add_schedule(
      "multi_step {a:10%..39.2%} {b:39%..60%} {c:60%..61%} {d:61%..62%} "
      "{e:62%..63%} {f:63%..64%} {g:64%..65%}",
      {0, /*run_length=*/1000});
  const auto result = lr_search(
      [](Trial& trial) {
        EXPECT_GT(trial.schedule()(0), 0);
        // Lowest where a is above b.
        return 2 + std::abs(trial["a"] - 39.2) + std::abs(trial["b"] - 39);
      },
      wide().numbers(space).trials(30));
  EXPECT_EQ(result.trials.size(), 30U);
}

TEST(LRSearch, RefusesNumbersNamedAsColumnsBeforeTheFirstTrial) {
  for (const std::string name :
       {"trial", "status", "loss", "loss_error", "steps", "schedule_text"}) {
    EXPECT_THAT(
        message_of([&] {
          lr_search(
              [](Trial&) -> double { throw std::runtime_error("called"); },
              wide().numbers(name + ":1..2"));
        }),
        HasSubstr("write_csv(), got '" + name + "'"));
  }
}

TEST(LRSearch, ImportanceIsThatOfTinyAndOfNearlyEqualLosses) {
  // A loss below 0 is modelled as it is, not by its logarithm.
  for (const double low : {-1e-9, 1.0}) {
    const auto result = lr_search(
        [low](Trial& trial) {
          return low + 1e-9 * std::log10(trial.lr() / 1e-5);
        },
        wide().numbers("x:0..1").trials(15));
    EXPECT_GT(result.importance[0], 0.9) << low;
    EXPECT_LT(result.importance[1], 0.1) << low;
  }
}

TEST(LRSearch, HasNoBestWhereAllDiverge) {
  const auto result =
      lr_search([](Trial&) { return kNaN; }, wide().numbers("x:0..1"));
  EXPECT_EQ(result.trials.size(), 25U);  // ten more for x
  EXPECT_FALSE(result.has_best());
  EXPECT_THAT(
      message_of([&] { result.best(); }),
      HasSubstr("a trial that has finished, got none of 25"));
  EXPECT_TRUE(std::isnan(result.importance[0]));
  EXPECT_TRUE(result.responses.empty());
  EXPECT_FALSE(result.to_terminal().empty());
  EXPECT_THAT(
      to_svg(result.plot("lr", "Where they were")),
      AllOf(HasSubstr(">diverged<"), HasSubstr(">1e-5<"), HasSubstr(">1e1<")));
  std::ostringstream text;
  text << result;
  EXPECT_EQ(text.str(), "no trial of 25 has finished\n");
}

TEST(LRSearch, ALossThatIsTheSameEverywhereIsNoFault) {
  const auto result = lr_search([](Trial&) { return 2.0; }, wide());
  EXPECT_EQ(result.best().loss, 2);
  EXPECT_EQ(result.importance[0], 0);
}

TEST(LRSearch, HugeAndTinyLossesAreNoFault) {
  const auto result = lr_search(
      [](Trial& trial) {
        return trial.lr() > 1 ? 1e300 : valley(trial.lr()) * 1e-300;
      },
      wide());
  EXPECT_LT(result.best().loss, 1.1e-300);
  const auto below = lr_search(
      [](Trial& trial) {
        return trial.lr() > 1e-4 ? 1e200 * trial.lr() : -1.0;
      },
      wide());
  EXPECT_EQ(below.best().loss, -1);
  for (const double loss : below.responses[0].losses) {
    EXPECT_TRUE(std::isfinite(loss));
  }
}

// Downhill to a cliff: not every trial goes over it.
TEST(LRSearch, GoesNotAgainAndAgainWhereItDiverges) {
  int diverged = 0;
  int proposed = 0;
  for (int64_t seed = 0; seed < 10; ++seed) {
    const auto result = lr_search(
        [](Trial& trial) {
          return trial.lr() > 0.05 ? kNaN : 1 - 0.2 * std::log10(trial.lr());
        },
        wide().seed(seed));
    for (const SearchedTrial& trial : result.trials) {
      if (trial.number < 3) continue;  // quasi-random
      ++proposed;
      diverged += trial.status == TrialStatus::kDiverged ? 1 : 0;
    }
    EXPECT_GT(result.best("lr"), 0.02) << seed;
  }
  EXPECT_LT(diverged, 0.4 * proposed);
}

// The first trials are the space's quasi-random points, all others depend on
// those before: the same seed gives the same trials.
TEST(LRSearch, DependsOnItsSeedAlone) {
  const auto search = [](int64_t seed) {
    return table_of(lr_search(
        [](Trial& trial) { return valley(trial.lr()); },
        wide().seed(seed).trials(8)));
  };
  EXPECT_EQ(search(3), search(3));
  EXPECT_NE(search(3), search(4));
}

TEST(LRSearch, StopsHopelessTrialsAndLosesNothing) {
  int64_t steps = 0;
  const auto train = [&steps](Trial& trial) {
    double loss = 0;
    for (int64_t step = 1; step <= 90; ++step) {
      ++steps;
      loss = valley(trial.lr()) * (1 + 10.0 / static_cast<double>(step));
      if (!trial.report(step, loss)) break;
    }
    return loss;
  };
  const auto halved = lr_search(train, wide());
  const int64_t with = steps;
  steps = 0;
  lr_search(train, wide().halving(kInfinity));
  EXPECT_EQ(steps, 15 * 90);
  EXPECT_LT(with, 15 * 75);
  int64_t stopped = 0;
  for (const SearchedTrial& trial : halved.trials) {
    const bool is_stopped = trial.status == TrialStatus::kStopped;
    stopped += is_stopped ? 1 : 0;
    EXPECT_EQ(trial.steps, is_stopped ? trial.steps : 90);
    if (is_stopped) {
      EXPECT_LE(trial.steps, 33);
    }
  }
  EXPECT_GT(stopped, 3);
  EXPECT_LT(halved.best().loss, 1.05 * (1 + 10.0 / 90));
}

TEST(LRSearch, AveragesRepeatsWithTheSameSeedsInEachTrial) {
  std::set<int64_t> seeds;
  const auto result = lr_search(
      [&seeds](Trial& trial) {
        seeds.insert(trial.seed());
        // -1, 0, 1: a mean of 0, and a standard error of sqrt(1 / 3).
        return valley(trial.lr()) + 10 +
               static_cast<double>(trial.repeat() - 1);
      },
      wide().repeats(3).trials(6));
  EXPECT_EQ(seeds.size(), 3U);
  for (const SearchedTrial& trial : result.trials) {
    EXPECT_NEAR(trial.loss, valley(trial.values[0]) + 10, 1e-9 * trial.loss);
    EXPECT_NEAR(trial.loss_error, std::sqrt(1.0 / 3), 1e-6);
  }
}

// Losses whose noise is a tenth: the best of their means is near the bottom.
TEST(LRSearch, FindsTheValleyInNoise) {
  for (int64_t seed = 0; seed < 5; ++seed) {
    const auto result = lr_search(
        [](Trial& trial) {
          torch::manual_seed(
              trial.seed() + static_cast<int64_t>(1e6 * trial.lr()));
          return valley(trial.lr()) *
                 std::exp(0.1 * torch::randn({1}).item<double>());
        },
        wide().repeats(3).seed(seed));
    EXPECT_LT(valley(result.best("lr")), 1.3) << seed;
  }
}

TEST(LRSearch, SeedsEachRunAndLeavesTheRandomStateAlone) {
  torch::manual_seed(5);
  const double next = torch::rand({1}).item<double>();
  torch::manual_seed(5);
  std::set<double> drawn;
  lr_search(
      [&drawn](Trial& trial) {
        drawn.insert(torch::rand({1}).item<double>());
        return valley(trial.lr());
      },
      wide().trials(4));
  EXPECT_EQ(drawn.size(), 1U);
  EXPECT_EQ(torch::rand({1}).item<double>(), next);
}

TEST(LRSearch, WhatTheClosureThrowsPassesThrough) {
  EXPECT_THROW(
      lr_search(
          [](Trial&) -> double { throw std::runtime_error("disk"); }, wide()),
      std::runtime_error);
  EXPECT_THAT(
      message_of([] {
        lr_search([](Trial& trial) { return trial["momentum"]; }, wide());
      }),
      HasSubstr("must be a number 'momentum', got lr"));
}

TEST(LRSearch, ProgressMayEndIt) {
  std::vector<int64_t> seen;
  const auto result = lr_search(
      [](Trial& trial) { return valley(trial.lr()); },
      wide().progress([&seen](const SearchedTrial& trial) {
        seen.push_back(trial.number);
        return trial.number < 2;
      }));
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(result.trials.size(), 3U);
}

TEST(LRSearch, SearchesTheNumbersOfASchedule) {
  SearchSpace space;
  space.add_schedule(
      "warmup {w:1%..20% log} > cosine to {f:0..0.3}", {0, 1000});
  const auto result = lr_search(
      [](Trial& trial) {
        const Schedule schedule = trial.schedule();
        EXPECT_DOUBLE_EQ(schedule(10 * trial["w"]), 1);
        return valley(trial.lr()) + std::abs(schedule(1000) - 0.1);
      },
      wide().numbers(space).trials(30));
  EXPECT_LT(result.best().loss, 1.1);
  EXPECT_EQ(result.space.numbers()[1].name, "w");
  const Trial best = result.best_trial();
  EXPECT_EQ(best["f"], result.best("f"));
  EXPECT_THAT(best.schedule_text(), HasSubstr("% > cosine to "));
}

// Of a sum a u + b v over the unit square u has the share a^2 / (a^2 + b^2).
TEST(LRSearch, ImportanceIsTheShareOfTheVariance) {
  const auto result = lr_search(
      [](Trial& trial) {
        return 10 + 2 * std::log10(trial.lr()) / 6 + trial["x"] +
               0 * trial["y"];
      },
      LRSearchOptions(1, 1e6).numbers("x:0..1, y:0..1").trials(40));
  // The model is of the logarithm of 10 to 13, nearly linear.
  EXPECT_NEAR(result.importance[0], 0.8, 0.06);
  EXPECT_NEAR(result.importance[1], 0.2, 0.06);
  EXPECT_NEAR(result.importance[2], 0, 0.02);
}

// Of a product of centred factors neither has a share of its own.
TEST(LRSearch, ImportanceOfAnInteractionIsNobodys) {
  const auto result = lr_search(
      [](Trial& trial) { return 20 + (trial["x"] - 0.5) * (trial["y"] - 0.5); },
      wide().numbers("x:0..1, y:0..1").trials(60).startup(60));
  for (const double share : result.importance) EXPECT_LT(share, 0.1);
}

TEST(LRSearch, ResponseGoesThroughTheTrials) {
  const auto result = lr_search(
      [](Trial& trial) { return valley(trial.lr()); }, wide().trials(20));
  ASSERT_EQ(result.responses.size(), 1U);
  const auto& response = result.responses[0];
  EXPECT_EQ(response.values.front(), 1e-5);
  EXPECT_EQ(response.values.back(), 10);
  for (std::size_t i = 0; i < response.values.size(); ++i) {
    EXPECT_LE(response.lows[i], response.losses[i]);
    EXPECT_GE(response.highs[i], response.losses[i]);
    const double lr = response.values[i];
    if (lr > 0.01 && lr < 0.1) {
      EXPECT_NEAR(response.losses[i], valley(lr), 0.2) << lr;
    }
  }
}

class LRSearchFiles : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    stem_ = (std::filesystem::path(testing::TempDir()) /
             ("lr_search_" + std::string(info->name())))
                .string();
    remove();
  }
  void TearDown() override { remove(); }
  void remove() const {
    for (const char* ending : {".jsonl", ".csv", ".svg"}) {
      std::filesystem::remove(stem_ + ending);
    }
  }
  std::string journal() const { return stem_ + ".jsonl"; }
  static std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string stem_;
};

// What depends on the trial alone, with reports, stops, repeats and NaN.
double eventful(Trial& trial) {
  torch::manual_seed(trial.seed());
  const double noise = 0.01 * torch::rand({1}).item<double>();
  double loss = 0;
  for (int64_t step = 1; step <= 30; ++step) {
    loss = trial.lr() > 3 ? kNaN
                          : (valley(trial.lr()) + trial["x"] + noise) *
                                (1 + 3.0 / static_cast<double>(step));
    if (!trial.report(step, loss)) break;
  }
  return loss;
}

LRSearchOptions eventful_options() {
  return wide().numbers("x:0..1").trials(12).repeats(2).seed(11);
}

TEST_F(LRSearchFiles, AJournalChangesNothing) {
  const auto without = lr_search(eventful, eventful_options());
  const auto with = lr_search(eventful, eventful_options().journal(journal()));
  EXPECT_EQ(table_of(with), table_of(without));
  EXPECT_EQ(with.broken_lines, 0);
}

// Ended in the middle of a trial, again and again, it comes to what it would
// have come to.
TEST_F(LRSearchFiles, GoesOnAsIfItHadNotBeenEnded) {
  const auto undisturbed = lr_search(eventful, eventful_options());
  const auto options = eventful_options().journal(journal());
  int ends = 0;
  while (true) {
    int calls = 0;
    try {
      const auto result = lr_search(
          [&](Trial& trial) {
            if (++calls == 4) {
              trial.report(1, 1.0);
              throw std::runtime_error("killed");
            }
            return eventful(trial);
          },
          options);
      EXPECT_EQ(table_of(result), table_of(undisturbed));
      break;
    } catch (const std::runtime_error&) {
      ASSERT_LT(++ends, 20);
    }
  }
  EXPECT_GT(ends, 3);
}

// The file, cut off anywhere, is the beginning of the same search.
TEST_F(LRSearchFiles, GoesOnFromAnyPartOfItsFile) {
  const auto undisturbed =
      lr_search(eventful, eventful_options().journal(journal()));
  const std::string whole = text_of(journal());
  for (std::size_t part = 1; part <= 6; ++part) {
    const std::size_t size = whole.size() * part / 7 + part;
    std::ofstream(journal(), std::ios::binary) << whole.substr(0, size);
    const auto result =
        lr_search(eventful, eventful_options().journal(journal()));
    EXPECT_EQ(table_of(result), table_of(undisturbed)) << size;
  }
}

TEST_F(LRSearchFiles, AJournalMayGetMoreTrials) {
  const auto all = lr_search(eventful, eventful_options());
  lr_search(eventful, eventful_options().trials(5).journal(journal()));
  int runs = 0;
  const auto result = lr_search(
      [&runs](Trial& trial) {
        ++runs;
        return eventful(trial);
      },
      eventful_options().journal(journal()));
  EXPECT_EQ(table_of(result), table_of(all));
  EXPECT_LE(runs, 14);
  const auto again = lr_search(
      [](Trial&) -> double { throw std::runtime_error("called"); },
      eventful_options().trials(1).journal(journal()));
  EXPECT_EQ(table_of(again), table_of(all));
}

TEST_F(LRSearchFiles, RefusesTheJournalOfAnotherSpace) {
  lr_search(eventful, eventful_options().trials(1).journal(journal()));
  const std::string before = text_of(journal());
  EXPECT_THAT(
      message_of([&] {
        lr_search(
            eventful, eventful_options().numbers("x:0..2").journal(journal()));
      }),
      HasSubstr("is the journal of another search: space is 'lr:1e-05..10 log, "
                "x:0..1' in the file, 'lr:1e-05..10 log, x:0..2' here"));
  EXPECT_EQ(text_of(journal()), before);
}

// It would wait for the trial that it is called in.
TEST_F(LRSearchFiles, RefusesTheJournalOfTheSearchItIsCalledIn) {
  const auto options = eventful_options().trials(2).journal(journal());
  const std::filesystem::path path = journal();
  const auto other_name = path.parent_path() / "." / path.filename();
  const auto nested = [&](Trial& trial) {
    auto same = options;
    EXPECT_THAT(
        message_of([&] { lr_search(eventful, same.journal(other_name)); }),
        HasSubstr("is the journal of the search that this one is called in"));
    lr_search(eventful, eventful_options().trials(1));
    return eventful(trial);
  };
  EXPECT_EQ(lr_search(nested, options).trials.size(), 2U);
  // Between two trials nothing waits.
  std::size_t trials_so_far = 0;
  lr_search(
      eventful,
      eventful_options().trials(3).journal(journal()).progress(
          [&](const SearchedTrial&) {
            trials_so_far = lr_search(eventful, options).trials.size();
            return true;
          }));
  EXPECT_EQ(trials_so_far, 3U);
}

TEST_F(LRSearchFiles, RefusesTheJournalOfAnotherRunLength) {
  const auto search = [this](double run_length) {
    SearchSpace space;
    space.add_schedule("warmup {w:1%..20%} > cosine", {0, run_length});
    lr_search(
        [](Trial& trial) { return valley(trial.lr()); },
        wide().numbers(space).trials(1).journal(journal()));
  };
  search(1000);
  EXPECT_THAT(
      message_of([&] { search(2000); }),
      HasSubstr("steps of the run) is (0, 1000) in the file, (0, 2000) here"));
}

TEST_F(LRSearchFiles, LeavesOutStrangeLinesAndSaysHowMany) {
  lr_search(eventful, eventful_options().trials(3).journal(journal()));
  std::ofstream(journal(), std::ios::app)
      << "{\"start\":3,\"values\":[1e9,0.5]}\n"  // not in the range
      << "{\"end\":77,\"repeat\":0,\"step\":1,\"loss\":1,"
         "\"status\":\"finished\"}\n"
      << "nonsense\n";
  const auto result =
      lr_search(eventful, eventful_options().journal(journal()));
  EXPECT_EQ(result.broken_lines, 3);
  EXPECT_EQ(
      table_of(result), table_of(lr_search(eventful, eventful_options())));
}

TEST_F(LRSearchFiles, WritesTableAndPicture) {
  SearchSpace space("x:0..1");
  space.add_schedule("cosine {n:5..50 int}");
  const auto result = lr_search(
      [](Trial& trial) {
        return trial.lr() > 1 ? kNaN : valley(trial.lr()) + trial["x"];
      },
      wide().numbers(space).trials(12));
  result.write_csv(stem_ + ".csv");
  const std::string csv = text_of(stem_ + ".csv");
  EXPECT_EQ(
      csv.substr(0, csv.find('\n')),
      "trial,status,loss,loss_error,steps,lr,x,n,schedule_text");
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 13);
  EXPECT_THAT(csv, HasSubstr("diverged,nan,nan,0,"));
  EXPECT_THAT(csv, HasSubstr(",cosine "));
  result.write_svg(stem_ + ".svg", "x");
  EXPECT_THAT(text_of(stem_ + ".svg"), HasSubstr("95% band of the mean"));
  EXPECT_THAT(
      message_of([&] { result.plot("y"); }),
      HasSubstr("must be a number 'y', got lr, x, n"));
  std::ostringstream text;
  text << result;
  EXPECT_THAT(text.str(), HasSubstr("best of 12 trials: loss "));
  EXPECT_THAT(text.str(), HasSubstr("importance: lr "));
}

TEST(Trial, RunsByItself) {
  Trial trial(SearchSpace("lr:1..2, x:0..1"), {1.5, 0.25}, 7);
  EXPECT_EQ(trial.lr(), 1.5);
  EXPECT_EQ(trial["x"], 0.25);
  EXPECT_EQ(trial.seed(), 7);
  EXPECT_TRUE(trial.report(1, 0.5));
  EXPECT_FALSE(trial.report(2, kNaN));
  EXPECT_EQ(
      message_of([&] { trial.report(2, 1); }),
      "Trial: step must be >= 0 and beyond the last one (2), got 2");
  EXPECT_EQ(
      message_of([] { Trial(SearchSpace("lr:1..2"), {}); }),
      "Trial: there must be one value a number (1), got 0");
}

}  // namespace
}  // namespace stepsize::test
