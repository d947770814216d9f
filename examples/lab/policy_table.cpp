// What training comes to where a policy says the rate, beside a grid of 13
// rates for SGD with momentum, in the same number of updates:
//
//     build/release/bin/policy_table mlp|cnn|resnet20|lstm [DATA] [SEEDS]
//     build/release/bin/policy_table digits DATA [SEEDS]
//
// mlp and cnn train on Fashion-MNIST, resnet20 on CIFAR-10 (DATA: its folder),
// lstm says the next character of a text (DATA: the file). One line a way to a
// rate: the mean over seeds of the loss on data that is not trained on, and of
// the share that is right; the highest training loss over the first one; and
// evaluations beyond one gradient an update.
//
// digits (DATA: the handwritten digits as text, 64 pixels of 0 to 16 and a
// class a line, separated by commas) counts the runs that are lost at batches
// of 16 to 1797, with EdgePolicy, without a warm-up or a cosine.
//
// The rate goes up in the first tenth of a run and down a cosine, as in the
// trainer; a policy's rate is what that multiplies.
#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/curvature/sharpness_policy.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/trainer/data/image_set.h"
#include "examples/trainer/model/image_model.h"

namespace {

using namespace stepsize;  // NOLINT: a program of its own

constexpr double kMomentum = 0.9;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Data {
  torch::Tensor inputs, labels, test_inputs, test_labels;
};

// A network as a function, and what it is trained on.
struct Task {
  std::shared_ptr<torch::nn::Module> module;
  std::function<torch::Tensor(torch::Tensor)> logits;
};

struct Network {
  std::function<Task()> make;
  Data data;
  int64_t batch = 128;
  int64_t updates = 0;
  // Of the rate, or of a policy's factor; empty: warm-up and cosine.
  std::string schedule;
};

Data images(const std::string& name, const std::string& folder, int64_t count) {
  const auto sets = trainer::load_sets(name, folder);
  const auto pixels = [](const torch::Tensor& bytes) {
    return bytes.to(torch::kFloat) / 255;
  };
  const auto train = pixels(sets.train.images.slice(0, 0, count));
  const std::vector<int64_t> each = {0, 2, 3};
  const auto mean = train.mean(each, /*keepdim=*/true);
  const auto deviation = train.std(each, /*unbiased=*/true, /*keepdim=*/true);
  return {
      (train - mean) / deviation,
      sets.train.labels.slice(0, 0, count),
      (pixels(sets.test.images.slice(0, 0, 5000)) - mean) / deviation,
      sets.test.labels.slice(0, 0, 5000)};
}

// Rows of 64 characters, and those that follow each.
Data characters(const std::string& file, int64_t* kinds) {
  std::ifstream in(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  TORCH_CHECK(text.size() > 10000, file, ": no text of 10000 bytes");
  std::vector<int64_t> codes;
  std::vector<int64_t> code_of(256, -1);
  *kinds = 0;
  for (const char c : text) {
    int64_t& code = code_of[static_cast<unsigned char>(c)];
    if (code < 0) code = (*kinds)++;
    codes.push_back(code);
  }
  constexpr int64_t kLength = 64;
  const auto all = torch::tensor(codes);
  const int64_t rows = (all.size(0) - 1) / kLength;
  auto inputs = all.slice(0, 0, rows * kLength).view({rows, kLength});
  auto next = all.slice(0, 1, rows * kLength + 1).view({rows, kLength});
  torch::manual_seed(1);
  const auto order = torch::randperm(rows);
  inputs = inputs.index_select(0, order);
  next = next.index_select(0, order);
  const int64_t trained = rows * 9 / 10;
  return {
      inputs.slice(0, 0, trained),
      next.slice(0, 0, trained),
      inputs.slice(0, trained),
      next.slice(0, trained)};
}

struct CharacterLstm : torch::nn::Module {
  explicit CharacterLstm(int64_t kinds)
      : embedding(kinds, 32),
        lstm(torch::nn::LSTMOptions(32, 96).batch_first(true)),
        head(96, kinds) {
    register_module("embedding", embedding);
    register_module("lstm", lstm);
    register_module("head", head);
  }
  torch::Tensor forward(const torch::Tensor& rows) {
    return head(std::get<0>(lstm(embedding(rows)))).flatten(0, 1);
  }
  torch::nn::Embedding embedding;
  torch::nn::LSTM lstm;
  torch::nn::Linear head;
};

Network network(const std::string& name, const std::string& data) {
  Network network;
  if (name == "lstm") {
    int64_t kinds = 0;
    network.data = characters(data, &kinds);
    network.batch = 32;
    network.updates = 300;
    network.make = [kinds] {
      auto module = std::make_shared<CharacterLstm>(kinds);
      return Task{
          module, [module](torch::Tensor x) { return module->forward(x); }};
    };
    return network;
  }
  const bool cifar = name == "resnet20";
  network.data = cifar ? images("cifar10", data, 10000)
                       : images("fashion-mnist", data, 12000);
  network.updates = name == "mlp" ? 188 : 94;
  if (name == "mlp") {
    network.make = [] {
      torch::nn::Sequential module(
          torch::nn::Flatten(),
          torch::nn::Linear(784, 64),
          torch::nn::Tanh(),
          torch::nn::Linear(64, 10));
      return Task{module.ptr(), [module](torch::Tensor x) mutable {
                    return module->forward(std::move(x));
                  }};
    };
    return network;
  }
  const trainer::ImageShape shape{
      network.data.inputs.size(1),
      network.data.inputs.size(2),
      network.data.inputs.size(3),
      10};
  network.make = [name, shape] {
    auto module = trainer::make_model(name, shape);
    return Task{module, [module](torch::Tensor x) {
                  return module->forward(std::move(x));
                }};
  };
  return network;
}

struct Run {
  double loss = kInfinity;
  double right = 0;
  double highest = kInfinity;
  std::string cost;
};

// One update with the loss of a batch; returns that loss.
using Step = std::function<double(const std::function<torch::Tensor()>&)>;

// A way to a rate: an optimizer, how it steps and what it says of its cost.
struct Made {
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  Step step;
  std::function<std::string()> cost = [] { return std::string("-"); };
};
using Way = std::function<Made(const torch::nn::Module&)>;

Step by_backward(torch::optim::Optimizer* optimizer) {
  return [optimizer](const std::function<torch::Tensor()>& loss) {
    return optimizer
        ->step([&] {
          optimizer->zero_grad();
          auto value = loss();
          value.backward();
          return value;
        })
        .item<double>();
  };
}

Way constant(double rate) {
  return [rate](const torch::nn::Module& module) {
    Made made;
    made.optimizer = std::make_unique<torch::optim::SGD>(
        module.parameters(),
        torch::optim::SGDOptions(rate).momentum(kMomentum));
    made.step = by_backward(made.optimizer.get());
    return made;
  };
}

Way by_policy(
    std::shared_ptr<StepSizePolicy> policy, double momentum = kMomentum) {
  return [policy, momentum](const torch::nn::Module& module) {
    auto sgd = std::make_unique<AutoSGD>(
        module.parameters(),
        AutoSGDOptions().momentum(momentum).buffers(module.buffers()),
        *policy);
    AutoSGD* const own = sgd.get();
    Made made;
    made.optimizer = std::move(sgd);
    made.step = [own](const std::function<torch::Tensor()>& loss) {
      return own->step(loss).item<double>();
    };
    made.cost = [own] {
      return std::to_string(own->extra_losses()) + " losses, " +
             std::to_string(own->extra_gradients()) + " gradients";
    };
    return made;
  };
}

Way power_method(double safety) {
  return [safety](const torch::nn::Module& module) {
    auto sgd = std::make_unique<PowerMethodSGD>(
        module.parameters(),
        PowerMethodSGDOptions()
            .momentum(kMomentum)
            .buffers(module.buffers())
            .tracker(SharpnessTrackerOptions().safety(safety)));
    PowerMethodSGD* const own = sgd.get();
    Made made;
    made.optimizer = std::move(sgd);
    made.step = [own](const std::function<torch::Tensor()>& loss) {
      return own->step(loss).item<double>();
    };
    made.cost = [own] { return std::to_string(own->products()) + " products"; };
    return made;
  };
}

// RollbackSGD at a rate that is far too large for most: the check of the loss
// is all that holds it.
Way rollback(double rate) {
  return [rate](const torch::nn::Module& module) {
    auto sgd = std::make_unique<RollbackSGD>(
        module.parameters(),
        RollbackSGDOptions(rate).momentum(kMomentum).rollback(
            RollbackOptions().buffers(module.buffers())));
    RollbackSGD* const own = sgd.get();
    Made made;
    made.optimizer = std::move(sgd);
    made.step = by_backward(own);
    made.cost = [own] {
      return std::to_string(own->rule().checks()) + " gradients";
    };
    return made;
  };
}

Run train(const Network& network, const Way& way, int seed) {
  torch::manual_seed(seed);
  auto task = network.make();
  Made made = way(*task.module);
  const int64_t up = std::max<int64_t>(network.updates / 10, 1);
  ScheduleLR schedule(
      *made.optimizer,
      network.schedule.empty() ? "warmup " + std::to_string(up) + " > cosine " +
                                     std::to_string(network.updates - up)
                               : network.schedule);
  Run run;
  double first = 0;
  double highest = 0;
  torch::Tensor order;
  int64_t at = 0;
  const Data& data = network.data;
  for (int64_t update = 0; update < network.updates; ++update) {
    if (!order.defined() || at + network.batch > order.size(0)) {
      order = torch::randperm(data.inputs.size(0));
      at = 0;
    }
    const auto chosen = order.slice(0, at, at + network.batch);
    at += network.batch;
    const auto x = data.inputs.index_select(0, chosen);
    const auto y = data.labels.index_select(0, chosen).flatten();
    const double loss =
        made.step([&] { return torch::cross_entropy_loss(task.logits(x), y); });
    schedule.step();
    if (update == 0) first = loss;
    highest = std::max(highest, std::isfinite(loss) ? loss : kInfinity);
  }
  run.highest = highest / first;
  run.cost = made.cost();
  const torch::NoGradGuard no_grad;
  task.module->eval();
  double sum = 0;
  double right = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < data.test_inputs.size(0); i += 500) {
    const auto logits = task.logits(data.test_inputs.slice(0, i, i + 500));
    const auto y = data.test_labels.slice(0, i, i + 500).flatten();
    sum += torch::cross_entropy_loss(logits, y, {}, at::Reduction::Sum)
               .item<double>();
    right += logits.argmax(1).eq(y).sum().item<double>();
    count += y.numel();
  }
  const auto of = static_cast<double>(count);
  run.loss = std::isfinite(sum) ? sum / of : kInfinity;
  run.right = right / of;
  return run;
}

double show(
    const Network& network,
    const std::string& name,
    const Way& way,
    int seeds) {
  Run mean;
  mean.loss = mean.highest = 0;
  for (int seed = 1; seed <= seeds; ++seed) {
    const Run run = train(network, way, seed);
    mean.loss += run.loss / seeds;
    mean.right += run.right / seeds;
    mean.highest = std::max(mean.highest, run.highest);
    mean.cost = run.cost;
  }
  std::printf(
      "%-24s %8.4f %7.2f%% %9.2f  %s\n",
      name.c_str(),
      mean.loss,
      100 * mean.right,
      mean.highest,
      mean.cost.c_str());
  std::fflush(stdout);
  return mean.loss;
}

Data digits(const std::string& file) {
  std::ifstream in(file);
  std::vector<float> pixels;
  std::vector<int64_t> classes;
  float value = 0;
  char comma = 0;
  for (int64_t i = 0; in >> value; ++i) {
    if (i % 65 < 64) {
      pixels.push_back(value / 16);
    } else {
      classes.push_back(static_cast<int64_t>(value));
    }
    if (in.peek() == ',') in >> comma;
  }
  TORCH_CHECK(!classes.empty(), file, ": no digits");
  const auto inputs = torch::tensor(pixels).view({-1, 64});
  const auto labels = torch::tensor(classes);
  return {inputs, labels, inputs, labels};
}

// A run is lost whose last loss is not below the first, or that was three times
// above it.
void count_lost_runs(const std::string& file, int seeds) {
  Network used;
  used.data = digits(file);
  used.updates = 2000;
  used.schedule = "constant";
  used.make = [] {
    torch::nn::Sequential module(
        torch::nn::Linear(64, 32),
        torch::nn::Tanh(),
        torch::nn::Linear(32, 10));
    return Task{module.ptr(), [module](torch::Tensor x) mutable {
                  return module->forward(std::move(x));
                }};
  };
  for (const double momentum : {0.0, 0.9}) {
    for (const double safety : {0.5, 0.9, 1.0}) {
      const EdgePolicyOptions options = EdgePolicyOptions().safety(safety);
      int lost = 0;
      int runs = 0;
      double worst = 0;
      for (const int64_t batch : {16, 32, 64, 128, 512, 1797}) {
        used.batch = batch;
        for (int seed = 1; seed <= seeds; ++seed, ++runs) {
          const Run run = train(
              used,
              by_policy(std::make_shared<EdgePolicy>(options), momentum),
              seed);
          // A guess is ln 10.
          if (run.highest > 3 || !(run.loss < std::log(10.0))) ++lost;
          worst = std::max(worst, run.loss);
        }
      }
      std::printf(
          "momentum %g, safety %g: %d of %d lost, largest loss at the end "
          "%.3g\n",
          momentum,
          safety,
          lost,
          runs,
          worst);
      std::fflush(stdout);
    }
  }
}

int run(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(
        stderr,
        "usage: %s mlp|cnn|resnet20|lstm|digits [DATA] [SEEDS]\n",
        argv[0]);
    return 2;
  }
  const std::string name = argv[1];
  const int seeds = argc > 3 ? std::atoi(argv[3]) : 3;
  if (name == "digits") {
    TORCH_CHECK(argc > 2, "digits: name the file");
    count_lost_runs(argv[2], seeds);
    return 0;
  }
  const std::string fallback = name == "lstm"
                                   ? "/usr/share/common-licenses/GPL-3"
                                   : "/usr/share/datasets/fashion-mnist";
  const Network used = network(name, argc > 2 ? argv[2] : fallback);
  std::printf(
      "%s, batch %lld, %lld updates, momentum %g\n\n",
      name.c_str(),
      static_cast<long long>(used.batch),
      static_cast<long long>(used.updates),
      kMomentum);
  std::printf(
      "%-24s %8s %8s %9s  %s\n", "", "loss", "right", "highest", "besides");
  double best = kInfinity;
  for (int i = 0; i < 13; ++i) {
    const double rate = std::pow(10, -3 + 0.25 * i);
    char label[32];
    std::snprintf(label, sizeof label, "SGD %.2g", rate);
    best = std::min(best, show(used, label, constant(rate), seeds));
  }
  const std::vector<std::pair<std::string, Way>> ways = {
      {"edge", by_policy(std::make_shared<EdgePolicy>())},
      {"edge s=0.5",
       by_policy(
           std::make_shared<EdgePolicy>(EdgePolicyOptions().safety(0.5)))},
      {"averaged vector", by_policy(std::make_shared<AveragedVectorPolicy>())},
      {"secant", by_policy(std::make_shared<SecantPolicy>())},
      {"polyak", by_policy(std::make_shared<PolyakPolicy>())},
      {"polyak c=0.5",
       by_policy(
           std::make_shared<PolyakPolicy>(PolyakPolicyOptions().divisor(0.5)))},
      {"sharpness", power_method(0.5)},
      {"sharpness s=0.9", power_method(0.9)},
      {"rollback from 1", rollback(1)},
  };
  for (const auto& [label, way] : ways) {
    const double loss = show(used, label, way, seeds);
    std::printf("%26s%.2f times the best of the grid\n", "", loss / best);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
