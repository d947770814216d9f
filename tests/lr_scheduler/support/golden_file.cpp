#include "tests/lr_scheduler/support/golden_file.h"

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace stepsize::test {
namespace {

std::vector<double> read_series(std::istringstream& words) {
  std::vector<double> values;
  std::string word;
  while (words >> word) {
    const auto star = word.find('*');
    const std::size_t count =
        star == std::string::npos ? 1 : std::stoul(word.substr(star + 1));
    values.insert(values.end(), count, std::stod(word.substr(0, star)));
  }
  return values;
}

std::string rest_of(std::istringstream& words) {
  std::string rest;
  std::getline(words >> std::ws, rest);
  return rest;
}

}  // namespace

std::vector<GoldenCase> read_goldens(const std::string& name) {
  const std::string path =
      std::string(STEPSIZE_LR_GOLDENS) + "/" + name + ".txt";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<GoldenCase> cases;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "case") {
      cases.emplace_back();
      cases.back().spec = rest_of(words);
    } else if (key == "optimizer") {
      words >> cases.back().optimizer;
      cases.back().base_lrs = read_series(words);
    } else if (key == "before") {
      words >> cases.back().before_steps;
      cases.back().before = rest_of(words);
    } else {
      cases.back().series[key].push_back(read_series(words));
    }
  }
  return cases;
}

bool close(double ours, double python, double largest) {
  constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
  return std::fabs(ours - python) <=
         1e-12 * std::fabs(python) + kEpsilon * largest;
}

}  // namespace stepsize::test
