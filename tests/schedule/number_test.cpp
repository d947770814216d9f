#include "csrc/text/number.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <string_view>

namespace stepsize::detail {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Case {
  double value;
  const char* text;
};

// The digits are those of Python's repr; they stand plain where that takes no
// more letters than with an exponent, which has two digits or more.
constexpr Case kCases[] = {
    {0x0.0p+0, "0"},
    {-0x0.0p+0, "-0"},
    {0x1.999999999999ap-4, "0.1"},
    {0x1.3333333333334p-2, "0.30000000000000004"},
    {0x1.5555555555555p-2, "0.3333333333333333"},
    {0x1.5555555555555p-1, "0.6666666666666666"},
    {0x1.4f8b588e368f1p-17, "1e-05"},
    {0x1.a36e2eb1c432dp-14, "1e-04"},
    {0x1.0624dd2f1a9fcp-10, "0.001"},
    {0x1.02e4b6ce5dc68p-13, "0.00012345"},
    {0x1.86a0000000000p+16, "1e+05"},
    {0x1.86a0800000000p+16, "100000.5"},
    {0x1.e240000000000p+16, "123456"},
    {0x1.5af1d78b58c40p+66, "1e+20"},
    {0x1.52d02c7e14af6p+76, "1e+23"},
    {0x1.0000000000000p+53, "9007199254740992"},
    {0x1.0000000000000p+60, "1152921504606846976"},
    {0x0.0000000000001p-1022, "5e-324"},
    {0x1.0000000000000p-1022, "2.2250738585072014e-308"},
    {0x0.fffffffffffffp-1022, "2.225073858507201e-308"},
    {0x1.fffffffffffffp+1023, "1.7976931348623157e+308"},
    {-0x1.8000000000000p+0, "-1.5"},
    {0x1.fe185ca57c517p+78, "6.02214076e+23"},
    {-0x1.12e0be826d695p-32, "-2.5e-10"},
    {0x1.ad7f29abcaf48p-24, "1e-07"},
    {0x1.d87247702c0d0p-24, "1.1e-07"},
};

template <typename Float, typename Bits>
Float of_bits(Bits bits) {
  static_assert(sizeof(Float) == sizeof(Bits));
  Float value = 0;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

template <typename Float>
bool reads_back(const std::string& text, Float value) {
  Float read = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, read);
  return result.ec == std::errc() && result.ptr == end &&
         std::memcmp(&read, &value, sizeof(value)) == 0;
}

// Digits from the first to the last that is not 0.
int significant_digits(const std::string& text) {
  std::string digits;
  for (const char c : std::string_view(text).substr(0, text.find('e'))) {
    if (c >= '0' && c <= '9' && (c != '0' || !digits.empty())) digits += c;
  }
  return static_cast<int>(digits.find_last_not_of('0')) + 1;
}

TEST(NumberIn, IsThatOfTheWholeText) {
  EXPECT_EQ(number_in<std::int64_t>("-12"), -12);
  EXPECT_EQ(number_in<std::uint64_t>("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(number_in<double>("1e-3"), 1e-3);
  EXPECT_EQ(number_in<double>("-inf"), -kInfinity);
  EXPECT_EQ(number_in<double>(std::string_view("0.5x").substr(0, 3)), 0.5);
  for (const char* text : {"", " 1", "1 ", "+1", "1x", "0x1", "1,5", "-"}) {
    EXPECT_FALSE(number_in<double>(text)) << text;
    EXPECT_FALSE(number_in<std::int64_t>(text)) << text;
  }
  EXPECT_FALSE(number_in<std::int64_t>("1.0"));
  EXPECT_FALSE(number_in<std::uint64_t>("-1"));
  EXPECT_FALSE(number_in<std::int64_t>("9223372036854775808"));
  EXPECT_FALSE(number_in<double>("1e999"));
}

TEST(NumberText, HasTheDigitsOfPython) {
  for (const Case& known : kCases) {
    EXPECT_EQ(number_text(known.value), known.text);
  }
}

TEST(NumberText, OfAFloatReadsBackAsAFloat) {
  EXPECT_EQ(number_text(0.1F), "0.1");
  EXPECT_EQ(number_text(16777216.0F), "16777216");
  EXPECT_EQ(number_text(std::numeric_limits<float>::max()), "3.4028235e+38");
  EXPECT_EQ(number_text(std::numeric_limits<float>::denorm_min()), "1e-45");
}

TEST(NumberText, NamesWhatIsNotFinite) {
  EXPECT_EQ(number_text(kInfinity), "inf");
  EXPECT_EQ(number_text(-kInfinity), "-inf");
  EXPECT_EQ(number_text(kNaN), "nan");
  // 0 / 0 gives this one on x86.
  EXPECT_EQ(number_text(std::copysign(kNaN, -1.0)), "nan");
  EXPECT_EQ(number_text(std::copysign(static_cast<float>(kNaN), -1.0F)), "nan");
}

TEST(NumberText, ReadsBackAndHasNoDigitTooMany) {
  std::mt19937_64 generator(1);
  for (int i = 0; i < 20000; ++i) {
    const auto value = of_bits<double>(uint64_t{generator()});
    if (!std::isfinite(value)) continue;
    const std::string text = number_text(value);
    ASSERT_TRUE(reads_back(text, value)) << text;
    const int digits = significant_digits(text);
    if (digits < 2 || text.find('e') == std::string::npos) continue;
    char fewer[64];
    std::snprintf(fewer, sizeof(fewer), "%.*e", digits - 2, value);
    ASSERT_NE(std::strtod(fewer, nullptr), value) << text;
  }
}

TEST(NumberText, ReadsBackAsTheSameFloat) {
  std::mt19937 generator(1);
  for (int i = 0; i < 20000; ++i) {
    const auto value = of_bits<float>(static_cast<uint32_t>(generator()));
    if (!std::isfinite(value)) continue;
    ASSERT_TRUE(reads_back(number_text(value), value)) << number_text(value);
  }
}

TEST(ShortNumberText, RoundsToSoManyDigits) {
  EXPECT_EQ(short_number_text(0.123456), "0.1235");
  EXPECT_EQ(short_number_text(-1234567), "-1235000");
  EXPECT_EQ(short_number_text(0.0999999), "0.1");
  EXPECT_EQ(short_number_text(3e-4), "3e-04");
  EXPECT_EQ(short_number_text(0.123456, 1), "0.1");
  EXPECT_EQ(short_number_text(2.0 / 3, 2), "0.67");
  EXPECT_EQ(short_number_text(1.0 / 3, 17), "0.3333333333333333");
  EXPECT_EQ(short_number_text(0), "0");
}

TEST(ShortNumberText, KeepsWhatCannotBeRounded) {
  EXPECT_EQ(short_number_text(kInfinity), "inf");
  EXPECT_EQ(short_number_text(-kInfinity), "-inf");
  EXPECT_EQ(short_number_text(kNaN), "nan");
  EXPECT_EQ(
      short_number_text(std::numeric_limits<double>::max()),
      "1.7976931348623157e+308");
}

}  // namespace
}  // namespace stepsize::detail
