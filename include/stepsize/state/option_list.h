#pragma once

#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace stepsize {

/// How an option is kept in an archive, and which values it may have at all.
enum class OptionKind : std::uint8_t {
  kNumber,  ///< a double
  kCount,   ///< an integer >= 0
  kSeed,    ///< an integer of any sign; ranks may have other ones
  kFlag,    ///< false or true
  kChoice,  ///< an enumerator; they count from 0
};

/// What an option means to one who does not know its class.
enum class OptionRole : std::uint8_t {
  kNone,
  kRate,
  kMomentum,    ///< what schedulers cycle: the share of a mean that stays
  kSecondBeta,  ///< the same of the mean of squares
  kEpsilon,     ///< added to the root of that mean
  kDampening,   ///< the gradient enters the mean with 1 - dampening
  kNesterov,
  kWeightDecay,           ///< added to the gradient
  kDecoupledWeightDecay,  ///< shrinks the parameters
  kDecouples,  ///< a flag: where set, kWeightDecay shrinks the parameters
  kNonFinite,  ///< a choice: 0 skips a gradient that is not finite
  kMaximizes,  ///< a flag: where set, it goes up the gradient
};

/// A double of a kNumber, an integer of all other kinds.
using OptionValue = std::variant<double, int64_t>;

/// One option of a class.
struct OptionField {
  std::string name;  ///< in messages, and the key in an archive
  OptionKind kind = OptionKind::kNumber;
  OptionRole role = OptionRole::kNone;
  std::string rule;                  ///< "finite and >= 0"; empty: any value
  std::vector<std::string> choices;  ///< the enumerators of a kChoice
  bool same_in_groups = false;       ///< in all parameter groups
  bool may_be_missing = false;       ///< in an archive: it then stays
};

namespace detail {

/// What OptionList does, of objects whose class it does not know.
class FieldList {
 public:
  struct Entry {
    OptionField field;
    std::function<OptionValue(const void*)> get;
    std::function<void(void*, const OptionValue&)> set;
    std::function<bool(const OptionValue&)> holds;  // null: any value
  };
  using Rule = std::function<void(const void*, const std::string& kind)>;

  explicit FieldList(std::string kind) : kind_(std::move(kind)) {}

  const std::string& kind() const { return kind_; }
  std::vector<Entry>& entries() { return entries_; }
  const std::vector<Entry>& entries() const { return entries_; }
  std::vector<Rule>& rules() { return rules_; }
  const std::vector<Rule>& rules() const { return rules_; }

  void add(Entry entry);
  /// The field that was added last.
  OptionField& last();
  FieldList& number_must_be(
      std::string rule, std::function<bool(double)> holds);
  FieldList& count_must_be(
      std::string rule, std::function<bool(int64_t)> holds);
  FieldList& not_negative();
  FieldList& share();
  FieldList& finite();
  FieldList& at_least(int64_t least);
  FieldList& choose_from(std::vector<std::string> names);

  const Entry* find(const std::string& name) const;
  std::vector<OptionField> fields() const;
  void check(const void* options, const std::string& kind) const;
  void check_same_in_groups(const void* first, const void* other) const;
  /// The first that differs, or null.
  const Entry* difference(const void* left, const void* right) const;
  std::string describe(const void* options) const;
  std::vector<std::pair<std::string, double>> numbers(
      const void* options) const;
  /// Throws c10::Error where there is no such option, where it is an integer or
  /// a flag and the number is none, and where the number is out of its range.
  void set(void* options, const std::string& name, double number) const;
  void write(
      torch::serialize::OutputArchive& archive, const void* options) const;
  void read(
      torch::serialize::InputArchive& archive,
      const std::string& kind,
      void* options) const;

 private:
  void check_value(
      const Entry& entry,
      const OptionValue& value,
      const std::string& kind) const;

  std::string kind_;
  std::vector<Entry> entries_;
  std::vector<Rule> rules_;
};

/// As in a message: "0.9", "true", "kSkip".
std::string option_text(const OptionField& field, const OptionValue& value);

}  // namespace detail

