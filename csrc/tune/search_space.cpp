#include <stepsize/tune/search_space.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "csrc/text/number.h"
#include "csrc/tune/halton.h"
#include "csrc/tune/search_text.h"

namespace stepsize {
namespace {

double scaled(SearchScale scale, double value) {
  switch (scale) {
    case SearchScale::kLinear:
      return value;
    case SearchScale::kLog:
      return std::log(value);
    case SearchScale::kLogToOne:
      // Rises with the value.
      return -std::log1p(-value);
  }
  return value;
}

double unscaled(SearchScale scale, double value) {
  switch (scale) {
    case SearchScale::kLinear:
      return value;
    case SearchScale::kLog:
      return std::exp(value);
    case SearchScale::kLogToOne:
      return -std::expm1(-value);
  }
  return value;
}

bool is_search_name(const std::string& name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return is_letter(c) || (c >= '0' && c <= '9');
         });
}

}  // namespace

double SearchNumber::at(double u) const {
  if (!(u > 0)) return low;
  if (u >= 1) return high;
  const double start = scaled(scale, low);
  const double end = scaled(scale, high);
  double value = unscaled(scale, start + u * (end - start));
  if (is_integer) value = std::round(value);
  return std::clamp(value, low, high);
}

double SearchNumber::place_of(double value) const {
  const double start = scaled(scale, low);
  return (scaled(scale, value) - start) / (scaled(scale, high) - start);
}

std::string SearchNumber::to_string() const {
  std::string text = name + ":" + detail::number_text(low) + unit + ".." +
                     detail::number_text(high) + unit;
  if (scale == SearchScale::kLog) text += " log";
  if (scale == SearchScale::kLogToOne) text += " log1m";
  if (is_integer) text += " int";
  return text;
}

SearchSpace::SearchSpace(const std::string& numbers) {
  detail::SearchText text(numbers);
  do {
    text.skip_spaces();
    const std::size_t start = text.at();
    const std::string name = text.name();
    for (const SearchNumber& known : numbers_) {
      if (known.name == name) text.fail(start, "'" + name + "' is there twice");
    }
    numbers_.push_back(text.range_of(name, /*units=*/false));
    text.skip_spaces();
  } while (text.take(','));
  if (!text.at_end()) text.fail("expected ',' or the end");
}

SearchSpace& SearchSpace::add(const SearchNumber& number) {
  TORCH_CHECK(
      is_search_name(number.name),
      "SearchSpace: a name must be letters, digits and '_', not a digit first, "
      "got '",
      number.name,
      "'");
  TORCH_CHECK(
      number.unit.empty() || number.unit == "%" || number.unit == "ep",
      "SearchSpace: the unit of ",
      number.name,
      " must be '', '%' or 'ep', got '",
      number.unit,
      "'");
  const std::string fault = detail::fault_of(number);
  TORCH_CHECK(fault.empty(), "SearchSpace: ", fault);
  for (const SearchNumber& known : numbers_) {
    TORCH_CHECK(
        known.name != number.name,
        "SearchSpace: names must differ, got '",
        number.name,
        "' twice");
  }
  numbers_.push_back(number);
  return *this;
}

SearchSpace& SearchSpace::add(const SearchSpace& other) {
  TORCH_CHECK(
      !has_schedule() || !other.has_schedule(),
      "SearchSpace: there must be one schedule at most, got '",
      template_,
      "' and '",
      other.template_,
      "'");
  SearchSpace both = *this;
  const std::size_t before = both.size();
  for (const SearchNumber& number : other.numbers_) both.add(number);
  if (other.has_schedule()) {
    both.pieces_ = other.pieces_;
    for (Piece& piece : both.pieces_) {
      if (piece.number) *piece.number += before;
    }
    both.template_ = other.template_;
    both.context_ = other.context_;
  }
  return *this = std::move(both);
}

