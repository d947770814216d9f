// Every knob of the public face against the values that it may not have.

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>

#include "tests/hardening/option_table.h"
#include "tests/hardening/public_knobs.h"
#include "tests/support/numbers.h"
#include "tests/support/own_optimizers.h"

namespace stepsize::test {
namespace {

std::string name_of(const OptionCase& row) {
  return row.owner + "::" + row.knob + " = " + row.value;
}

// What the call says of a value that it refuses; empty where it takes it.
std::string refusal_of(const OptionCase& row) {
  try {
    row.use();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::invalid_argument& error) {
    return error.what();
  } catch (const std::domain_error& error) {
    return error.what();
  }
  return {};
}

TEST(OptionTable, EveryIllegalValueIsRefusedByClassKnobAndValue) {
  for (const OptionCase& row : whole_table()) {
    if (row.is_legal()) continue;
    const std::string message = refusal_of(row);
    if (message.empty()) {
      ADD_FAILURE() << name_of(row) << " was not refused";
      continue;
    }
    for (const std::string& words : row.says) {
      EXPECT_TRUE(has_words(message, words))
          << name_of(row) << ": '" << words << "' is not in: " << message;
    }
  }
}

TEST(OptionTable, EveryLegalEndOfARangeIsTaken) {
  for (const OptionCase& row : whole_table()) {
    if (row.is_legal()) {
      EXPECT_EQ(refusal_of(row), "") << name_of(row);
    }
  }
}

// The figures of docs/reliability.md: --gtest_output=xml writes them.
TEST(OptionTable, CountsItsRows) {
  int refused = 0;
  int legal = 0;
  std::set<std::string> knobs;
  std::set<std::string> owners;
  for (const OptionCase& row : whole_table()) {
    ++(row.is_legal() ? legal : refused);
    knobs.insert(row.owner + "::" + row.knob);
    owners.insert(row.owner);
  }
  RecordProperty("refused", refused);
  RecordProperty("legal", legal);
  RecordProperty("knobs", static_cast<int>(knobs.size()));
  RecordProperty("owners", static_cast<int>(owners.size()));
  EXPECT_GT(refused, legal);
}

TEST(OptionTable, EveryPublicKnobIsInTheTableOrHasAReasonNotToBe) {
  std::set<std::string> tried;
  for (const OptionCase& row : whole_table()) {
    if (!row.is_legal()) tried.insert(row.owner + "::" + row.knob);
  }
  const auto knobs = public_knobs(STEPSIZE_INCLUDE_DIR);
  ASSERT_GT(knobs.size(), 150U) << "in " << STEPSIZE_INCLUDE_DIR;
  for (const PublicKnob& knob : knobs) {
    const std::string name = knob.owner + "::" + knob.name;
    EXPECT_TRUE(tried.count(name) == 1 || !why_free(knob).empty())
        << name << ", a " << knob.type
        << ", has no row, and no reason says why every value is legal";
  }
}

// Every option of an optimizer of this library is in its list, or is no number:
// one that is not would be neither checked nor saved nor compared.
TEST(OptionTable, EveryOptionOfAnOptimizerIsInItsList) {
  std::map<std::string, std::set<std::string>> listed;
  for_each_own_optimizer([&](const auto& own) {
    const OptimizerTraits& traits = own.options.traits();
    for (const OptionField& field : traits.options().fields()) {
      listed[traits.name() + "Options"].insert(field.name);
    }
  });
  for (const PublicKnob& knob : public_knobs(STEPSIZE_INCLUDE_DIR)) {
    const auto list = listed.find(knob.owner);
    if (list == listed.end()) continue;
    const bool is_part = knob.type == "RollbackOptions" ||
                         knob.type == "SharpnessTrackerOptions" ||
                         knob.type == "TensorVector";
    const std::string name = knob.name == "betas" ? "beta1" : knob.name;
    EXPECT_TRUE(is_part || list->second.count(name) == 1)
        << knob.owner << "::" << knob.name << " is not in option_list()";
  }
}

TEST(OptionTable, EveryOptimizerIsInTheListOfTheTests) {
  std::set<std::string> tested;
  for_each_own_optimizer(
      [&](const auto& own) { tested.insert(own.options.traits().name()); });
  for (const std::string& name : public_subclasses(
           STEPSIZE_INCLUDE_DIR,
           {"IndexedOptimizer",
            "ClippedOptimizer",
            "DiagonalHessianOptimizer",
            "DistanceAdam",
            "MeasuredSGD",
            "ScheduleFreeOptimizer"})) {
    const bool is_base = name == "ClippedOptimizer" ||
                         name == "DiagonalHessianOptimizer" ||
                         name == "DistanceAdam" || name == "MeasuredSGD" ||
                         name == "ScheduleFreeOptimizer";
    EXPECT_TRUE(tested.count(name) == 1 || is_base)
        << name << " is not in tests/support/own_optimizers.h";
  }
  EXPECT_GE(tested.size(), 4U);
}

// Values of a knob, refused or taken.
using Tried = std::map<std::string, std::set<std::string>>;

bool has_number(
    const std::set<std::string>& values,
    const std::function<bool(double)>& holds) {
  return std::any_of(
      values.begin(), values.end(), [&](const std::string& text) {
        double value = 0;
        const char* const end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, value);
        return parsed.ec == std::errc() && parsed.ptr == end && holds(value);
      });
}

// The kinds of values of a type that were not tried.
std::string missing_kinds(
    const std::string& type, const std::set<std::string>& values) {
  std::string missing;
  const auto need = [&](bool holds, const std::string& kind) {
    if (!holds) missing += (missing.empty() ? "" : ", ") + kind;
  };
  const bool is_list = type == "PerGroup";
  const bool is_real = is_list || type.find("double") != std::string::npos;
  const bool is_count = type.find("int64_t") != std::string::npos;
  const auto least = static_cast<double>(INT64_MIN);
  if (is_real) {
    for (const char* kind : {"nan", "inf", "-inf"}) {
      need(values.count(kind) == 1, kind);
    }
  }
  if (is_real || is_count) {
    need(
        has_number(
            values, [&](double v) { return v < 0 && (is_real || v > least); }),
        "a negative number");
    need(values.count("0") == 1, "0");
  }
  if (is_count) {
    for (const int64_t end : {INT64_MIN, INT64_MAX}) {
      need(values.count(text_of(end)) == 1, text_of(end));
    }
  }
  if (is_real) {
    need(
        has_number(values, [](double v) { return v > 1e300 && v < kInfinity; }),
        "a huge one");
  }
  if (is_list) {
    for (const char* kind : {"1 entries", "3 entries"}) {
      need(values.count(kind) == 1, kind);
    }
  }
  return missing;
}

TEST(OptionTable, EveryNumberIsTriedAtEachKindOfValue) {
  Tried tried;
  for (const OptionCase& row : whole_table()) {
    tried[row.owner + "::" + row.knob].insert(row.value);
  }
  for (const PublicKnob& knob : public_knobs(STEPSIZE_INCLUDE_DIR)) {
    if (!why_free(knob).empty()) continue;
    const std::string name = knob.owner + "::" + knob.name;
    // Rank 0 would wait for the others.
    if (name == "ConnectOptions::rank") tried[name].insert("0");
    // So much work would be done.
    for (const char* work :
         {"HutchinsonOptions::samples",
          "LRRangeTestOptions::accumulation_steps",
          "LRRangeTestOptions::num_iterations",
          "PowerMethodSGDOptions::start_products",
          "SpectralDensityOptions::samples"}) {
      if (name == work) tried[name].insert(text_of(INT64_MAX));
    }
    EXPECT_EQ(missing_kinds(knob.type, tried[name]), "")
        << "not tried: " << name << ", a " << knob.type;
  }
}

TEST(OptionTable, AKindThatIsMissingIsNamed) {
  EXPECT_EQ(
      missing_kinds("double", {"nan", "inf", "-1"}), "-inf, 0, a huge one");
  EXPECT_EQ(
      missing_kinds("std::vector<int64_t>", {"0", "-0", "7"}),
      "a negative number, -9223372036854775808, 9223372036854775807");
  EXPECT_EQ(
      missing_kinds(
          "PerGroup", {"nan", "inf", "-inf", "-2.5e-1", "0", "1 entries"}),
      "a huge one, 3 entries");
  EXPECT_EQ(missing_kinds("std::string", {}), "");
}

TEST(OptionTable, NoReasonIsGivenForAKnobThatDoesNotExist) {
  std::set<std::string> names;
  for (const PublicKnob& knob : public_knobs(STEPSIZE_INCLUDE_DIR)) {
    names.insert(knob.owner + "::" + knob.name);
  }
  for (const std::string& name : knobs_with_a_reason()) {
    EXPECT_EQ(names.count(name), 1U) << name;
  }
}

TEST(OptionTable, ANumberIsNoPartOfALongerOne) {
  EXPECT_TRUE(has_words("must be > 0, got -1", "got -1"));
  EXPECT_FALSE(has_words("must be > 0, got -10", "got -1"));
  EXPECT_FALSE(has_words("min_lr must be", "lr"));
}

}  // namespace
}  // namespace stepsize::test
