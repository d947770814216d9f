#pragma once

#include <stepsize/distributed/reduction.h>

#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// What a rank says of its run, by name: {"--batch-size", "128"}.
using Facts = std::vector<std::pair<std::string, std::string>>;

/// Compares facts that must be the same on every rank before they train one
/// model: options, versions, the size and a checksum of the data. Ranks that
/// differ there do not fail, they train something else.
///
///     agree({{"images", std::to_string(images.size(0))},
///            {"checksum of the images", checksum}}, *ranks);
///
/// Throws c10::Error on all ranks, in the same words, unless every rank has
/// the names and values of rank 0; says what the first that differs has:
/// "rank 1: images is 10000, rank 0 has 20000". `name`, if any, stands in
/// front of the message. Where all is well, two small sums and a broadcast.
void agree(
    const Facts& facts, Reduction& reduction, const std::string& name = "");

}  // namespace stepsize
