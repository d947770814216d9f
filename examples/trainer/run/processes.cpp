#include "examples/trainer/run/processes.h"

#include <stepsize/distributed/agree.h>
#include <stepsize/distributed/connect.h>

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <string>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

// As many updates as an accelerator leaves unread, and some.
constexpr std::size_t kKeptRows = 200;

template <typename Result>
void keep(std::vector<Result>& rows, const Result& result) {
  if (rows.size() == kKeptRows) {
    rows.erase(rows.begin());
  }
  rows.push_back(result);
}

// LibTorch and Gloo write to std::cerr that ranks meet, or why they do not,
// which the error says too.
class QuietErrors {
 public:
  QuietErrors() : before_(std::cerr.rdbuf(nullptr)) {}
  ~QuietErrors() { std::cerr.rdbuf(before_); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;

 private:
  std::streambuf* before_;
};

std::shared_ptr<Reduction> connect_quietly(const ConnectOptions& options) {
  const QuietErrors quiet;
  return connect(options);
}

// What must be the same in all of them before they read any data.
Facts common_facts(const RunRequest& request) {
  Facts facts;
  for (const auto& [flag, value] : option_values(request.options)) {
    // Of each process by itself.
    if (flag != "--data-dir" && flag != "--device" && flag != "--threads") {
      facts.emplace_back(flag, value);
    }
  }
  const auto say = [&](const char* flag, bool given) {
    facts.emplace_back(flag, given ? "yes" : "no");
  };
  say("--no-lr-check", !request.options.lr_check);
  say("--lr-find", request.options.lr_find);
  say("--resume", request.earlier.has_value());
  if (request.earlier) {
    for (const auto& [name, value] : to_values(*request.earlier)) {
      // The options are there already.
      if (name.rfind("--", 0) != 0) {
        facts.emplace_back("'" + name + "' in the checkpoint", value);
      }
    }
  }
  return facts;
}

}  // namespace

void check_processes(const TrainOptions& options) {
  if (options.rank >= options.world_size) {
    throw std::invalid_argument(
        "--rank " + std::to_string(options.rank) +
        ": must be less than --world-size, which is " +
        std::to_string(options.world_size));
  }
  if (options.world_size > 1 && options.master.empty()) {
    throw std::invalid_argument(
        "--world-size " + std::to_string(options.world_size) +
        " wants --master HOST:PORT, where process 0 is; scripts/launch.sh "
        "gives it");
  }
}

torch::Device device_of_process(
    const torch::Device& device, const TrainOptions& options) {
  if (!device.is_cuda() || device.has_index() || options.world_size == 1) {
    return device;
  }
  const auto devices = static_cast<std::int64_t>(torch::cuda::device_count());
  const auto place = options.local_rank.value_or(options.rank);
  return {torch::kCUDA, static_cast<c10::DeviceIndex>(place % devices)};
}

std::shared_ptr<Reduction> meet_processes(
    const RunRequest& request, const torch::Device& device) {
  const TrainOptions& options = request.options;
  if (options.world_size == 1) {
    return nullptr;
  }
  auto ranks = connect_quietly(ConnectOptions(options.master)
                                   .rank(options.rank)
                                   .world_size(options.world_size)
                                   .timeout_seconds(options.timeout)
                                   .device(device));
  agree(common_facts(request), *ranks);
  return ranks;
}

void check_same_data(Reduction* ranks, const std::string& data) {
  if (ranks != nullptr) {
    agree({{"the data", data}}, *ranks);
  }
}

void together(Reduction* ranks, const std::function<void()>& work) {
  if (ranks != nullptr) {
    ranks->together(work);
  } else {
    work();
  }
}

void LastRows::add(const StepResult& result) {
  keep(steps_, result);
  ++place_.steps;
  if (result.rolled_back) {
    place_.rollbacks.push_back(result.step);
  }
}

void LastRows::add(const EpochResult& result) {
  keep(epochs_, result);
  ++place_.epochs;
}

RunLog LastRows::complete(
    const std::filesystem::path& folder, const RunPlan& plan) const {
  const auto kept_steps = static_cast<std::int64_t>(steps_.size());
  const auto kept_epochs = static_cast<std::int64_t>(epochs_.size());
  LogPlace place = place_;
  std::string reason;
  for (place.epochs = place_.epochs;
       place.epochs >= place_.epochs - kept_epochs;
       --place.epochs) {
    for (place.steps = place_.steps; place.steps >= place_.steps - kept_steps;
         --place.steps) {
      try {
        RunLog log(folder, plan, place);
        for (const auto& step : steps_) {
          if (step.step > place.steps) {
            log.add(step);
          }
        }
        for (const auto& epoch : epochs_) {
          if (epoch.epoch > place.epochs) {
            log.add(epoch);
          }
        }
        return log;
      } catch (const std::runtime_error& error) {
        reason = error.what();
      }
    }
  }
  throw std::runtime_error(reason);
}

}  // namespace stepsize::trainer
