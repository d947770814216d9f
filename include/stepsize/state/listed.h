#pragma once

#include <stepsize/state/option_list.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// The base of a value with an Options class that has an OptionList, behind an
/// interface that has name(), numbers(), set_numbers(), describe() and clone().
/// Its constructor throws c10::Error where an option is out of its range. One
/// that keeps what it has made of its options overrides set_numbers() too.
template <typename Derived, typename Interface, typename Options>
class Listed : public Interface {
 public:
  explicit Listed(const Options& options = {}) : options_(options) {
    Options::option_list().check(options_);
  }
  std::unique_ptr<Interface> clone() const override {
    return std::make_unique<Derived>(static_cast<const Derived&>(*this));
  }
  std::string name() const override { return Options::option_list().kind(); }
  std::vector<std::pair<std::string, double>> numbers() const override {
    return Options::option_list().numbers(options_);
  }
  void set_numbers(
      const std::vector<std::pair<std::string, double>>& numbers) override {
    Options::option_list().set_numbers(options_, numbers);
  }
  std::string describe() const override {
    return Options::option_list().describe(options_);
  }
  const Options& options() const { return options_; }

 private:
  Options options_;
};

}  // namespace stepsize
