#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "examples/trainer/data/gather.h"
#include "examples/trainer/data/image_set.h"

namespace stepsize::trainer {

/// Images and labels, ready for a network.
struct Batch {
  torch::Tensor images;  ///< float [B, C, H, W]
  torch::Tensor labels;  ///< int64 [B]
  /// Images of the same batch that other processes have.
  std::int64_t elsewhere = 0;

  /// Images in all.
  std::int64_t size() const { return labels.size(0) + elsewhere; }
};

/// How a BatchSource serves its images.
struct BatchSourceOptions {
  /// Images in a batch, >= 1; the last batch of an epoch may have fewer.
  std::int64_t batch_size = 128;
  /// Whether every epoch has its own order.
  bool shuffle = false;
  /// Crops at random offsets of up to this many pixels, >= 0. He et al. 2016
  /// take 4.
  std::int64_t padding = 0;
  /// Whether half of the images, drawn anew in each epoch, are mirrored.
  bool flip = false;
  /// Seed of order, crops and flips.
  std::uint64_t seed = 0;
  /// Processes that share the images, >= 1, and which of them this one is. All
  /// draw the same epochs; a batch has batch_size images for each, and of the
  /// last one each has its share, which may be empty.
  std::int64_t ranks = 1;
  std::int64_t rank = 0;
};

/// Serves a whole image set from memory, batch by batch, on a device.
///
/// The bytes lie on the device once and for all; a batch is gathered by index,
/// moved and normalized there. What is random is drawn on the CPU at the start
/// of an epoch, so that a seed means the same on every device.
///
///     source.start_epoch();
///     while (auto batch = source.next()) { ... }
class BatchSource {
 public:
  /// Throws c10::Error for an empty set, images that do not pair with labels,
  /// or an option out of its range.
  BatchSource(
      const ImageSet& set,
      Normalization normalization,
      const BatchSourceOptions& options,
      torch::Device device);

  /// Draws the order, crops and flips of an epoch and goes to its start.
  void start_epoch();

  /// Goes back to where a new source is: the same epochs come again.
  void rewind();

  /// The next batch, or nothing at the end of the epoch (or before the first).
  std::optional<Batch> next();

  /// The place in the epoch, from which the source goes on with the same
  /// batches. To be loaded by a source of the same images and options; throws
  /// c10::Error, and changes nothing, where it is none of this source's places.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

  /// Where the next batch begins, and a return there within the epoch.
  std::int64_t position() const { return position_; }
  void return_to(std::int64_t position) { position_ = position; }

  /// Batches in an epoch.
  std::int64_t batches() const;
  /// Images in an epoch.
  std::int64_t size() const { return images_.size(0); }

 private:
  Normalization normalization_;
  DeviceNormalization device_normalization_;
  BatchSourceOptions options_;
  torch::Tensor images_;
  torch::Tensor labels_;
  torch::Generator generator_;
  // Of the generator before this epoch was drawn; undefined before the first.
  torch::Tensor epoch_state_;
  // Of this epoch; served from position_ on.
  torch::Tensor order_;
  Moves moves_;
  std::int64_t position_;
};

}  // namespace stepsize::trainer
