#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize::test {

/// A schedule of another library: scripts/make_schedule_goldens.py, and
/// scripts/make_config_goldens.py, whose calls are configurations.
struct ScheduleGolden {
  std::string call;  ///< as that library has it
  std::string ours;  ///< the text that has to give the same rates
  double run = 0;    ///< updates of the run: scripts/make_config_goldens.py
  double base = 0;
  int every = 1;              ///< updates from rate to rate
  std::vector<double> rates;  ///< at t = 0, every, 2 every, ...
};

inline std::vector<ScheduleGolden> read_schedule_goldens(
    const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  std::vector<ScheduleGolden> goldens;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key >> std::ws;
    if (key == "case") {
      goldens.emplace_back();
      std::getline(words, goldens.back().call);
    } else if (key == "ours") {
      std::getline(words, goldens.back().ours);
    } else if (key == "base") {
      words >> goldens.back().base;
    } else if (key == "run") {
      words >> goldens.back().run;
    } else if (key == "every") {
      words >> goldens.back().every;
    } else if (key == "lr") {
      for (double rate = 0; words >> rate;) {
        goldens.back().rates.push_back(rate);
      }
    }
  }
  return goldens;
}

}  // namespace stepsize::test