/// Name and access of the option that TORCH_ARG(type, name) declares, for
/// OptionList::option() and choice().
#define STEPSIZE_OPTION(name) \
#name, [](auto& stepsize_own) -> auto& { return stepsize_own.name(); }

/// The options of a class, written once: check, equality, archive and text come
/// from it.
///
///     const OptionList<LionOptions>& LionOptions::option_list() {
///       static const auto list =
///           OptionList<LionOptions>("Lion")
///               .option(STEPSIZE_OPTION(lr)).not_negative()
///               .role(OptionRole::kRate)
///               .option("beta1", [](auto& o) -> auto& { return o.beta1(); })
///               .share().role(OptionRole::kMomentum);
///       return list;
///     }
///
/// An access is given const or mutable options and returns a reference to a
/// double, int64_t or bool; a pointer to a member is one too. Rules and roles
/// are those of the option before them. What belongs to no list, tensors say,
/// is left alone by a read. Not for change while others read it.
template <typename Options>
class OptionList {
 public:
  /// `kind`: the name in messages, "Lion".
  explicit OptionList(std::string kind) : list_(std::move(kind)) {}

  /// A double, a count or a flag, as its type says.
  template <typename Access>
  OptionList& option(std::string name, Access access) {
    using Value = std::decay_t<std::invoke_result_t<Access, Options&>>;
    static_assert(
        std::is_same_v<Value, double> || std::is_same_v<Value, int64_t> ||
            std::is_same_v<Value, bool>,
        "an option is a double, an int64_t or a bool; see choice()");
    return add<Value>(
        std::is_same_v<Value, double> ? OptionKind::kNumber
        : std::is_same_v<Value, bool> ? OptionKind::kFlag
                                      : OptionKind::kCount,
        std::move(name),
        access);
  }
  /// An int64_t of any sign that random numbers are drawn from.
  template <typename Access>
  OptionList& seed(std::string name, Access access) {
    return add<int64_t>(OptionKind::kSeed, std::move(name), access);
  }
  /// An enumeration whose enumerators, by name, count from 0.
  template <typename Access>
  OptionList& choice(
      std::string name, Access access, std::vector<std::string> names) {
    using Value = std::decay_t<std::invoke_result_t<Access, Options&>>;
    add<Value>(OptionKind::kChoice, std::move(name), access);
    return with(list_.choose_from(std::move(names)));
  }
  /// A number that `get` and `set` convert: double get(const Options&) and
  /// void set(Options&, double).
  template <typename Get, typename Set>
  OptionList& number(std::string name, Get get, Set set) {
    list_.add(
        {{std::move(name), OptionKind::kNumber, {}, {}, {}, false, false},
         [get](const void* own) -> OptionValue {
           return static_cast<double>(get(*static_cast<const Options*>(own)));
         },
         [set](void* own, const OptionValue& value) {
           set(*static_cast<Options*>(own), std::get<double>(value));
         },
         nullptr});
    return *this;
  }
  /// All options of a part, and its rules.
  template <typename Part, typename Access>
  OptionList& include(const OptionList<Part>& part, Access access) {
    const auto of = [access](const void* own) -> const Part* {
      return &std::invoke(access, *static_cast<const Options*>(own));
    };
    for (detail::FieldList::Entry entry : part.list_.entries()) {
      entry.get = [of, get = std::move(entry.get)](const void* own) {
        return get(of(own));
      };
      entry.set = [access, set = std::move(entry.set)](
                      void* own, const OptionValue& value) {
        set(&std::invoke(access, *static_cast<Options*>(own)), value);
      };
      list_.add(std::move(entry));
    }
    for (const auto& rule : part.list_.rules()) {
      list_.rules().push_back(
          [of, rule](const void* own, const std::string& kind) {
            rule(of(own), kind);
          });
    }
    return *this;
  }

  OptionList& role(OptionRole role) {
    list_.last().role = role;
    return *this;
  }
  /// An archive without it leaves it as it is: for options that came later.
  OptionList& may_be_missing() {
    list_.last().may_be_missing = true;
    return *this;
  }
  /// Of this option, or of all so far.
  OptionList& same_in_groups() {
    list_.last().same_in_groups = true;
    return *this;
  }
  OptionList& all_same_in_groups() {
    for (auto& entry : list_.entries()) entry.field.same_in_groups = true;
    return *this;
  }

