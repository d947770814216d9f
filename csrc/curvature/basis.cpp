#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>

#include <algorithm>
#include <cstddef>

#include "csrc/curvature/lanczos_process.h"

namespace stepsize::detail {
namespace {

// A basis grows by blocks: memory as it is used, and few matrices.
constexpr int64_t kRowsOfBlock = 16;

at::ScalarType working_type(const at::Tensor& part) {
  return part.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace

FlatSpace::FlatSpace(const TensorVector& like) : like_(like) {
  std::vector<std::size_t> first;
  std::vector<int64_t> sizes;
  for (std::size_t i = 0; i < like.size(); ++i) {
    std::size_t group = 0;
    while (group < first.size() &&
           (like[first[group]].device() != like[i].device() ||
            working_type(like[first[group]]) != working_type(like[i]))) {
      ++group;
    }
    if (group == first.size()) {
      first.push_back(i);
      sizes.push_back(0);
    }
    places_.push_back({group, sizes[group]});
    sizes[group] += like[i].numel();
  }
  group_count_ = first.size();
}

TensorVector FlatSpace::flatten(const TensorVector& v) const {
  std::vector<TensorVector> groups(group_count_);
  for (std::size_t i = 0; i < v.size(); ++i) {
    groups[places_[i].group].push_back(v[i].reshape(-1).to(working_type(v[i])));
  }
  TensorVector flat;
  flat.reserve(group_count_);
  for (const TensorVector& group : groups) flat.push_back(at::cat(group));
  return flat;
}

TensorVector FlatSpace::unflatten(const TensorVector& flat) const {
  TensorVector v;
  v.reserve(like_.size());
  for (std::size_t i = 0; i < like_.size(); ++i) {
    const Place& place = places_[i];
    v.push_back(flat[place.group]
                    .narrow(0, place.start, like_[i].numel())
                    .view(like_[i].sizes())
                    .to(like_[i].scalar_type()));
  }
  return v;
}

int64_t Basis::rows_of(std::size_t block) const {
  const auto before = static_cast<int64_t>(block) * kRowsOfBlock;
  return std::min(kRowsOfBlock, size_ - before);
}

void Basis::append(const TensorVector& flat) {
  const int64_t row = size_ % kRowsOfBlock;
  if (row == 0) {
    TensorVector block;
    block.reserve(flat.size());
    for (const at::Tensor& part : flat) {
      block.push_back(at::empty({kRowsOfBlock, part.numel()}, part.options()));
    }
    blocks_.push_back(block);
  }
  for (std::size_t i = 0; i < flat.size(); ++i) {
    blocks_.back()[i].select(0, row).copy_(flat[i]);
  }
  ++size_;
}

TensorVector Basis::orthogonal_part(const TensorVector& flat) const {
  TensorVector rest;
  rest.reserve(flat.size());
  for (const at::Tensor& part : flat) rest.push_back(part.clone());
  const at::Device device = flat.front().device();
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<at::Tensor> coefficients;
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      at::Tensor sum;
      for (std::size_t i = 0; i < rest.size(); ++i) {
        const at::Tensor rows = blocks_[b][i].narrow(0, 0, rows_of(b));
        const at::Tensor part = at::mv(rows, rest[i]).to(device, at::kDouble);
        sum = sum.defined() ? sum.add(part) : part;
      }
      coefficients.push_back(sum);
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      for (std::size_t i = 0; i < rest.size(); ++i) {
        const at::Tensor rows = blocks_[b][i].narrow(0, 0, rows_of(b));
        rest[i].sub_(at::mv(
            rows.t(),
            coefficients[b].to(rest[i].device(), rest[i].scalar_type())));
      }
    }
  }
  return rest;
}

TensorVector Basis::combine(const at::Tensor& coefficients) const {
  TensorVector sum;
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    const at::Tensor part = coefficients.narrow(
        0, static_cast<int64_t>(b) * kRowsOfBlock, rows_of(b));
    for (std::size_t i = 0; i < blocks_[b].size(); ++i) {
      const at::Tensor rows = blocks_[b][i].narrow(0, 0, rows_of(b));
      const at::Tensor term =
          at::mv(rows.t(), part.to(rows.device(), rows.scalar_type()));
      if (b == 0) {
        sum.push_back(term);
      } else {
        sum[i].add_(term);
      }
    }
  }
  return sum;
}

}  // namespace stepsize::detail
