#include "examples/trainer/data/batch_source.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <utility>

#include "examples/trainer/loop/archive.h"

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
  TORCH_CHECK(
      options.rank >= 0 && options.rank < options.ranks,
      "BatchSource: rank must be in [0, ",
      options.ranks,
      "), got ",
      options.rank);
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
  epoch_state_ = generator_.get_state();
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

void BatchSource::rewind() {
  generator_.set_current_seed(options_.seed);
  epoch_state_.reset();
  position_ = size();
}

std::optional<Batch> BatchSource::next() {
  if (position_ == size()) {
    return std::nullopt;
  }
  const std::int64_t whole =
      std::min(options_.batch_size * options_.ranks, size() - position_);
  const std::int64_t first = whole * options_.rank / options_.ranks;
  const std::int64_t count =
      whole * (options_.rank + 1) / options_.ranks - first;
  const auto own = [&](const torch::Tensor& all) {
    return part(all, position_ + first, count);
  };
  const auto index = own(order_);
  const Moves moves{own(moves_.down), own(moves_.right), own(moves_.flip)};
  position_ += whole;
  auto images = images_.is_cpu()
                    ? gather_images(images_, index, moves, normalization_)
                    : gather_images_on_device(
                          images_, index, moves, device_normalization_);
  return Batch{
      std::move(images), labels_.index_select(0, index), whole - count};
}

// Order, crops and flips are as long as the set; the state that they were drawn
// from is not.
void BatchSource::save(torch::serialize::OutputArchive& archive) const {
  const bool started = epoch_state_.defined();
  write_int(archive, "position", started ? position_ : -1);
  archive.write("generator", started ? epoch_state_ : generator_.get_state());
}

void BatchSource::load(torch::serialize::InputArchive& archive) {
  const std::int64_t position = read_int(archive, "position");
  torch::Tensor state;
  TORCH_CHECK(
      archive.try_read("generator", state),
      "BatchSource: the archive has no 'generator'");
  const bool is_place =
      position == -1 || position == size() ||
      (position >= 0 && position < size() &&
       position % (options_.batch_size * options_.ranks) == 0);
  TORCH_CHECK(
      is_place,
      "BatchSource: 'position' must be -1, or in [0, ",
      size(),
      "] and where a batch begins or the epoch ends, got ",
      position);
  generator_.set_state(state);
  epoch_state_.reset();
  position_ = size();
  if (position >= 0) {
    start_epoch();
    position_ = position;
  }
}

std::int64_t BatchSource::batches() const {
  const std::int64_t batch = options_.batch_size * options_.ranks;
  return (size() + batch - 1) / batch;
}

}  // namespace stepsize::trainer
