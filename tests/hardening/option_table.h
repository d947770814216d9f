#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::test {

/// What one value of one knob must come to.
struct OptionCase {
  /// The class that has the knob, "ClippedSGDOptions", or the function whose
  /// argument it is, "cosine".
  std::string owner;
  std::string knob;
  /// What a message must have in it, in any order; empty: the value is legal.
  std::vector<std::string> says;
  /// The value, for a person.
  std::string value;
  /// Gives the value to the knob and uses the object until it is checked.
  std::function<void()> use;

  bool is_legal() const { return says.empty(); }
};

using OptionTable = std::vector<OptionCase>;

/// The shortest text that reads back as the same number.
std::string text_of(double value);
std::string text_of(int64_t value);

/// Adds the cases of one owner. Messages name `named`: "ClippedSGD".
class OptionCases {
 public:
  OptionCases(OptionTable& table, std::string owner, std::string named)
      : table_(&table), owner_(std::move(owner)), named_(std::move(named)) {}

  /// Each value of `refused` must throw "NAMED ... knob ... got VALUE", and
  /// each one of `taken` must not throw.
  template <typename Value, typename Use>
  OptionCases& knob(
      const std::string& name,
      const std::vector<Value>& refused,
      const std::vector<Value>& taken,
      const Use& use) {
    for (const Value value : refused) {
      const std::string text = text_of(value);
      refuses(name, text, {name, "got " + text}, [use, value] { use(value); });
    }
    for (const Value value : taken) {
      takes(name, text_of(value), [use, value] { use(value); });
    }
    return *this;
  }

  template <typename Use>
  OptionCases& number(
      const std::string& name,
      const std::vector<double>& refused,
      const std::vector<double>& taken,
      const Use& use) {
    return knob<double>(name, refused, taken, use);
  }

  template <typename Use>
  OptionCases& count(
      const std::string& name,
      const std::vector<int64_t>& refused,
      const std::vector<int64_t>& taken,
      const Use& use) {
    return knob<int64_t>(name, refused, taken, use);
  }

  /// A value that is no number: `says` besides the class.
  OptionCases& refuses(
      const std::string& name,
      const std::string& value,
      std::vector<std::string> says,
      std::function<void()> use);
  OptionCases& takes(
      const std::string& name,
      const std::string& value,
      std::function<void()> use);

 private:
  OptionTable* table_;
  std::string owner_;
  std::string named_;
};

/// Whether `words` stands in `text`, not as a part of a longer word or number.
bool has_words(const std::string& text, const std::string& words);

// What lies outside of the usual ranges, ends and all.
extern const std::vector<double> kNotFinite;
extern const std::vector<double> kNotPositive;       // finite and > 0
extern const std::vector<double> kNegative;          // finite and >= 0
extern const std::vector<double> kNotBelowOne;       // [0, 1)
extern const std::vector<double> kNotShare;          // [0, 1]
extern const std::vector<double> kNotShareOverZero;  // (0, 1]
extern const std::vector<double> kNotInside;         // (0, 1)
extern const std::vector<double> kNotOverOne;        // finite and > 1
extern const std::vector<int64_t> kNotCount;         // >= 1
extern const std::vector<int64_t> kNegativeCount;    // >= 0

constexpr double kSmallest = 5e-324;
constexpr double kHuge = 1e308;
constexpr int64_t kMostCount = INT64_MAX;
/// The largest number below 1.
constexpr double kBelowOne = 1 - 0x1p-53;

// The tables, one a room.
OptionTable optim_table();
OptionTable rollback_table();
OptionTable schedulers_table();
OptionTable cycling_schedulers_table();
OptionTable other_schedulers_table();
OptionTable clip_table();
OptionTable mixed_precision_table();
OptionTable curvature_table();
OptionTable tune_table();
OptionTable batch_table();
OptionTable schedule_table();
OptionTable schedule_options_table();
OptionTable kernels_table();
OptionTable ranks_table();
OptionTable report_table();
OptionTable data_table();
OptionTable averaging_table();

/// All of them.
OptionTable whole_table();

}  // namespace stepsize::test
