#pragma once

#include <torch/torch.h>

#include <vector>

namespace stepsize::trainer {

/// What turns bytes into the floats of a network: byte * scale + shift, one
/// pair a channel.
struct Normalization {
  std::vector<float> scale;
  std::vector<float> shift;
};

/// The same as tensors on a device, float [1, C, 1, 1]. To make one copies
/// from the CPU, which an accelerator waits for: once a run is enough.
struct DeviceNormalization {
  DeviceNormalization(const Normalization& normalization, torch::Device device);

  torch::Tensor scale;
  torch::Tensor shift;
};

/// The normalization that gives every channel of these images (uint8
/// [N, C, H, W] on a CPU) mean 0 and variance 1; a channel of one value only
/// is centred.
Normalization normalization_of(const torch::Tensor& images);

/// How each image of a batch is moved: out(y, x) = in(y + down, x' + right),
/// where x' is x, or W - 1 - x in a flipped image. That is the crop of an image
/// padded at all sides, then flipped. What lies outside of the image becomes 0,
/// the mean colour. Undefined tensors move nothing.
struct Moves {
  torch::Tensor down;   ///< int64 [B]
  torch::Tensor right;  ///< int64 [B]
  torch::Tensor flip;   ///< bool [B]
};

/// The images of these indices (int64 [B]) as float [B, C, H, W], moved and
/// normalized, in one fused pass over the bytes. All tensors lie on a CPU.
///
/// Throws c10::Error for tensors of another shape, dtype or device, and for an
/// index out of range.
torch::Tensor gather_images(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const Normalization& normalization);

/// The same on any device, by a handful of tensor operations for the batch as a
/// whole that never wait for the device. All tensors lie on one device.
torch::Tensor gather_images_on_device(
    const torch::Tensor& images,
    const torch::Tensor& index,
    const Moves& moves,
    const DeviceNormalization& normalization);

}  // namespace stepsize::trainer
