#include "tasks.h"

#include <torch/torch.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>
#include <vector>

#include "examples/trainer/data/image_set.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::lab {
namespace {

TaskData images(
    const std::string& name, const std::string& folder, int64_t count) {
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
TaskData characters(const std::string& file, int64_t* kinds) {
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

TaskData digits(const std::string& file) {
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
  TORCH_CHECK(
      in.eof() && !classes.empty() && pixels.size() == 64 * classes.size(),
      file,
      ": no lines of 64 pixels and a class, separated by commas");
  const auto inputs = torch::tensor(pixels).view({-1, 64});
  const auto labels = torch::tensor(classes);
  return {inputs, labels, inputs, labels};
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

// Linear, tanh, linear.
Network perceptron(int64_t inputs, int64_t hidden) {
  torch::nn::Sequential module(
      torch::nn::Flatten(),
      torch::nn::Linear(inputs, hidden),
      torch::nn::Tanh(),
      torch::nn::Linear(hidden, 10));
  return {module.ptr(), [module](torch::Tensor x) mutable {
            return module->forward(std::move(x));
          }};
}

Task of_lstm(const std::string& file) {
  Task task;
  int64_t kinds = 0;
  task.data = characters(file, &kinds);
  task.batch = 32;
  task.updates = 300;
  task.make = [kinds]() -> Network {
    auto module = std::make_shared<CharacterLstm>(kinds);
    return {module, [module](const torch::Tensor& x) {
              return module->forward(x);
            }};
  };
  return task;
}

Task of_images(const std::string& name, const std::string& folder) {
  Task task;
  const bool cifar = name == "resnet20";
  task.data = cifar ? images("cifar10", folder, 10000)
                    : images("fashion-mnist", folder, 12000);
  if (name == "mlp") {
    task.updates = 188;
    task.make = [] { return perceptron(784, 64); };
    return task;
  }
  task.updates = 94;
  const auto& inputs = task.data.inputs;
  const trainer::ImageShape shape{
      inputs.size(1), inputs.size(2), inputs.size(3), 10};
  task.make = [name, shape]() -> Network {
    auto module = trainer::make_model(name, shape);
    return {module, [module](torch::Tensor x) {
              return module->forward(std::move(x));
            }};
  };
  return task;
}

}  // namespace

at::Tensor Network::loss(
    const at::Tensor& inputs, const at::Tensor& labels) const {
  return torch::cross_entropy_loss(logits(inputs), labels);
}

void Task::use_warmup_and_cosine() {
  const int64_t up = std::max<int64_t>(updates / 10, 1);
  schedule = "warmup " + std::to_string(up) + " > cosine " +
             std::to_string(updates - up);
}

Task make_task(const std::string& name, const std::string& data) {
  Task task;
  if (name == "digits") {
    TORCH_CHECK(!data.empty(), "digits: name the file");
    task.data = digits(data);
    task.updates = 2000;
    task.make = [] { return perceptron(64, 32); };
  } else if (name == "lstm") {
    task = of_lstm(data.empty() ? "/usr/share/common-licenses/GPL-3" : data);
  } else if (name == "mlp" || name == "cnn" || name == "resnet20") {
    TORCH_CHECK(
        name != "resnet20" || !data.empty(),
        "resnet20: name the folder of CIFAR-10");
    task = of_images(
        name, data.empty() ? "/usr/share/datasets/fashion-mnist" : data);
  } else {
    TORCH_CHECK(
        false,
        "there is no network '",
        name,
        "': mlp, cnn, resnet20, lstm or digits");
  }
  task.use_warmup_and_cosine();
  return task;
}

int count_of_seeds(const std::string& word) {
  constexpr int kMost = 1000;
  int count = 0;
  const auto [end, error] =
      std::from_chars(word.data(), word.data() + word.size(), count);
  TORCH_CHECK(
      error == std::errc() && end == word.data() + word.size() && count >= 1 &&
          count <= kMost,
      "SEEDS must be a number from 1 to ",
      kMost,
      ", got ",
      word);
  return count;
}

std::pair<at::Tensor, at::Tensor> Batches::next() {
  if (!order_.defined() || at_ + size_ > order_.size(0)) {
    order_ = torch::randperm(data_.inputs.size(0));
    at_ = 0;
  }
  const auto chosen = order_.slice(0, at_, at_ + size_);
  at_ += size_;
  return {
      data_.inputs.index_select(0, chosen),
      data_.labels.index_select(0, chosen).flatten()};
}

Score score(const Network& network, const TaskData& data) {
  const torch::NoGradGuard no_grad;
  network.module->eval();
  double sum = 0;
  double right = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < data.test_inputs.size(0); i += 500) {
    const auto logits = network.logits(data.test_inputs.slice(0, i, i + 500));
    const auto labels = data.test_labels.slice(0, i, i + 500).flatten();
    sum += torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum)
               .item<double>();
    right += logits.argmax(1).eq(labels).sum().item<double>();
    count += labels.numel();
  }
  network.module->train();
  const auto of = static_cast<double>(count);
  return {
      std::isfinite(sum) ? sum / of : std::numeric_limits<double>::infinity(),
      right / of};
}

}  // namespace stepsize::lab
