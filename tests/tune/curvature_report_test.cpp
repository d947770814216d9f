#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/report/csv_writer.h>
#include <stepsize/report/svg.h>
#include <stepsize/tune/curvature_report.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

using testing::ElementsAre;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

CurvatureMeasurement row_at(int64_t update, double sharpness) {
  CurvatureMeasurement row;
  row.update = update;
  row.lr = 0.5;
  row.sharpness = sharpness;
  row.effective_sharpness = sharpness;
  return row;
}

std::vector<CurvatureMeasurement> three_rows() {
  auto rows = {row_at(1, 8), row_at(10, kNone), row_at(20, 4)};
  std::vector<CurvatureMeasurement> result(rows);
  result[0].lr_sharpness = 4;
  result[0].limit = 3.8;
  result[0].trace = 12;
  result[0].trace_error = 0.25;
  result[2].limit = 3.8;
  return result;
}

std::vector<std::string> names_of(const LinePlot& plot) {
  std::vector<std::string> names;
  for (const auto& series : plot.series()) {
    if (series.style == LinePlot::Style::kLine) names.push_back(series.name);
  }
  return names;
}

const LinePlot::Series& last_of(const LinePlot& plot, const std::string& name) {
  const LinePlot::Series* found = nullptr;
  for (const auto& series : plot.series()) {
    if (series.name == name) found = &series;
  }
  if (found == nullptr) throw std::runtime_error("no series " + name);
  return *found;
}

TEST(CurvatureReport, WritesWhatWasMeasuredAndLeavesTheRestEmpty) {
  const std::string path = testing::TempDir() + "curvature_report.csv";
  write_csv(path, three_rows());
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(
      text.str(),
      "update,lr,sharpness,effective_sharpness,lr_sharpness,limit,trace,"
      "trace_error\n"
      "1,0.5,8,8,4,3.8,12,0.25\n"
      "10,0.5,nan,nan,,,,\n"
      "20,0.5,4,4,,3.8,,\n");
  std::remove(path.c_str());
  EXPECT_THROW(write_csv("/no/such/folder/a.csv", {}), std::runtime_error);
}

TEST(CurvatureReport, DrawsWhatThereIs) {
  const auto plot = curvature_plot(three_rows(), "A run");
  EXPECT_EQ(plot.title(), "A run");
  EXPECT_TRUE(plot.is_y_log());
  EXPECT_THAT(
      names_of(plot),
      ElementsAre("sharpness", "rate x sharpness", "its limit", "trace"));
  EXPECT_THAT(last_of(plot, "sharpness").x, ElementsAre(1, 10, 20));
  EXPECT_THAT(last_of(plot, "its limit").x, ElementsAre(0, 20));
  EXPECT_THAT(last_of(plot, "trace").y, ElementsAre(11.75, 12.25));
  // Without a limit or a trace there is one curve.
  EXPECT_THAT(
      names_of(curvature_plot({row_at(1, 2), row_at(5, 3)})),
      ElementsAre("sharpness"));
  // And axes where there is nothing.
  EXPECT_THAT(to_svg(curvature_plot({})), testing::HasSubstr("</svg>"));
}

TEST(CurvatureReport, TellsTheEffectiveSharpnessWhereItIsAnother) {
  auto rows = three_rows();
  rows[2].effective_sharpness = 1;
  EXPECT_THAT(names_of(curvature_plot(rows)), testing::Contains("effective"));
}

}  // namespace
}  // namespace stepsize
