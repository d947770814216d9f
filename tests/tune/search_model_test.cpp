#include "csrc/tune/search_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using detail::SearchModel;
using detail::SearchObservation;

// What the model expects of the rate where a run has diverged, 1, and of 1e-4.
std::pair<double, double> diverged_and_good(
    const std::vector<std::pair<double, double>>& losses_of_rates) {
  const SearchSpace space("lr:1e-5..10 log");
  std::vector<SearchObservation> all;
  for (const auto& [lr, loss] : losses_of_rates) all.push_back({{lr}, loss, 0});
  const SearchModel model(space, all, all.size());
  const auto curve = model.curve(0, {1e-4});
  return {curve.means[100], curve.means[20]};  // of 121, twenty a decade
}

TEST(SearchModel, WhatHasDivergedIsWorseThanTheOnlyOneThatHasNot) {
  for (const double loss : {2.0, 1e-9, 1e300, -3.0, 0.0}) {
    const auto [diverged, good] = diverged_and_good({{1e-4, loss}, {1, kNaN}});
    EXPECT_GT(diverged, loss > 0 ? 1.5 * good : good + 0.5) << loss;
  }
}

TEST(SearchModel, WhatHasDivergedIsWorseThanTheBestOnesThatAreTheSame) {
  const auto [diverged, good] = diverged_and_good(
      {{1e-5, 1}, {1e-4, 1}, {1e-3, 1}, {1e-2, 1}, {1, kNaN}});
  EXPECT_GT(diverged, 1.5 * good);
  // Half of them, and the rest says how bad a bad one is.
  const auto [as_bad, as_good] =
      diverged_and_good({{1e-5, 3}, {1e-4, 1}, {1e-3, 1}, {1, kNaN}});
  EXPECT_GT(as_bad, 2 * as_good);
}

// However near to the best the trials have come since.
TEST(SearchModel, WhatHasDivergedStaysAsBadAsTheFirstTrialsSay) {
  const SearchSpace space("lr:1e-5..10 log");
  std::vector<SearchObservation> all{
      {{1e-4}, 3, 0}, {{1e-2}, 1, 0}, {{1}, kNaN, 0}};
  for (const double lr : {0.008, 0.009, 0.011, 0.012, 0.013, 0.014}) {
    all.push_back({{lr}, 1.001, 0});
  }
  all.push_back({{0.3}, kNaN, 0});
  const SearchModel model(space, all, 3);
  EXPECT_GT(model.curve(0, {1e-2}).means[100], 2);  // at 1
}

// The bowl: of what lies far from all trials the middle is the better.
TEST(SearchModel, WhereNothingIsKnownTheEndsAreTriedLast) {
  const SearchSpace space("lr:1e-5..10 log");
  const SearchModel one(space, {{{1e-2}, 1, 0}}, 1);
  const auto curve = one.curve(0, {1e-2});
  EXPECT_GT(curve.means[0], 1.5 * curve.means[60]);
  EXPECT_GT(curve.means[120], 1.5 * curve.means[60]);
  const SearchModel alike(space, {{{1e-3}, 1, 0}, {{1e-1}, 1, 0}}, 2);
  for (const auto* model : {&one, &alike}) {
    const double place = space.places_of(model->propose(7))[0];
    EXPECT_GT(place, 0.1);
    EXPECT_LT(place, 0.9);
    EXPECT_EQ(model->importance()[0], 0);
  }
}

}  // namespace
}  // namespace stepsize::test
