#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <string>

namespace stepsize::fuzz {

/// An archive of LibTorch as bytes, with entries left out, of another type or
/// length, and with other values, as `input` has it; archives in it, and those
/// that lie in it as the bytes of a tensor, are edited too. Input that has run
/// out edits nothing.
std::string edited_archive(
    const std::string& archive, FuzzedDataProvider& input);

}  // namespace stepsize::fuzz
