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

}  // namespace
}  // namespace stepsize::test
