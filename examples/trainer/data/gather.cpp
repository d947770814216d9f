#include "examples/trainer/data/gather.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace stepsize::trainer {
namespace {

struct Shape {
  std::int64_t channels;
  std::int64_t height;
  std::int64_t width;
};

struct Move {
  std::int64_t down = 0;
  std::int64_t right = 0;
  bool flip = false;
};

void check_arguments(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    std::size_t scales,
    std::size_t shifts) {
  TORCH_CHECK(
      images.dim() == 4 && images.scalar_type() == torch::kUInt8 &&
          images.is_contiguous(),
      "gather_images: images must be contiguous uint8 [N, C, H, W], got ",
      images.scalar_type(),
      " ",
      images.sizes());
  TORCH_CHECK(
      index.dim() == 1 && index.scalar_type() == torch::kInt64,
      "gather_images: index must be int64 [B], got ",
      index.scalar_type(),
      " ",
      index.sizes());
  const auto channels = static_cast<std::size_t>(images.size(1));
  TORCH_CHECK(
      scales == channels && shifts == channels,
      "gather_images: the normalization must have one scale and shift for "
      "each of ",
      channels,
      " channels, got ",
      scales,
      " and ",
      shifts);
  for (const auto* move : {&moves.down, &moves.right, &moves.flip}) {
    TORCH_CHECK(
        !move->defined() || move->sizes() == index.sizes(),
        "gather_images: a move must have the shape of the index ",
        index.sizes(),
        ", got ",
        move->sizes());
  }
  TORCH_CHECK(
      moves.down.defined() == moves.right.defined(),
      "gather_images: moves need both of down and right, or none");
}

// One image, row by row. Within a row the pixels that the move keeps inside
// of the image are one run of bytes, read forwards or backwards.
void move_image(
    const std::uint8_t* in,
    float* out,
    const Shape& shape,
    const Move& move,
    const Normalization& normalization) {
  const auto [channels, height, width] = shape;
  const std::int64_t begin = std::clamp<std::int64_t>(-move.right, 0, width);
  const std::int64_t end =
      std::clamp<std::int64_t>(width - move.right, begin, width);
  for (std::int64_t c = 0; c < channels; ++c) {
    const float scale = normalization.scale[static_cast<std::size_t>(c)];
    const float shift = normalization.shift[static_cast<std::size_t>(c)];
    for (std::int64_t y = 0; y < height; ++y) {
      float* to = out + (c * height + y) * width;
      std::fill_n(to, width, 0.0F);
      const std::int64_t source = y + move.down;
      if (source < 0 || source >= height) {
        continue;
      }
      const std::uint8_t* from = in + (c * height + source) * width;
      if (move.flip) {
        for (std::int64_t x = begin; x < end; ++x) {
          to[width - 1 - x] =
              static_cast<float>(from[x + move.right]) * scale + shift;
        }
      } else {
        for (std::int64_t x = begin; x < end; ++x) {
          to[x] = static_cast<float>(from[x + move.right]) * scale + shift;
        }
      }
    }
  }
}

template <typename T>
const T* data_or_null(const torch::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

torch::Tensor gather_on_cpu(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const Normalization& normalization) {
  const std::int64_t count = images.size(0);
  const Shape shape{images.size(1), images.size(2), images.size(3)};
  const std::int64_t pixels = shape.channels * shape.height * shape.width;
  const std::int64_t batch = index.size(0);
  auto out = torch::empty(
      {batch, shape.channels, shape.height, shape.width}, torch::kFloat32);

  const torch::Tensor rows = index.contiguous();
  const Moves plain{
      moves.down.defined() ? moves.down.contiguous() : moves.down,
      moves.right.defined() ? moves.right.contiguous() : moves.right,
      moves.flip.defined() ? moves.flip.contiguous() : moves.flip};
  const auto* row = rows.data_ptr<std::int64_t>();
  const auto* down = data_or_null<std::int64_t>(plain.down);
  const auto* right = data_or_null<std::int64_t>(plain.right);
  const auto* flip = data_or_null<bool>(plain.flip);
  for (std::int64_t i = 0; i < batch; ++i) {
    TORCH_CHECK(
        row[i] >= 0 && row[i] < count,
        "gather_images: index ",
        row[i],
        " is out of range for ",
        count,
        " images");
  }
  const auto* in = images.data_ptr<std::uint8_t>();
  auto* to = out.data_ptr<float>();
  constexpr std::int64_t kImagesPerTask = 16;
  at::parallel_for(
      0, batch, kImagesPerTask, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) {
          Move move;
          if (down != nullptr) {
            move.down = down[i];
            move.right = right[i];
          }
          move.flip = flip != nullptr && flip[i];
          move_image(
              in + row[i] * pixels,
              to + i * pixels,
              shape,
              move,
              normalization);
        }
      });
  return out;
}

}  // namespace

