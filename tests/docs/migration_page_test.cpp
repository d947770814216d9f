// The lines of docs/migration.md against the goldens of other libraries.

#include <gtest/gtest.h>
#include <stepsize/schedule/from_config.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/docs/page.h"
#include "tests/schedule/goldens.h"

namespace stepsize {
namespace {

constexpr const char* kMigrationPage = "docs/migration.md";
constexpr double kBase = 0.1;

using Made = std::unique_ptr<StatefulLR>;

double decay(double t) { return std::pow(0.95, t); }
double shrink(double /*t*/) { return 0.97; }

struct PythonRow {
  const char* python;
  Made (*make)(torch::optim::Optimizer& optimizer);
};

// The first two columns of PyTorch's table.
std::vector<PythonRow> python_rows() {
  return {
      {"StepLR(step_size=30)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<StepLR>(optimizer, StepLROptions(30));
       }},
      {"MultiStepLR(milestones=[30, 80])",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<MultiStepLR>(
             optimizer, MultiStepLROptions({30, 80}));
       }},
      {"ConstantLR()",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<ConstantLR>(optimizer, ConstantLROptions());
       }},
      {"LinearLR(start_factor=0.01, total_iters=300)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<LinearLR>(
             optimizer, LinearLROptions().start_factor(0.01).total_iters(300));
       }},
      {"ExponentialLR(gamma=0.9)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<ExponentialLR>(
             optimizer, ExponentialLROptions(0.9));
       }},
      {"PolynomialLR(total_iters=100, power=0.5)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<PolynomialLR>(
             optimizer, PolynomialLROptions().total_iters(100).power(0.5));
       }},
      {"CosineAnnealingLR(T_max=320)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CosineAnnealingLR>(
             optimizer, CosineAnnealingLROptions(320));
       }},
      {"CosineAnnealingLR(T_max=301, eta_min=0.02)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CosineAnnealingLR>(
             optimizer, CosineAnnealingLROptions(301).eta_min(0.02));
       }},
      {"CosineAnnealingWarmRestarts(T_0=50)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CosineAnnealingWarmRestarts>(
             optimizer, CosineAnnealingWarmRestartsOptions(50));
       }},
      {"CosineAnnealingWarmRestarts(T_0=7, T_mult=1, eta_min=0.01)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CosineAnnealingWarmRestarts>(
             optimizer, CosineAnnealingWarmRestartsOptions(7).eta_min(0.01));
       }},
      {"CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=40)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CyclicLR>(
             optimizer, CyclicLROptions(0.01, 0.1).step_size_up(40));
       }},
      {"CyclicLR(base_lr=0.0, max_lr=0.1, step_size_up=100, mode=triangular2)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<CyclicLR>(
             optimizer,
             CyclicLROptions(0.0, 0.1).step_size_up(100).mode(
                 CyclicMode::kTriangular2));
       }},
      {"OneCycleLR(max_lr=0.1, total_steps=321)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<OneCycleLR>(
             optimizer, OneCycleLROptions(0.1).total_steps(321));
       }},
      {"LambdaLR(lr_lambda=decay)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<LambdaLR>(optimizer, LambdaLROptions(decay));
       }},
      {"MultiplicativeLR(lr_lambda=shrink)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<MultiplicativeLR>(
             optimizer, MultiplicativeLROptions(shrink));
       }},
      {"SequentialLR(schedulers=[LinearLR(start_factor=0.1, total_iters=20), "
       "ExponentialLR(gamma=0.98)], milestones=[20])",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<SequentialLR>(
             optimizer,
             SequentialLROptions(
                 {LinearLROptions().start_factor(0.1).total_iters(20),
                  ExponentialLROptions(0.98)},
                 {20}));
       }},
      {"ChainedScheduler(schedulers=[ConstantLR(factor=0.1, total_iters=40), "
       "ExponentialLR(gamma=0.98)])",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<ChainedScheduler>(
             optimizer,
             ChainedSchedulerOptions(
                 {ConstantLROptions().factor(0.1).total_iters(40),
                  ExponentialLROptions(0.98)}));
       }},
      {"SWALR(swa_lr=0.05)",
       [](torch::optim::Optimizer& optimizer) -> Made {
         return std::make_unique<SWALR>(optimizer, SWALROptions(0.05));
       }},
  };
}

// What Python has set in the first group of a base rate of 0.1, by the call:
// scripts/make_goldens.py.
std::map<std::string, std::vector<double>> python_rates() {
  std::map<std::string, std::vector<double>> rates;
  for (const char* name :
       {"step_lr",
        "multi_step_lr",
        "constant_lr",
        "linear_lr",
        "exponential_lr",
        "polynomial_lr",
        "cosine_annealing_lr",
        "cosine_annealing_warm_restarts",
        "cyclic_lr",
        "one_cycle_lr",
        "lambda_lr",
        "multiplicative_lr",
        "sequential_lr",
        "chained_scheduler",
        "swa_lr"}) {
    std::string call;
    for (const std::string& line :
         lines_of("tests/lr_scheduler/goldens/" + std::string(name) + ".txt")) {
      if (line.rfind("case ", 0) == 0) {
        call = line.substr(5);
      } else if (line.rfind("lr ", 0) == 0 && rates[call].empty()) {
        std::istringstream words(line.substr(3));
        for (std::string word; words >> word;) {
          const std::size_t star = word.find('*');
          const std::size_t count =
              star == std::string::npos ? 1 : std::stoul(word.substr(star + 1));
          rates[call].insert(
              rates[call].end(), count, std::stod(word.substr(0, star)));
        }
      }
    }
  }
  return rates;
}

std::string migration_words(const std::string& text) {
  std::string result;
  std::copy_if(
      text.begin(), text.end(), std::back_inserter(result), [](char c) {
        return c != ' ' && c != '\n';
      });
  return result;
}

