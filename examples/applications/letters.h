// A text as numbers, and a small transformer that foretells its letters.
#pragma once

#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace applications {

constexpr int64_t kContext = 64;
constexpr int64_t kWidth = 48;
constexpr int64_t kHeads = 4;
constexpr int64_t kLayers = 2;

/// The letters as numbers, 0 for the most rare ones.
struct Text {
  torch::Tensor train;
  torch::Tensor test;
  int64_t letters = 1;
};

inline Text read_text() {
  const char* const path =
      "/usr/share/gocode/src/github.com/andybalholm/brotli/testdata/"
      "Isaac.Newton-Opticks.txt";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "there is no " << path
              << ": install Debian's package "
                 "golang-github-andybalholm-brotli-dev\n";
    std::exit(77);
  }
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<int64_t> counts(256);
  for (const unsigned char c : bytes) ++counts[c];
  Text text;
  std::vector<int64_t> numbers(256);
  for (std::size_t c = 0; c < 256; ++c) {
    if (counts[c] >= 50) numbers[c] = text.letters++;
  }
  std::vector<int64_t> all;
  for (const unsigned char c : bytes) all.push_back(numbers[c]);
  const auto values = torch::tensor(all);
  const int64_t cut = values.size(0) * 9 / 10;
  text.train = values.slice(0, 0, cut);
  text.test = values.slice(0, cut);
  return text;
}

struct BlockImpl : torch::nn::Module {
  BlockImpl() {
    register_module("norm1", norm1);
    register_module("query", query);
    register_module("key", key);
    register_module("value", value);
    register_module("mix", mix);
    register_module("norm2", norm2);
    register_module("up", up);
    register_module("down", down);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto n = norm1(x);
    const auto by_head = [&](const torch::Tensor& t) {
      return t.view({t.size(0), t.size(1), kHeads, kWidth / kHeads})
          .transpose(1, 2);
    };
    auto scores =
        torch::matmul(by_head(query(n)), by_head(key(n)).transpose(2, 3)) /
        std::sqrt(double(kWidth) / double(kHeads));
    // No letter sees one that comes later.
    const auto later =
        torch::ones({x.size(1), x.size(1)}, torch::kBool).triu(1);
    scores = scores.masked_fill(later, -1e9);
    const auto heads = torch::matmul(scores.softmax(-1), by_head(value(n)));
    const auto y = x + mix(heads.transpose(1, 2).reshape(x.sizes()));
    return y + down(torch::gelu(up(norm2(y))));
  }
  // A layer each for queries, keys and values: Muon takes each as a matrix.
  torch::nn::Linear query{kWidth, kWidth}, key{kWidth, kWidth},
      value{kWidth, kWidth}, mix{kWidth, kWidth}, up{kWidth, 4 * kWidth},
      down{4 * kWidth, kWidth};
  torch::nn::LayerNorm norm1{torch::nn::LayerNormOptions({kWidth})};
  torch::nn::LayerNorm norm2{torch::nn::LayerNormOptions({kWidth})};
};
TORCH_MODULE(Block);

struct TransformerImpl : torch::nn::Module {
  explicit TransformerImpl(int64_t letters)
      : embedding(letters, kWidth),
        place(kContext, kWidth),
        head(kWidth, letters) {
    register_module("embedding", embedding);
    register_module("place", place);
    for (int64_t i = 0; i < kLayers; ++i) blocks->push_back(Block());
    register_module("blocks", blocks);
    register_module("norm", norm);
    register_module("head", head);
    const torch::NoGradGuard no_grad;
    embedding->weight.mul_(0.02);
    place->weight.mul_(0.02);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto places = torch::arange(x.size(1));
    auto y = embedding(x) + place(places);
    for (const auto& block : *blocks) {
      y = block->as<Block>()->forward(y);
    }
    return head(norm(y));
  }
  torch::nn::Embedding embedding;
  torch::nn::Embedding place;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm norm{torch::nn::LayerNormOptions({kWidth})};
  torch::nn::Linear head;
};
TORCH_MODULE(Transformer);

/// The mean loss of a letter, in nats, where `starts` are the places of the
/// contexts.
inline torch::Tensor loss_at(
    Transformer& model,
    const torch::Tensor& text,
    const torch::Tensor& starts) {
  const auto places = starts.unsqueeze(1) + torch::arange(kContext + 1);
  const auto x = text.index_select(0, places.flatten()).view_as(places);
  return torch::nn::functional::cross_entropy(
      model->forward(x.slice(1, 0, kContext)).flatten(0, 1),
      x.slice(1, 1).flatten());
}

inline double test_loss(Transformer& model, const torch::Tensor& text) {
  const torch::NoGradGuard no_grad;
  double sum = 0;
  const auto starts = torch::arange(0, text.size(0) - kContext - 1, kContext);
  const auto parts = starts.split(128);
  for (const auto& part : parts) {
    sum += loss_at(model, text, part).item<double>() * double(part.size(0));
  }
  return sum / double(starts.size(0));
}

}  // namespace applications
