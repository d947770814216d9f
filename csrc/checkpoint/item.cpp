#include "csrc/checkpoint/item.h"

#include <utility>

namespace stepsize::detail {
namespace {

constexpr std::size_t kMostLines = 10;

}  // namespace

void Mismatches::add(const std::string& owner, const std::string& what) {
  ++count_;
  if (lines_.size() < kMostLines) lines_.push_back(owner + ": " + what);
}

std::string Mismatches::text() const {
  std::string text;
  for (const std::string& line : lines_) text += "\n  " + line;
  const int64_t more = count_ - static_cast<int64_t>(lines_.size());
  if (more > 0) text += "\n  and " + std::to_string(more) + " more";
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
