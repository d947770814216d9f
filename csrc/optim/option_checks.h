#pragma once

#include <stepsize/optim/clipped_optimizer.h>

#include <string>

namespace stepsize::detail {

/// Each throws c10::Error "Kind: option must be RULE, got VALUE" where a value
/// is out of range: finite and >= 0.
void check_not_negative(
    const std::string& kind, const std::string& option, double value);
/// In [0, 1).
void check_share(
    const std::string& kind, const std::string& option, double value);
/// A max_norm > 0 (infinity too), and enumerators that there are.
void check_clip_options(const std::string& kind, const ClipOptions& clip);

void write_clip_options(
    torch::serialize::OutputArchive& archive, const ClipOptions& clip);
ClipOptions read_clip_options(
    torch::serialize::InputArchive& archive, const std::string& kind);

}  // namespace stepsize::detail
