#include "csrc/optim/name_patterns.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace stepsize::detail {
namespace {

struct NameCase {
  std::string pattern;
  std::string name;
  bool matches;
};

TEST(NamePatterns, MatchAWholeNameOrThatOfAModule) {
  const std::vector<NameCase> cases = {
      {"fc.weight", "fc.weight", true},
      {"fc", "fc.weight", true},
      {"fc", "fc2.weight", false},
      {"fc", "body.fc.weight", false},
      {"body.fc", "body.fc.weight", true},
      {"weight", "fc.weight", false},
      {"*", "a.b.c", true},
      {"*.bias", "a.b.bias", true},
      {"*.bias", "bias", false},
      {"*bias", "bias", true},
      {"blocks.*.norm", "blocks.3.norm.weight", true},
      {"blocks.?", "blocks.3.norm.weight", true},
      {"blocks.?", "blocks.10.norm.weight", false},
      {"blocks.[0-3]", "blocks.2.fc.bias", true},
      {"blocks.[0-3]", "blocks.4.fc.bias", false},
      {"blocks.[!0-3]", "blocks.4.fc.bias", true},
      {"blocks.[!0-3]", "blocks.2.fc.bias", false},
      {"[ab].x", "b.x", true},
      {"[a-]", "-", true},
      {"[]]", "]", true},
      {"[", "[", true},
      {"a[b", "a[b", true},
      {"a**c", "abc", true},
      {"a*b*c", "a.b.b", false},
      {"", "a", false},
      {"a", "", false},
      {"*", "", true},
  };
  for (const NameCase& c : cases) {
    EXPECT_EQ(name_matches(c.pattern, c.name), c.matches)
        << c.pattern << " and " << c.name;
  }
}

// With a step back at every star this would take 2^60 steps.
TEST(NamePatterns, MatchManyStarsInTime) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "*a";
  EXPECT_FALSE(name_matches(pattern + "b", std::string(5000, 'a')));
}

TEST(NamePatterns, KnowWhatIsNear) {
  const std::vector<std::string> names = {
      "conv.weight", "layer1.0.weight", "layer2.0.weight", "head.weight"};
  EXPECT_EQ(near_names("haed.*", names), "; did you mean 'head'?");
  EXPECT_EQ(
      near_names("layer3", names), "; did you mean 'layer1' or 'layer2'?");
  EXPECT_EQ(
      near_names("transformer", names),
      "; the module has 'conv', 'layer1', 'layer2' and 'head'");
}

TEST(NamePatterns, ListSomeOfMany) {
  EXPECT_EQ(some_of({"a"}), "'a'");
  EXPECT_EQ(some_of({"a", "b"}), "'a' and 'b'");
  EXPECT_EQ(
      some_of({"a", "b", "c", "d", "e", "f", "g", "h"}),
      "'a', 'b', 'c', 'd', 'e', 'f' and 2 more");
}

}  // namespace
}  // namespace stepsize::detail