bool is_config(const std::string& cell) { return cell.rfind("`{", 0) == 0; }

TEST(MigrationPage, EveryLineIsOneOfTheGoldensAndEveryGoldenALine) {
  std::map<std::string, std::string> goldens;
  for (const char* name :
       {"formulas", "timm", "optax", "keras", "hugging_face"}) {
    const auto path = project_folder() / "tests/schedule/goldens" /
                      (std::string(name) + ".txt");
    for (const auto& golden : test::read_schedule_goldens(path.string())) {
      EXPECT_EQ(golden.base, kBase);
      goldens[golden.call] = golden.ours;
    }
  }
  std::size_t found = 0;
  for (const auto& cells : table_rows(kMigrationPage)) {
    if (cells.size() != 2 || !is_code(cells[0]) || is_config(cells[0])) {
      continue;
    }
    EXPECT_EQ(goldens[code_in(cells[0])], code_in(cells[1])) << cells[0];
    ++found;
  }
  EXPECT_EQ(found, goldens.size());
}

TEST(MigrationPage, EveryConfigurationIsTheLineBesideIt) {
  ParseContext context;
  context.run_length = 1000;
  std::set<std::string> types;
  for (const auto& cells : table_rows(kMigrationPage)) {
    if (cells.size() != 2 || !is_config(cells[0])) continue;
    const std::string config = code_in(cells[0]);
    const Schedule schedule = from_config(config, context).schedule;
    EXPECT_EQ(schedule, parse(code_in(cells[1])))
        << config << "\nis " << schedule.to_string();
    EXPECT_EQ(schedule.to_string(), code_in(cells[1]));
    types.insert(config.substr(0, config.find_first_of(",}")));
  }
  EXPECT_EQ(types.size(), 20U);
}

TEST(MigrationPage, PythonsClassesAndTheirTextsGivePythonsRates) {
  const auto rates = python_rates();
  std::map<std::string, std::string> texts;
  for (const auto& cells : table_rows(kMigrationPage)) {
    if (cells.size() == 3 && is_code(cells[0])) {
      texts[code_in(cells[0])] = code_in(cells[2]);
    }
  }
  ASSERT_EQ(texts.size(), python_rows().size());
  for (const PythonRow& row : python_rows()) {
    ASSERT_EQ(texts.count(row.python), 1U) << row.python;
    ASSERT_EQ(rates.count(row.python), 1U) << row.python;
    const std::vector<double>& python = rates.at(row.python);
    const Schedule schedule = parse(texts[row.python]);
    torch::optim::SGD optimizer(
        {torch::zeros({1})}, torch::optim::SGDOptions(kBase).momentum(0.5));
    const Made scheduler = row.make(optimizer);
    // Python's cosine rises again after its end.
    const double end = row.python == std::string("SWALR(swa_lr=0.05)")
                           ? 1e9
                           : schedule.length();
    for (std::size_t t = 0; t < python.size(); ++t) {
      const auto time = static_cast<double>(t);
      if (time > end && texts[row.python].rfind("cosine ", 0) == 0) {
        break;
      }
      ASSERT_NEAR(kBase * schedule(time), python[t], 1e-14)
          << row.python << " at t = " << t;
      ASSERT_NEAR(
          optimizer.param_groups()[0].options().get_lr(), python[t], 1e-14)
          << row.python << " at t = " << t;
      scheduler->step();
    }
  }
}

TEST(MigrationPage, ClassesAreCompiledAsShown) {
  std::string source;
  for (const std::string& line :
       lines_of("tests/docs/migration_page_test.cpp")) {
    source += migration_words(line);
  }
  std::size_t found = 0;
  for (const auto& cells : table_rows(kMigrationPage)) {
    if (cells.size() != 3 || !is_code(cells[0])) {
      continue;
    }
    const std::string code = migration_words(code_in(cells[1]));
    const std::string call = "<" + code.substr(0, code.find('(')) + ">" +
                             code.substr(code.find('('));
    EXPECT_NE(source.find(call), std::string::npos) << call;
    ++found;
  }
  EXPECT_EQ(found, python_rows().size());
}

TEST(MigrationPage, EveryScheduleInABlockParses) {
  const auto texts = fenced_lines(kMigrationPage, "schedule");
  EXPECT_FALSE(texts.empty());
  for (const std::string& text : texts) {
    EXPECT_NO_THROW(parse(text)) << text;
  }
}

TEST(MigrationPage, CodeRuns) {
  const torch::nn::Linear model(2, 1);
  torch::optim::AdamW optimizer(model->parameters(), 0.1);  // the base rate
  stepsize::ScheduleLR scheduler(optimizer, "warmup 10 from 0 > cosine 90");
  EXPECT_EQ(scheduler.lr_at(10)[0], 0.1);
}

TEST(MigrationPage, ConfigurationRuns) {
  const torch::nn::Linear model(2, 1);
  const stepsize::ConfiguredSchedule configured = stepsize::from_config(R"({
    "lr_scheduler_type": "cosine_with_min_lr",
    "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
    "learning_rate": 0.0003, "warmup_steps": 10, "max_steps": 100})");
  torch::optim::AdamW optimizer(
      model->parameters(), configured.lr.value_or(1e-3));
  stepsize::ScheduleLR scheduler(optimizer, configured.schedule);
  EXPECT_EQ(
      configured.schedule.to_string(), "warmup 10 from 0 > cosine 90 to 0.1");
  EXPECT_EQ(scheduler.lr_at(10)[0], 0.0003);
  EXPECT_EQ(scheduler.lr_at(0)[0], 0);
}

}  // namespace
}  // namespace stepsize
