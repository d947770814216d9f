#pragma once

#include <stepsize/schedule/schedule.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

namespace stepsize::detail {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// How tightly a node's text binds; a looser one needs a parenthesis inside a
/// tighter one.
enum class Binding : std::uint8_t { kSequence, kProduct, kAtom };

/// Where one curve of a sequence gives way to the next. A factor that is
/// beyond the range of a double is NaN here.
struct Join {
  double t;       ///< finite and > 0
  double before;  ///< the factor at which the one ends
  double after;   ///< the factor at which the other begins
};

/// One immutable vertex of a schedule's tree.
class ScheduleNode {
 public:
  /// `depth` is 1 for a curve and one more than the deepest part for a
  /// combinator.
  explicit ScheduleNode(int depth = 1) : depth_(depth) {}
  ScheduleNode(const ScheduleNode&) = delete;
  ScheduleNode& operator=(const ScheduleNode&) = delete;
  virtual ~ScheduleNode() = default;

  /// The factor at t, where 0 <= t <= length().
  virtual double value(double t) const = 0;
  virtual double length() const { return kInfinity; }
  virtual std::string text() const = 0;
  virtual Binding binding() const { return Binding::kAtom; }
  /// Whether `other`, a node of the same type, has the same content.
  virtual bool equals(const ScheduleNode& other) const = 0;
  virtual std::vector<Join> joins() const { return {}; }
  /// The lowest factor that the schedule is after; NaN where it has none.
  virtual double floor() const;
  /// Whether a product ends no sooner than this factor of it.
  virtual bool extends_product() const { return true; }
  /// The same curve without its noise; null where it has none to leave out.
  virtual std::shared_ptr<const ScheduleNode> calm() const { return nullptr; }
  int depth() const { return depth_; }

 private:
  int depth_;
};

/// The most that combinators may stand inside each other: evaluating and
/// parsing go down the tree by recursion.
inline constexpr int kMaxDepth = 100;

/// A node whose content is what Derived::key() ties together.
template <typename Derived>
class KeyedNode : public ScheduleNode {
 public:
  using ScheduleNode::ScheduleNode;
  bool equals(const ScheduleNode& other) const final {
    return static_cast<const Derived&>(*this).key() ==
           static_cast<const Derived&>(other).key();
  }
};

template <typename Node, typename... Args>
Schedule make_schedule(Args&&... args) {
  return Schedule(std::make_shared<const Node>(std::forward<Args>(args)...));
}

/// The parts one after the other; all but the last must have an end. At least
/// one part; the only one comes back as it is.
Schedule join(const std::vector<Schedule>& parts);

/// The product of at least one part, from left to right.
Schedule multiply(const std::vector<Schedule>& parts);

/// The node of `schedule` if it is a Node, else nullptr.
template <typename Node>
const Node* node_as(const Schedule& schedule) {
  return dynamic_cast<const Node*>(&schedule.node());
}

/// The factor at t >= 0; NaN where it is beyond the range of a double.
double factor_or_nan(const Schedule& schedule, double t);

/// `schedule` without its noise.
Schedule calm(const Schedule& schedule);
std::vector<Schedule> calm(const std::vector<Schedule>& parts);

/// One more than the depth of the deepest part.
int depth_above(const std::vector<Schedule>& parts);

/// The text of `schedule`, in parentheses where it binds less tightly.
std::string parenthesized(const Schedule& schedule, Binding tightest);

/// Throws std::invalid_argument where `schedule` has no end.
void check_finite(const Schedule& schedule, const char* who);

/// The joins of a schedule, each passed through `change`, without those whose
/// time the change has moved out of (0, infinity).
template <typename Change>
std::vector<Join> changed_joins(
    const Schedule& schedule, const Change& change) {
  std::vector<Join> joins = schedule.node().joins();
  std::for_each(joins.begin(), joins.end(), change);
  joins.erase(
      std::remove_if(
          joins.begin(),
          joins.end(),
          [](const Join& join) { return !(join.t > 0 && join.t < kInfinity); }),
      joins.end());
  return joins;
}

}  // namespace stepsize::detail
