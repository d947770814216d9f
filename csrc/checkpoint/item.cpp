#include "csrc/checkpoint/item.h"

#include <algorithm>
#include <utility>

namespace stepsize::detail {
namespace {

constexpr std::size_t kMostLines = 10;
constexpr std::size_t kMostReasons = 3;

}  // namespace

void Mismatches::add(const std::string& owner, const std::string& what) {
  lines_.push_back({owner, what});
}

void Mismatches::add(const Mismatches& others) {
  lines_.insert(lines_.end(), others.lines_.begin(), others.lines_.end());
}

std::string Mismatches::text() const {
  std::string text;
  for (std::size_t i = 0; i < std::min(lines_.size(), kMostLines); ++i) {
    text += "\n  " + lines_[i].owner + ": " + lines_[i].what;
  }
  if (lines_.size() > kMostLines) {
    text += "\n  and " + std::to_string(lines_.size() - kMostLines) + " more";
  }
  return text;
}

std::string Mismatches::reason() const {
  std::string text;
  for (std::size_t i = 0; i < std::min(lines_.size(), kMostReasons); ++i) {
    text += (i == 0 ? "" : "; ") + lines_[i].what;
  }
  if (lines_.size() > kMostReasons) {
    text += "; and " + std::to_string(lines_.size() - kMostReasons) + " more";
  }
  return text;
}

CheckpointItem::CheckpointItem(std::string name, CheckpointEntryKind kind)
    : name_(std::move(name)), kind_(kind) {}

std::string CheckpointItem::owner() const {
  return std::string(checkpoint_entry_kind_name(kind_)) + " '" + name_ + "'";
}

Change CheckpointItem::change(Change::Turn turn) const {
  Change result;
  result.owner = owner();
  result.turn = turn;
  return result;
}

}  // namespace stepsize::detail