  /// Finite and >= 0.
  OptionList& not_negative() { return with(list_.not_negative()); }
  /// In [0, 1).
  OptionList& share() { return with(list_.share()); }
  OptionList& finite() { return with(list_.finite()); }
  /// Of a count.
  OptionList& at_least(int64_t least) { return with(list_.at_least(least)); }
  /// Another rule of a number: "NAME must be RULE, got VALUE" where `holds`
  /// returns false.
  OptionList& must_be(std::string rule, std::function<bool(double)> holds) {
    return with(list_.number_must_be(std::move(rule), std::move(holds)));
  }
  /// The same of all that is no number.
  OptionList& count_must_be(
      std::string rule, std::function<bool(int64_t)> holds) {
    return with(list_.count_must_be(std::move(rule), std::move(holds)));
  }
  /// A rule of several options: throws, with a message that `kind` begins.
  OptionList& rule(
      std::function<void(const Options&, const std::string& kind)> check) {
    list_.rules().push_back(
        [check = std::move(check)](const void* own, const std::string& kind) {
          check(*static_cast<const Options*>(own), kind);
        });
    return *this;
  }

  const std::string& kind() const { return list_.kind(); }
  std::vector<OptionField> fields() const { return list_.fields(); }

  /// Throws c10::Error "KIND: NAME must be RULE, got VALUE".
  void check(const Options& options) const { check(options, kind()); }
  /// The same in another name.
  void check(const Options& options, const std::string& kind) const {
    list_.check(&options, kind);
  }
  /// Throws c10::Error where an option differs that may not among groups.
  void check_same_in_groups(const Options& first, const Options& other) const {
    list_.check_same_in_groups(&first, &other);
  }
  bool equal(const Options& left, const Options& right) const {
    return list_.difference(&left, &right) == nullptr;
  }
  /// "lr=0.1, momentum=0.9".
  std::string describe(const Options& options) const {
    return list_.describe(&options);
  }
  /// All of them, by name.
  std::vector<std::pair<std::string, double>> numbers(
      const Options& options) const {
    return list_.numbers(&options);
  }

  /// The way back: sets those that are named. Throws c10::Error, and changes
  /// nothing, where one is no option of these, or out of range.
  void set_numbers(
      Options& options,
      const std::vector<std::pair<std::string, double>>& numbers) const {
    Options trial = options;
    for (const auto& [name, number] : numbers) list_.set(&trial, name, number);
    check(trial);
    options = trial;
  }

  void write(
      torch::serialize::OutputArchive& archive, const Options& options) const {
    list_.write(archive, &options);
  }
  /// Throws c10::Error, and changes nothing, where one is missing, of another
  /// type or out of range.
  void read(torch::serialize::InputArchive& archive, Options& options) const {
    read(archive, options, kind());
  }
  void read(
      torch::serialize::InputArchive& archive,
      Options& options,
      const std::string& kind) const {
    Options trial = options;
    list_.read(archive, kind, &trial);
    check(trial, kind);
    options = trial;
  }

 private:
  template <typename>
  friend class OptionList;
  friend class OptimizerOptionList;

  template <typename Value, typename Access>
  OptionList& add(OptionKind kind, std::string name, Access access) {
    using Kept =
        std::conditional_t<std::is_same_v<Value, double>, double, int64_t>;
    list_.add(
        {{std::move(name), kind, {}, {}, {}, false, false},
         [access](const void* own) -> OptionValue {
           return static_cast<Kept>(
               std::invoke(access, *static_cast<const Options*>(own)));
         },
         [access](void* own, const OptionValue& value) {
           std::invoke(access, *static_cast<Options*>(own)) =
               static_cast<Value>(std::get<Kept>(value));
         },
         nullptr});
    return *this;
  }

  OptionList& with(const detail::FieldList& /*list*/) { return *this; }

  detail::FieldList list_;
};

}  // namespace stepsize
