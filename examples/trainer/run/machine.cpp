#include "examples/trainer/run/machine.h"

#include <ATen/Parallel.h>
#include <stepsize/optim/autocast.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {

void set_threads(int threads, std::ostream& err) {
  const auto cores = std::thread::hardware_concurrency();
  if (cores > 0 && threads > static_cast<int>(cores)) {
    err << "warning: --threads " << threads << " on " << counted(cores, "core")
        << ": threads that wait for each other "
        << "make a run slower\n";
  }
  if (threads == 0 && at::get_num_threads() == 1 &&
      std::getenv("OMP_NUM_THREADS") == nullptr) {
    // Some builds of LibTorch cannot count the cores of a virtual machine.
    threads = static_cast<int>(std::thread::hardware_concurrency());
  }
  if (threads > 0) {
    at::set_num_threads(threads);
  }
}

torch::Device find_device(const std::string& name) {
  const auto fail = [&](const std::string& why) {
    throw std::invalid_argument("--device " + name + ": " + why);
  };
  torch::Device device(torch::kCPU);
  try {
    device = torch::Device(name);
  } catch (const c10::Error&) {
    fail("must be cpu, cuda, cuda:1 or another name that LibTorch knows");
  }
  if (device.is_cuda()) {
    const auto count = static_cast<int>(torch::cuda::device_count());
    if (!torch::cuda::is_available() || device.index() >= count) {
      fail("LibTorch sees " + std::to_string(count) + " CUDA devices");
    }
  }
  try {
    torch::ones({1}, device).item<float>();
  } catch (const std::exception&) {
    fail("LibTorch cannot compute there");
  }
  return device;
}

std::optional<at::ScalarType> find_amp(
    const std::string& name, const torch::Device& device) {
  if (name == "off") {
    return std::nullopt;
  }
  try {
    const Autocast autocast(device, torch::kBFloat16);
  } catch (const c10::Error&) {
    throw std::invalid_argument(
        "--amp " + name + ": LibTorch has no autocast for --device " +
        device.str());
  }
  return torch::kBFloat16;
}

}  // namespace stepsize::trainer
