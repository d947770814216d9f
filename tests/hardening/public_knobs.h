#pragma once

#include <string>
#include <vector>

namespace stepsize::test {

/// A knob that a public header declares.
struct PublicKnob {
  std::string owner;  ///< "ClippedSGDOptions"
  std::string name;   ///< "max_norm"
  std::string type;   ///< "double"
};

/// Every TORCH_ARG, every setter "Owner& name(Type" of options, and every
/// number of a struct of settings or hyperparameters, in the headers below a
/// folder.
std::vector<PublicKnob> public_knobs(const std::string& include_folder);

/// The classes that the headers below a folder derive from one of `bases`.
std::vector<std::string> public_subclasses(
    const std::string& include_folder, const std::vector<std::string>& bases);

/// Why every value of a knob is legal; empty where some are not.
std::string why_free(const PublicKnob& knob);

/// The knobs, "Owner::name", that are free for reasons of their own and not by
/// their type.
std::vector<std::string> knobs_with_a_reason();

}  // namespace stepsize::test