SearchSpace& SearchSpace::add_schedule(
    const std::string& text, const ParseContext& context) {
  TORCH_CHECK(
      !has_schedule(),
      "SearchSpace: there must be one schedule at most, got '",
      template_,
      "' and '",
      text,
      "'");
  SearchSpace whole = *this;
  std::size_t from = 0;
  for (std::size_t open = text.find('{'); open != std::string::npos;
       open = text.find('{', from)) {
    detail::SearchText reader(text, open + 1);
    reader.skip_spaces();
    const std::size_t start = reader.at();
    const std::string name = reader.name();
    reader.skip_spaces();
    const auto found = std::find_if(
        whole.numbers_.begin(),
        whole.numbers_.end(),
        [&name](const SearchNumber& known) { return known.name == name; });
    auto place = static_cast<std::size_t>(found - whole.numbers_.begin());
    if (found == whole.numbers_.end()) {
      whole.numbers_.push_back(reader.range_of(name, /*units=*/true));
      reader.skip_spaces();
      if (!reader.take('}')) reader.fail("expected '}'");
    } else if (!reader.take('}')) {
      reader.fail(
          start,
          "'" + name + "' is there already; expected '{" + name +
              "}', the same number, or another name");
    }
    whole.pieces_.push_back({text.substr(from, open - from), place});
    from = reader.at();
  }
  whole.pieces_.push_back({text.substr(from), std::nullopt});
  whole.template_ = text;
  whole.context_ = context;
  whole.try_schedule();
  return *this = std::move(whole);
}

// A text that is none with some numbers is refused here, not in a trial.
void SearchSpace::try_schedule() const {
  std::vector<std::size_t> own;
  for (const Piece& piece : pieces_) {
    if (!piece.number) continue;
    if (std::find(own.begin(), own.end(), *piece.number) == own.end()) {
      own.push_back(*piece.number);
    }
  }
  std::vector<double> places(size(), 0);
  const auto try_at = [&](const auto& place_of_own) {
    for (std::size_t i = 0; i < own.size(); ++i) {
      places[own[i]] = place_of_own(i);
    }
    schedule(at(places));
  };
  constexpr std::size_t kMostForCorners = 6;
  const bool has_all = own.size() <= kMostForCorners;
  const std::size_t corners = has_all ? std::size_t{1} << own.size() : 2;
  for (std::size_t corner = 0; corner < corners; ++corner) {
    try_at([&](std::size_t i) {
      return static_cast<double>(has_all ? (corner >> i) & 1U : corner);
    });
  }
  if (own.size() > detail::kMostHaltonDimensions) return;
  constexpr int64_t kBetween = 64;
  const detail::Halton sequence(own.size(), /*seed=*/0);
  for (int64_t tried = 0; tried < kBetween; ++tried) {
    const auto point = sequence.point(tried);
    try_at([&](std::size_t i) { return point[i]; });
  }
}

std::size_t SearchSpace::index_of(const std::string& name) const {
  std::string names;
  std::size_t i = 0;
  while (i < numbers_.size() && numbers_[i].name != name) {
    names += (i == 0 ? "" : ", ") + numbers_[i].name;
    ++i;
  }
  TORCH_CHECK(
      i < numbers_.size(),
      "SearchSpace: there must be a number '",
      name,
      "', got ",
      names.empty() ? "none" : names);
  return i;
}

std::vector<double> SearchSpace::at(const std::vector<double>& places) const {
  check_count(places);
  std::vector<double> values;
  for (std::size_t i = 0; i < size(); ++i) {
    values.push_back(numbers_[i].at(places[i]));
  }
  return values;
}

std::vector<double> SearchSpace::places_of(
    const std::vector<double>& values) const {
  check_count(values);
  std::vector<double> places;
  for (std::size_t i = 0; i < size(); ++i) {
    places.push_back(numbers_[i].place_of(values[i]));
  }
  return places;
}

std::string SearchSpace::schedule_text(
    const std::vector<double>& values) const {
  check_count(values);
  TORCH_CHECK(has_schedule(), "SearchSpace: there must be a schedule");
  std::string text;
  for (const Piece& piece : pieces_) {
    text += piece.text;
    if (piece.number) {
      text += detail::number_text(values[*piece.number]) +
              numbers_[*piece.number].unit;
    }
  }
  return text;
}

Schedule SearchSpace::schedule(const std::vector<double>& values) const {
  return parse(schedule_text(values), context_);
}

std::string SearchSpace::to_string() const {
  std::string text;
  for (std::size_t i = 0; i < size(); ++i) {
    text += (i == 0 ? "" : ", ") + numbers_[i].to_string();
  }
  return has_schedule() ? text + "; " + template_ : text;
}

void SearchSpace::check_count(const std::vector<double>& values) const {
  TORCH_CHECK(
      values.size() == size(),
      "SearchSpace: there must be one value a number (",
      std::to_string(size()),
      "), got ",
      std::to_string(values.size()));
}

}  // namespace stepsize
