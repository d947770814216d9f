// Transfer: a network that knows five kinds of clothes learns five others from
// a handful of images each. How much of it should move, and at which rates?
//
//   from scratch  the same network, not trained before
//   head only     the body stays as it is
//   one rate      for all layers
//   falling       a third of the rate a layer further from the head (Howard and
//                 Ruder 2018, "Universal Language Model Fine-tuning")
//   unfreezing    the head first, then a layer more each fifth of the run
//   both          the last two together, as they have it
//
// Each way takes the rate that is best for it, by other draws of the images
// than those that it is judged by.
//
//     transfer [IMAGES TO TRAIN ON BEFORE [FOLDER FOR THE PICTURE]]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "../recipes/fashion_mnist.h"
#include "outcome.h"

namespace {

constexpr int64_t kKinds = 5;

struct NetImpl : torch::nn::Module {
  NetImpl() {
    // From body to head.
    register_module("conv1", conv1);
    register_module("conv2", conv2);
    register_module("conv3", conv3);
    register_module("head", head);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(conv1(x));
    x = torch::relu(conv2(x));
    x = torch::relu(conv3(x));
    return head(x.flatten(1));
  }
  torch::nn::Conv2d conv1{torch::nn::Conv2dOptions(1, 16, 3).stride(2)};
  torch::nn::Conv2d conv2{torch::nn::Conv2dOptions(16, 32, 3).stride(2)};
  torch::nn::Conv2d conv3{torch::nn::Conv2dOptions(32, 32, 3).stride(2)};
  torch::nn::Linear head{32 * 2 * 2, kKinds};
};
TORCH_MODULE(Net);

// T-shirts to coats have the labels 0 to 4; sandals to ankle boots, which are
// to be learned later, 5 to 9.
recipes::Images kinds(const recipes::Images& images, int64_t first) {
  const auto of_these =
      (images.labels >= first) & (images.labels < first + kKinds);
  auto part = images.at(of_these.nonzero().squeeze(1));
  part.labels -= first;
  return part;
}

void make_update(
    torch::optim::Optimizer& optimizer,
    Net& model,
    const recipes::Images& batch) {
  optimizer.zero_grad();
  torch::nn::functional::cross_entropy(
      model->forward(batch.pixels), batch.labels)
      .backward();
  optimizer.step();
}

Net trained_before(const recipes::Images& train) {
  torch::manual_seed(0);
  Net model;
  torch::optim::AdamW optimizer(
      model->parameters(), torch::optim::AdamWOptions(3e-3));
  constexpr int64_t kBatch = 64;
  const int64_t updates = 3 * (train.size() / kBatch);
  stepsize::ScheduleLR scheduler(
      optimizer, "warmup 5% > cosine", {0, double(updates)});
  for (int64_t i = 0; i < updates; ++i) {
    const auto index = torch::randint(train.size(), {kBatch}, torch::kInt64);
    make_update(optimizer, model, train.at(index));
    scheduler.step();
  }
  return model;
}

struct Way {
  const char* name;
  bool trained_before;
  double layer_factor;
  bool head_only;
  bool unfreezes;
};

constexpr int64_t kUpdates = 100;

struct Tuned {
  double right = 0;   // share of the test images
  int64_t moved = 0;  // layers whose weights are not what they began with
};

Tuned fine_tune(
    const Way& way,
    double lr,
    Net& before,
    const recipes::Images& few,
    const recipes::Images& test,
    uint64_t seed) {
  torch::manual_seed(seed);
  Net model;  // its head is new in any case: it is for other kinds
  const std::vector<std::string> body = {"conv1", "conv2", "conv3"};
  if (way.trained_before) {
    const torch::NoGradGuard no_grad;
    for (const auto& layer : body) {
      auto mine = model->named_children()[layer]->parameters();
      const auto theirs = before->named_children()[layer]->parameters();
      for (std::size_t i = 0; i < mine.size(); ++i) mine[i].copy_(theirs[i]);
    }
  }
  std::vector<torch::Tensor> start;
  for (const auto& child : model->children()) {
    start.push_back(child->parameters()[0].detach().clone());
  }

  stepsize::ParamGroups groups(*model, torch::optim::AdamWOptions(lr));
  groups.layer_decay(way.layer_factor).no_decay_for_norms_and_biases();
  auto optimizer = groups.make_optimizer<torch::optim::AdamW>();
  stepsize::ScheduleLR scheduler(
      optimizer, "warmup 10% > cosine", {0, double(kUpdates)});
  // What is frozen stays in the optimizer's groups, so that neither these nor
  // the schedule know of it.
  std::vector<std::string> frozen;
  if (way.head_only || way.unfreezes) frozen = body;
  if (!frozen.empty()) stepsize::freeze(*model, frozen);
  for (int64_t update = 0; update < kUpdates; ++update) {
    const bool is_due = update > 0 && update % (kUpdates / 5) == 0;
    if (way.unfreezes && is_due && !frozen.empty()) {
      stepsize::unfreeze(*model, {frozen.back()});
      frozen.pop_back();
    }
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(model->forward(few.pixels), few.labels)
        .backward();
    optimizer.step();
    scheduler.step();
  }

  Tuned tuned;
  tuned.right = recipes::accuracy(model, test);
  for (std::size_t i = 0; i < start.size(); ++i) {
    tuned.moved += !model->children()[i]->parameters()[0].equal(start[i]);
  }
  return tuned;
}

// So many of each kind.
recipes::Images draw(
    const recipes::Images& images, int64_t count, uint64_t seed) {
  torch::manual_seed(1000 + seed);
  std::vector<torch::Tensor> index;
  for (int64_t kind = 0; kind < kKinds; ++kind) {
    const auto all = images.labels.eq(kind).nonzero().squeeze(1);
    const auto order = torch::randperm(all.size(0));
    index.push_back(all.index_select(0, order.slice(0, 0, count)));
  }
  return images.at(torch::cat(index));
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int64_t kImages = 30000;
  constexpr int64_t kFew = 10;  // of each kind
  const int64_t images = recipes::argument(argc, argv, kImages, 2000);
  const bool is_short = images < kImages;
  const auto all = recipes::fashion_mnist(true, images);
  const auto tests = recipes::fashion_mnist(false, is_short ? 2000 : 4000);
  const auto new_kinds = kinds(all, kKinds);
  const auto test = kinds(tests, kKinds);
  auto before = trained_before(kinds(all, 0));
  std::printf(
      "Told right: %.3f of the kinds that were trained on before; of the "
      "others,\nafter %d updates on %d images of each:\n\n"
      "               rate  mean, deviation  ahead of one rate in\n",
      recipes::accuracy(before, kinds(tests, 0)),
      int(kUpdates),
      int(kFew));

  const std::vector<Way> ways = {
      {"from scratch", false, 1, false, false},
      {"one rate", true, 1, false, false},
      {"head only", true, 1, true, false},
      {"falling", true, 1.0 / 3, false, false},
      {"unfreezing", true, 1, false, true},
      {"both", true, 1.0 / 3, false, true}};
  const auto rates = is_short ? std::vector<double>{3e-3}
                              : std::vector<double>{1e-3, 3e-3, 1e-2, 3e-2};
  const uint64_t tuning = is_short ? 1 : 6;  // draws to find the rate by
  const uint64_t judging = is_short ? 8 : 12;
  stepsize::LinePlot plot("Five new kinds of clothes, ten images of each");
  plot.x_label("rate of the head").x_log().y_label("told right");
  std::map<std::string, torch::Tensor> rights;  // [draw]
  bool moves = true;
  for (const auto& way : ways) {
    const auto measure = [&](double lr, uint64_t first, uint64_t count) {
      auto right = torch::zeros({int64_t(count)}, torch::kDouble);
      for (uint64_t i = 0; i < count; ++i) {
        const auto few = draw(new_kinds, kFew, first + i);
        const auto tuned = fine_tune(way, lr, before, few, test, first + i);
        right[int64_t(i)] = tuned.right;
        moves = moves && tuned.moved == (way.head_only ? 1 : 4);
      }
      return right;
    };
    std::vector<double> by_rate;
    for (const double lr : rates) {
      by_rate.push_back(measure(lr, judging, tuning).mean().item<double>());
    }
    plot.line(way.name, rates, by_rate);
    const auto best = std::max_element(by_rate.begin(), by_rate.end());
    const double lr = rates[std::size_t(best - by_rate.begin())];
    const auto right = rights[way.name] = measure(lr, 0, judging);
    std::printf(
        "%-13s %.3f  %.3f, %.3f",
        way.name,
        lr,
        right.mean().item<double>(),
        right.std().item<double>());
    if (rights.count("one rate") != 0) {
      const auto ahead = right.gt(rights["one rate"]).sum().item<int64_t>();
      std::printf("     %d of %d draws", int(ahead), int(judging));
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  applications::write_picture(argc, argv, "transfer", plot);
  std::printf("\n");
  const bool pays = applications::say(
      "What was learned before is of use",
      (rights["one rate"].mean() > rights["from scratch"].mean()).item<bool>());
  moves = applications::say(
      "What is frozen stays, bit for bit, and all else moves", moves);
  return pays && moves ? 0 : 1;
}
