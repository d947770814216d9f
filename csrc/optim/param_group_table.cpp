#include <stepsize/optim/param_groups.h>

#include <algorithm>
#include <array>

#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

constexpr std::size_t kTableWidth = 80;
constexpr char kGap[] = "  ";

using TableRow = std::vector<std::string>;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

// The end of a name tells as much as its start.
std::string cut_in_the_middle(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t kept = width - 3;
  return text.substr(0, kept - kept / 2) + "..." +
         text.substr(text.size() - kept / 2);
}

// Behind the last name that fits whole, if any does.
std::string cut_at_the_end(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t comma = text.rfind(", ", width - 5);
  const std::size_t kept = comma != std::string::npos ? comma + 2 : width - 3;
  return text.substr(0, kept) + "...";
}

std::string padded(
    const std::string& text, std::size_t width, bool to_the_right) {
  const std::string space(width - std::min(width, text.size()), ' ');
  return to_the_right ? space + text : text + space;
}

}  // namespace

std::string param_group_table(const std::vector<ParamGroupInfo>& groups) {
  bool any_frozen = false;
  bool any_decay = false;
  for (const ParamGroupInfo& group : groups) {
    any_frozen = any_frozen || group.frozen > 0;
    any_decay = any_decay || group.weight_decay.has_value();
  }
  const auto row = [&](TableRow cells) {
    if (!any_decay) cells.pop_back();
    if (!any_frozen) cells.erase(cells.begin() + 3);
    return cells;
  };
  std::vector<TableRow> rows = {row(
      {"group", "parameters", "tensors", "frozen", "values", "lr", "decay"})};
  for (const ParamGroupInfo& group : groups) {
    rows.push_back(row(
        {group.name,
         joined(group.patterns.empty() ? group.parameters : group.patterns),
         std::to_string(group.parameters.size()),
         std::to_string(group.frozen),
         std::to_string(group.values),
         short_number_text(group.lr),
         short_number_text(group.weight_decay.value_or(0))}));
  }

  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const TableRow& cells : rows) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], cells[i].size());
    }
  }
  // Names and patterns share what the numbers leave.
  std::size_t taken = (widths.size() - 1) * (sizeof(kGap) - 1);
  for (std::size_t i = 2; i < widths.size(); ++i) taken += widths[i];
  const std::size_t left = kTableWidth - std::min(taken, kTableWidth - 16);
  widths[0] = std::min(widths[0], left - std::min(widths[1], left * 2 / 5));
  widths[1] = std::min(widths[1], left - widths[0]);
  for (TableRow& cells : rows) {
    cells[0] = cut_in_the_middle(cells[0], widths[0]);
    cells[1] = cut_at_the_end(cells[1], widths[1]);
  }

  std::string table;
  for (const TableRow& cells : rows) {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) line += kGap;
      line += padded(cells[i], widths[i], i >= 2);
    }
    table += line + "\n";
  }
  return table;
}

}  // namespace stepsize::detail
