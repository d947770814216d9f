#include <stepsize/report/csv_cell.h>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>

namespace stepsize {
namespace {

TEST(CsvCell, DoublesTakeTheShortestForm) {
  EXPECT_EQ(CsvCell(0.1).text(), "0.1");
  EXPECT_EQ(CsvCell(1e-5).text(), "1e-05");
  EXPECT_EQ(CsvCell(3.0).text(), "3");
  EXPECT_EQ(CsvCell(0.1f).text(), "0.1");
  EXPECT_EQ(CsvCell(-0.0).text(), "-0");
}

TEST(CsvCell, DoublesReadBackEqual) {
  std::mt19937_64 generator(7);
  std::uniform_real_distribution<double> exponent(-300, 300);
  for (int i = 0; i < 10000; ++i) {
    const double value = std::pow(10.0, exponent(generator));
    EXPECT_EQ(std::strtod(CsvCell(value).text().c_str(), nullptr), value);
  }
}

TEST(CsvCell, NonFiniteNumbersAreNamed) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(CsvCell(infinity).text(), "inf");
  EXPECT_EQ(CsvCell(-infinity).text(), "-inf");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(CsvCell(nan).text(), "nan");
  EXPECT_EQ(CsvCell(std::copysign(nan, -1.0)).text(), "nan");
}

TEST(CsvCell, IntegersOfEveryWidth) {
  EXPECT_EQ(CsvCell(-3).text(), "-3");
  EXPECT_EQ(
      CsvCell(std::numeric_limits<int64_t>::min()).text(),
      "-9223372036854775808");
  EXPECT_EQ(
      CsvCell(std::numeric_limits<uint64_t>::max()).text(),
      "18446744073709551615");
  EXPECT_EQ(CsvCell(size_t{5}).text(), "5");
  EXPECT_EQ(CsvCell(true).text(), "1");
}

TEST(CsvCell, TextIsQuotedWhereItMustBe) {
  EXPECT_EQ(CsvCell("plain text").text(), "plain text");
  EXPECT_EQ(CsvCell("a,b").text(), "\"a,b\"");
  EXPECT_EQ(CsvCell("say \"hi\"").text(), "\"say \"\"hi\"\"\"");
  EXPECT_EQ(CsvCell("two\nlines").text(), "\"two\nlines\"");
  EXPECT_EQ(CsvCell("cr\r").text(), "\"cr\r\"");
  EXPECT_EQ(CsvCell(" padded").text(), "\" padded\"");
}

TEST(CsvCell, NoValueDiffersFromEmptyText) {
  EXPECT_EQ(CsvCell(std::nullopt).text(), "");
  EXPECT_EQ(CsvCell(std::string()).text(), "\"\"");
  EXPECT_EQ(CsvCell(std::optional<double>()).text(), "");
  EXPECT_EQ(CsvCell(std::optional<double>(0.5)).text(), "0.5");
}

}  // namespace
}  // namespace stepsize
