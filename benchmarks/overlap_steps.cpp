// What it is worth to send gradients while backward() makes others: the step of
// a ResNet-18 with average_gradients() after backward(), beside the same step
// with an OverlappedReduction, by turns in one run.
//
//     scripts/launch.sh -n 2 --program build/release/bin/overlap_steps
//
// scripts/slow_link.sh runs it over a link of a given speed.
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/broadcast.h>
#include <stepsize/distributed/connect.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace nn = torch::nn;
using Tensors = std::vector<torch::Tensor>;

nn::Conv2d convolution(int64_t in, int64_t out, int64_t size, int64_t stride) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, size)
                        .stride(stride)
                        .padding(size / 2)
                        .bias(false));
}

struct BlockImpl : nn::Module {
  BlockImpl(int64_t in, int64_t out, int64_t stride)
      : straight(
            convolution(in, out, 3, stride),
            nn::BatchNorm2d(out),
            nn::ReLU(),
            convolution(out, out, 3, 1),
            nn::BatchNorm2d(out)) {
    register_module("straight", straight);
    if (in != out || stride != 1) {
      shortcut =
          nn::Sequential(convolution(in, out, 1, stride), nn::BatchNorm2d(out));
      register_module("shortcut", shortcut);
    }
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::relu(
        straight->forward(x) + (shortcut ? shortcut->forward(x) : x));
  }
  nn::Sequential straight;
  nn::Sequential shortcut{nullptr};
};
TORCH_MODULE(Block);

// ResNet-18 as torchvision has it, 11.7 million parameters.
nn::Sequential resnet18() {
  nn::Sequential net(
      convolution(3, 64, 7, 2),
      nn::BatchNorm2d(64),
      nn::ReLU(),
      nn::MaxPool2d(nn::MaxPool2dOptions(3).stride(2).padding(1)));
  int64_t width = 64;
  for (const int64_t out : {64, 128, 256, 512}) {
    net->push_back(Block(width, out, out == 64 ? 1 : 2));
    net->push_back(Block(out, out, 1));
    width = out;
  }
  net->push_back(nn::AdaptiveAvgPool2d(1));
  net->push_back(nn::Flatten());
  net->push_back(nn::Linear(512, 1000));
  return net;
}

struct Arguments {
  int64_t batch = 32;
  int64_t pixels = 64;
  int64_t steps = 11;
  int64_t bucket_kib = 4096;
};

Arguments arguments_of(int argc, char** argv) {
  Arguments all;
  for (int i = 1; i < argc; i += 2) {
    const std::string word = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(word + " needs a value");
    const std::string value = argv[i + 1];
    int64_t* const number = word == "--batch"        ? &all.batch
                            : word == "--pixels"     ? &all.pixels
                            : word == "--steps"      ? &all.steps
                            : word == "--bucket-kib" ? &all.bucket_kib
                                                     : nullptr;
    if (number == nullptr) throw std::invalid_argument("what is " + word + "?");
    std::size_t length = 0;
    *number = std::stoll(value, &length);
    if (length != value.size() || *number < 1) {
      throw std::invalid_argument(
          word + " must be a number >= 1, got " + value);
    }
  }
  return all;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Seconds of each step, and those that a rank's processors worked.
struct Times {
  std::vector<double> wall;
  std::vector<double> processor;
};

void print(const char* what, const Times& times) {
  std::printf(
      "%-16s %8.1f ms, %8.1f ms of a processor a rank\n",
      what,
      1e3 * median(times.wall),
      1e3 * median(times.processor));
}

void measure(const Arguments& arguments) {
  const auto launched = stepsize::ConnectOptions::from_environment();
  const auto ranks = stepsize::connect(
      launched.value_or(stepsize::ConnectOptions("127.0.0.1:29500")));
  auto net = resnet18();
  stepsize::broadcast_state(net, *ranks);
  stepsize::OverlappedReduction overlapped(
      ranks,
      net->parameters(),
      stepsize::OverlappedReductionOptions().bucket_bytes(
          1024 * arguments.bucket_kib));
  torch::optim::SGD sgd(
      net->parameters(), torch::optim::SGDOptions(1e-3).momentum(0.9));
  torch::manual_seed(static_cast<uint64_t>(ranks->rank()) + 1);
  const auto images =
      torch::randn({arguments.batch, 3, arguments.pixels, arguments.pixels});
  const auto classes = torch::randint(1000, {arguments.batch}, torch::kLong);
  const Tensors parameters = net->parameters();
  const auto backward = [&] {
    sgd.zero_grad();
    nn::functional::cross_entropy(net->forward(images), classes).backward();
  };
  const auto after = [&] {
    const stepsize::OverlappedReduction::NoSync no_sync(overlapped);
    backward();
    stepsize::average_gradients(parameters, *ranks);
  };
  const auto during = [&] {
    backward();
    stepsize::average_gradients(parameters, overlapped);
  };
  const auto alone = [&] {
    const stepsize::OverlappedReduction::NoSync no_sync(overlapped);
    backward();
  };
  const auto measured = [&](const auto& gradients, Times& times) {
    ranks->barrier();
    const std::clock_t computed = std::clock();
    const auto start = std::chrono::steady_clock::now();
    gradients();
    sgd.step();
    const std::chrono::duration<double> passed =
        std::chrono::steady_clock::now() - start;
    // Of all threads of this process.
    const auto computing =
        static_cast<double>(std::clock() - computed) / CLOCKS_PER_SEC;
    times.wall.push_back(ranks->max(passed.count()));
    times.processor.push_back(ranks->mean(computing));
  };

  after();
  Tensors wanted;
  for (const auto& own : parameters) wanted.push_back(own.grad().clone());
  during();
  bool same = true;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    same = same && parameters[i].grad().equal(wanted[i]);
  }
  if (ranks->any(!same) && ranks->world_size() == 2) {
    throw std::runtime_error("the two ways give other gradients");
  }
  if (overlapped.sent_early() == 0 && ranks->world_size() > 1) {
    throw std::runtime_error("nothing was sent during backward()");
  }

  Times times_alone;
  Times times_after;
  Times times_during;
  std::vector<double> ratios;
  for (int64_t i = 0; i < arguments.steps; ++i) {
    // This makes the ranks' weights differ, which no time shows.
    measured(alone, times_alone);
    measured(after, times_after);
    measured(during, times_during);
    ratios.push_back(times_during.wall.back() / times_after.wall.back());
  }
  if (ranks->rank() != 0) return;
  std::printf(
      "ResNet-18, %d ranks, batch %d of %d x %d pixels each, buckets of %d "
      "KiB, medians of %d steps by turns\n",
      static_cast<int>(ranks->world_size()),
      static_cast<int>(arguments.batch),
      static_cast<int>(arguments.pixels),
      static_cast<int>(arguments.pixels),
      static_cast<int>(arguments.bucket_kib),
      static_cast<int>(arguments.steps));
  print("no averaging", times_alone);
  print("averaged after", times_after);
  print("overlapped", times_during);
  std::printf(
      "ratio %.3f, median of pairs %.3f; buckets sent early %d, again %d\n",
      median(times_during.wall) / median(times_after.wall),
      median(ratios),
      static_cast<int>(overlapped.sent_early()),
      static_cast<int>(overlapped.sent_again()));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    measure(arguments_of(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "overlap_steps: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
