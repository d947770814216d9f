#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace stepsize::lab {

/// What a network is trained on, and what it is judged by.
struct TaskData {
  at::Tensor inputs, labels, test_inputs, test_labels;
};

/// A network as a function.
struct Network {
  std::shared_ptr<torch::nn::Module> module;
  std::function<at::Tensor(at::Tensor)> logits;

  /// The cross-entropy of a batch.
  at::Tensor loss(const at::Tensor& inputs, const at::Tensor& labels) const;
};

/// A network to train with cross-entropy, drawn anew by each make(), and for
/// how long.
struct Task {
  std::function<Network()> make;
  TaskData data;
  int64_t batch = 128;
  int64_t updates = 0;
  /// Of the rate, or of a policy's factor.
  std::string schedule;

  /// The rate goes up in the first tenth of the updates and down a cosine, as
  /// in the trainer.
  void use_warmup_and_cosine();
};

/// mlp or cnn on Fashion-MNIST, resnet20 on CIFAR-10 (`data`: the folder),
/// lstm, which says the next character of a text, or digits, the handwritten
/// ones, 64 pixels of 0 to 16 and a class a line, separated by commas (`data`:
/// the file), all of which are trained on. Empty: where Debian has it, for mlp,
/// cnn and lstm.
Task make_task(const std::string& name, const std::string& data = "");

/// Batches without end, in a new order each time that all have been seen.
class Batches {
 public:
  Batches(const TaskData& data, int64_t size) : data_(data), size_(size) {}
  /// Inputs, and labels in one row.
  std::pair<at::Tensor, at::Tensor> next();

 private:
  const TaskData& data_;
  int64_t size_;
  int64_t at_ = 0;
  at::Tensor order_;
};

/// How many seeds a word of the command line asks for; c10::Error where it is
/// no number from 1 to 1000.
int count_of_seeds(const std::string& word);

/// Mean loss on the data that is not trained on, and the share that is right;
/// of digits, on those that are.
struct Score {
  double loss;
  double right;
};
Score score(const Network& network, const TaskData& data);

}  // namespace stepsize::lab