Normalization normalization_of(const torch::Tensor& images) {
  TORCH_CHECK(
      images.dim() == 4 && images.scalar_type() == torch::kUInt8 &&
          images.is_contiguous() && images.is_cpu() && images.numel() > 0,
      "normalization_of: images must be contiguous uint8 [N, C, H, W] on a "
      "CPU, and not empty, got ",
      images.scalar_type(),
      " ",
      images.sizes());
  const std::int64_t channels = images.size(1);
  const std::int64_t plane = images.size(2) * images.size(3);
  const auto* pixel = images.data_ptr<std::uint8_t>();
  Normalization result;
  for (std::int64_t c = 0; c < channels; ++c) {
    std::array<std::int64_t, 256> histogram{};
    for (std::int64_t n = 0; n < images.size(0); ++n) {
      const auto* from = pixel + (n * channels + c) * plane;
      for (std::int64_t i = 0; i < plane; ++i) {
        ++histogram[from[i]];
      }
    }
    const auto count = static_cast<double>(images.size(0) * plane);
    double mean = 0;
    for (std::size_t value = 0; value < histogram.size(); ++value) {
      mean += static_cast<double>(value) *
              static_cast<double>(histogram[value]) / count;
    }
    double variance = 0;
    for (std::size_t value = 0; value < histogram.size(); ++value) {
      const double distance = static_cast<double>(value) - mean;
      variance +=
          distance * distance * static_cast<double>(histogram[value]) / count;
    }
    const double scale = variance > 0 ? 1 / std::sqrt(variance) : 1;
    result.scale.push_back(static_cast<float>(scale));
    result.shift.push_back(static_cast<float>(-mean * scale));
  }
  return result;
}

DeviceNormalization::DeviceNormalization(
    const Normalization& normalization, torch::Device device)
    : scale(torch::tensor(normalization.scale).view({1, -1, 1, 1}).to(device)),
      shift(torch::tensor(normalization.shift).view({1, -1, 1, 1}).to(device)) {
}

torch::Tensor gather_images(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const Normalization& normalization) {
  TORCH_CHECK(
      images.is_cpu() && index.is_cpu(),
      "gather_images: images and index must lie on a CPU, got ",
      images.device(),
      " and ",
      index.device());
  check_arguments(
      images,
      index,
      moves,
      normalization.scale.size(),
      normalization.shift.size());
  return gather_on_cpu(images, index, moves, normalization);
}

torch::Tensor gather_images_on_device(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const DeviceNormalization& normalization) {
  const auto& [scale, shift] = normalization;
  check_arguments(
      images,
      index,
      moves,
      static_cast<std::size_t>(scale.numel()),
      static_cast<std::size_t>(shift.numel()));
  const auto device = images.device();
  if (!moves.down.defined() && !moves.flip.defined()) {
    return images.index_select(0, index)
        .to(torch::kFloat32)
        .mul_(scale)
        .add_(shift);
  }
  const std::int64_t channels = images.size(1);
  const std::int64_t height = images.size(2);
  const std::int64_t width = images.size(3);
  const auto whole = torch::TensorOptions(torch::kInt64).device(device);
  auto y = torch::arange(height, whole).view({1, -1});
  auto x = torch::arange(width, whole).view({1, -1});
  if (moves.flip.defined()) {
    x = torch::where(moves.flip.view({-1, 1}), width - 1 - x, x);
  }
  if (moves.down.defined()) {
    y = y + moves.down.view({-1, 1});
    x = x + moves.right.view({-1, 1});
  }
  const auto inside_y = y.ge(0).logical_and_(y.lt(height));
  const auto inside_x = x.ge(0).logical_and_(x.lt(width));
  // Rows and columns outside read any pixel inside; the mask drops them.
  const auto pixel = y.clamp(0, height - 1).unsqueeze(2) * width +
                     x.clamp(0, width - 1).unsqueeze(1);
  const auto plane =
      torch::arange(channels, whole).view({1, -1, 1, 1}) * (height * width) +
      index.view({-1, 1, 1, 1}) * (channels * height * width);
  const auto inside = inside_y.unsqueeze(2).logical_and(inside_x.unsqueeze(1));
  return images.view(-1)
      .take(plane + pixel.unsqueeze(1))
      .to(torch::kFloat32)
      .mul_(scale)
      .add_(shift)
      .mul_(inside.unsqueeze(1));
}

}  // namespace stepsize::trainer
