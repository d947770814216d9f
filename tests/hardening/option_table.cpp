#include "tests/hardening/option_table.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include "csrc/text/number.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

std::vector<double> not_finite_and(std::vector<double> values) {
  values.insert(values.end(), {kNaN, kInfinity, -kInfinity});
  return values;
}

bool goes_on(const std::string& text, std::size_t at) {
  if (at >= text.size()) return false;
  const auto c = static_cast<unsigned char>(text[at]);
  return std::isalnum(c) != 0 || c == '_';
}

}  // namespace

const std::vector<double> kNotFinite = not_finite_and({});
const std::vector<double> kNegative = not_finite_and({-1, -kSmallest, -kHuge});
const std::vector<double> kNotPositive =
    not_finite_and({0, -1, -kSmallest, -kHuge});
const std::vector<double> kNotBelowOne =
    not_finite_and({-1, -kSmallest, 1, kHuge});
const std::vector<double> kNotShare = not_finite_and({-1, 1.5, kHuge});
const std::vector<double> kNotShareOverZero =
    not_finite_and({0, -1, 1.5, kHuge});
const std::vector<double> kNotInside = not_finite_and({0, -1, 1, kHuge});
const std::vector<double> kNotOverOne = not_finite_and({1, 0, -1, -kHuge});
const std::vector<int64_t> kNotCount = {0, -1, INT64_MIN};
const std::vector<int64_t> kNegativeCount = {-1, INT64_MIN};

std::string text_of(double value) { return detail::number_text(value); }

std::string text_of(int64_t value) { return std::to_string(value); }

OptionCases& OptionCases::refuses(
    const std::string& name,
    const std::string& value,
    std::vector<std::string> says,
    std::function<void()> use) {
  says.push_back(named_);
  table_->push_back({owner_, name, std::move(says), value, std::move(use)});
  return *this;
}

OptionCases& OptionCases::takes(
    const std::string& name,
    const std::string& value,
    std::function<void()> use) {
  table_->push_back({owner_, name, {}, value, std::move(use)});
  return *this;
}

bool has_words(const std::string& text, const std::string& words) {
  for (std::size_t at = text.find(words); at != std::string::npos;
       at = text.find(words, at + 1)) {
    const bool starts = at == 0 || !goes_on(text, at - 1);
    if (starts && !goes_on(text, at + words.size())) return true;
  }
  return false;
}

OptionTable whole_table() {
  OptionTable whole;
  for (const auto& table :
       {optim_table,
        rollback_table,
        schedulers_table,
        cycling_schedulers_table,
        other_schedulers_table,
        clip_table,
        mixed_precision_table,
        curvature_table,
        tune_table,
        batch_table,
        schedule_table,
        schedule_options_table,
        kernels_table,
        ranks_table,
        report_table,
        data_table,
        averaging_table}) {
    OptionTable part = table();
    std::move(part.begin(), part.end(), std::back_inserter(whole));
  }
  return whole;
}

}  // namespace stepsize::test
