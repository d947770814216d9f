#include "batch_source.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <utility>

namespace stepsize::trainer {
namespace {

torch::Tensor part(
    const torch::Tensor& all, std::int64_t first, std::int64_t count) {
  return all.defined() ? all.narrow(0, first, count) : all;
}

void check(const ImageSet& set, const BatchSourceOptions& options) {
  TORCH_CHECK(
      set.images.defined() && set.images.dim() == 4 && set.size() > 0,
      "BatchSource: the images must be [N, C, H, W] with N >= 1");
  TORCH_CHECK(
      set.labels.defined() && set.labels.dim() == 1 &&
          set.labels.size(0) == set.size(),
      "BatchSource: there must be one label for each of ",
      set.size(),
      " images");
  TORCH_CHECK(
      options.batch_size >= 1,
      "BatchSource: batch_size must be >= 1, got ",
      options.batch_size);
  TORCH_CHECK(
      options.padding >= 0,
      "BatchSource: padding must be >= 0, got ",
      options.padding);
}

}  // namespace

BatchSource::BatchSource(
    const ImageSet& set,
    Normalization normalization,
    const BatchSourceOptions& options,
    torch::Device device)
    : normalization_(std::move(normalization)),
      device_normalization_(normalization_, device),
      options_(options) {
  check(set, options);
  images_ = set.images.contiguous().to(device);
  labels_ = set.labels.to(device);
  generator_ = at::detail::createCPUGenerator(options.seed);
  order_ =
      torch::arange(size(), torch::TensorOptions(torch::kInt64).device(device));
  position_ = size();
}

void BatchSource::start_epoch() {
  const auto device = images_.device();
  const torch::TensorOptions whole(torch::kInt64);
  if (options_.shuffle) {
    order_ = torch::randperm(size(), generator_, whole).to(device);
  }
  if (options_.padding > 0) {
    const auto offsets = [&] {
      return torch::randint(
                 -options_.padding,
                 options_.padding + 1,
                 {size()},
                 generator_,
                 whole)
          .to(device);
    };
    moves_.down = offsets();
    moves_.right = offsets();
  }
  if (options_.flip) {
    moves_.flip = torch::randint(0, 2, {size()}, generator_, whole)
                      .to(torch::kBool)
                      .to(device);
  }
  position_ = 0;
}

std::optional<Batch> BatchSource::next() {
  if (position_ == size()) {
    return std::nullopt;
  }
  const std::int64_t count = std::min(options_.batch_size, size() - position_);
  const auto index = part(order_, position_, count);
  const Moves moves{
      part(moves_.down, position_, count),
      part(moves_.right, position_, count),
      part(moves_.flip, position_, count)};
  position_ += count;
  auto images = images_.is_cpu()
                    ? gather_images(images_, index, moves, normalization_)
                    : gather_images_on_device(
                          images_, index, moves, device_normalization_);
  return Batch{std::move(images), labels_.index_select(0, index)};
}

std::int64_t BatchSource::batches() const {
  return (size() + options_.batch_size - 1) / options_.batch_size;
}

}  // namespace stepsize::trainer
