#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stdexcept>

namespace stepsize::lab {

/// The data set is not on this machine: `run` ends with 77, which ctest takes
/// for a skipped test.
class MissingData : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Images and what a network should say about them, for mean squares.
struct Images {
  at::Tensor pixels;  ///< float64 [N, 64], each pixel with mean 0, deviation 1
  at::Tensor labels;  ///< float64 [N, 10], one 1 in each row
};

/// The first `count` training images of Fashion-MNIST, averaged to 8 x 8
/// pixels. They are read from where Debian's package dataset-fashion-mnist has
/// them; throws MissingData where it is not installed.
Images small_images(int64_t count);

}  // namespace stepsize::lab
