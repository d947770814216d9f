#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>

#include <exception>
#include <vector>

namespace stepsize::detail {

/// What the ranks have agreed on before an average changes anything.
struct Agreement {
  std::vector<double> sums;   // of the share's numbers
  std::vector<bool> present;  // tensors that some rank has
};

/// Why a rank has nothing to bring to an average: its own failure, or what it
/// brings does not fit. Null where it has.
std::exception_ptr failure_of(
    const std::vector<at::Tensor>& like,
    const RankShare& share,
    const AverageOptions& options);

/// One sum, of a length that is the same whatever ranks bring, so that a rank
/// that brings something else is found and not waited for; a second one where
/// ranks have other tensors, or many numbers. Throws on all ranks as average()
/// does. `overlaps`: whether sums may be under way already, the same on all.
Agreement agree_on_share(
    const std::vector<at::Tensor>& like,
    const RankShare& share,
    Reduction& reduction,
    const AverageOptions& options,
    bool overlaps);

}  // namespace stepsize::detail
