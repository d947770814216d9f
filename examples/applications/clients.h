// Images that are spread unevenly over clients.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "../recipes/fashion_mnist.h"

namespace applications {

/// The images of each of `count` clients, each class spread by a Dirichlet
/// distribution of `evenness`: at 0.1 most of its images are with two or three
/// clients. Same seed, same clients, on every rank.
inline std::vector<recipes::Images> clients_of(
    const recipes::Images& images,
    std::size_t count,
    double evenness,
    std::mt19937_64& random) {
  std::vector<std::vector<torch::Tensor>> parts(count);
  for (int64_t label = 0; label < 10; ++label) {
    const auto index = images.labels.eq(label).nonzero().flatten();
    std::gamma_distribution<double> gamma(evenness);
    std::vector<double> shares(count);
    double sum = 0;
    for (auto& share : shares) sum += share = gamma(random);
    double end = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const double begin = end;
      end += shares[k] / sum * double(index.size(0));
      parts[k].push_back(index.slice(
          0,
          std::lround(begin),
          std::max(std::lround(begin), std::lround(end))));
    }
  }
  std::vector<recipes::Images> clients;
  for (const auto& part : parts) clients.push_back(images.at(torch::cat(part)));
  return clients;
}

}  // namespace applications
