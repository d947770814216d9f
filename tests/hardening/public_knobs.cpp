#include "tests/hardening/public_knobs.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <stdexcept>

namespace stepsize::test {
namespace {

using Reasons = std::map<std::string, std::string>;

const Reasons& free_types() {
  constexpr char kData[] =
      "no number: tensors, generators, a device or a function";
  constexpr char kEnum[] = "has its enumerators and no other value";
  static const Reasons types = {
      {"bool", "both values are legal"},
      {"at::Generator", kData},
      {"std::vector<at::Generator>", kData},
      {"Count", kData},
      {"GradientFactor", kData},
      {"Preconditioner", kData},
      {"TensorVector", kData},
      {"EvaluationClosure", kData},
      {"LRProgress", kData},
      {"SearchProgress", kData},
      {"MomentumAccess", kData},
      {"AdjustLR", kEnum},
      {"AnnealStrategy", kEnum},
      {"at::Device", kData},
      {"std::shared_ptr<Reduction>", kData},
      {"AveragingMode", kEnum},
      {"BatchExchange", kEnum},
      {"ClosureCalls", kEnum},
      {"CooldownShape", kEnum},
      {"CyclicMode", kEnum},
      {"CyclicScaleMode", kEnum},
      {"GradientUse", kEnum},
      {"HessianMethod", kEnum},
      {"LanczosTarget", kEnum},
      {"LRClosure", kEnum},
      {"LRSpacing", kEnum},
      {"MetricMode", kEnum},
      {"MinDeltaMode", kEnum},
      {"MomentumLimit", kEnum},
      {"MuonPrecision", kEnum},
      {"NonFiniteGradient", kEnum},
      {"NormType", kEnum},
      {"OptionsFrom", kEnum},
      {"ProbeDistribution", kEnum},
      {"ThresholdMode", kEnum},
      {"ReduceLROnPlateauOptions", "its own knobs have rows"},
      {"RollbackOptions", "its own knobs have rows"},
      {"SharpnessTrackerOptions", "its own knobs have rows"},
      {"CurvatureMeterOptions", "its own knobs have rows"},
      {"Transform", kData},
      {"std::function<double()>", kData},
      {"Schedule", "checks itself when it is made"},
      {"SearchSpace", "checks itself when it is made"},
  };
  return types;
}

const Reasons& free_knobs() {
  static const Reasons knobs = {
      {"OptimizerTraits::state", "names"},
      {"AdaHessianOptions::seed", "every seed is one"},
      {"AdamHyperparameters::rounding_seed", "every seed is one"},
      {"CurvatureMeterOptions::seed", "every seed is one"},
      {"LRSearchOptions::journal", "names a file, which may be there or not"},
      {"LRSearchOptions::label", "words"},
      {"LRSearchOptions::seed", "every seed is one"},
      {"PowerMethodSGDOptions::seed", "every seed is one"},
      {"ResumableSamplerOptions::seed", "every seed is one"},
      {"SGDHyperparameters::rounding_seed", "every seed is one"},
      {"SophiaHOptions::seed", "every seed is one"},
      {"ConnectOptions::address", "names a machine, which may be there or not"},
      {"ConnectOptions::local_rank", "for its user alone"},
      {"SafetensorsOptions::metadata", "any text is one"},
      {"SnapshotEnsembleOptions::folder",
       "names a folder, which may be there or not"},
  };
  return knobs;
}

std::string without_comments(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string text;
  std::string line;
  while (std::getline(file, line)) {
    text += line.substr(0, line.find("//")) + "\n";
  }
  return text;
}

// Whether the members of a struct are what a user sets.
bool has_plain_knobs(const std::string& owner) {
  static const std::regex name("\\w+(Hyperparameters|Settings)");
  return std::regex_match(owner, name);
}

// The classes and structs of a text, each with its body.
void add_knobs(const std::string& text, std::vector<PublicKnob>& knobs) {
  static const std::regex token(
      R"(\b(?:class|struct)\s+(\w+)\s*(?:final\s*)?[:{])"
      R"(|TORCH_ARG\(\s*(.+?),\s*(\w+)\))"
      R"(|(\w+Options)& (\w+)\(\s*([^()\s][^()]*?)\s+\w+(?:\s*=[^()]*)?\);)"
      R"(|\b(double|int64_t|bool) (\w+)(?: = [^;]*)?;)");
  std::string owner;
  const std::sregex_iterator end;
  for (std::sregex_iterator at(text.begin(), text.end(), token); at != end;
       ++at) {
    const std::smatch& match = *at;
    if (match[1].matched) {
      owner = match[1];
    } else if (match[2].matched) {
      knobs.push_back({owner, match[3], match[2]});
    } else if (match[4].matched && match[4] == owner) {
      knobs.push_back({owner, match[5], match[6]});
    } else if (match[7].matched && has_plain_knobs(owner)) {
      knobs.push_back({owner, match[8], match[7]});
    }
  }
}

}  // namespace

std::vector<PublicKnob> public_knobs(const std::string& include_folder) {
  std::vector<PublicKnob> knobs;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(include_folder)) {
    if (entry.path().extension() == ".h") {
      add_knobs(without_comments(entry.path()), knobs);
    }
  }
  return knobs;
}

std::vector<std::string> public_subclasses(
    const std::string& include_folder, const std::vector<std::string>& bases) {
  static const std::regex derived(R"(\bclass\s+(\w+)\s*:\s*public\s+(\w+))");
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(include_folder)) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = without_comments(entry.path());
    const std::sregex_iterator end;
    for (std::sregex_iterator at(text.begin(), text.end(), derived); at != end;
         ++at) {
      if (std::find(bases.begin(), bases.end(), (*at)[2]) != bases.end()) {
        names.push_back((*at)[1]);
      }
    }
  }
  return names;
}

std::string why_free(const PublicKnob& knob) {
  const auto own = free_knobs().find(knob.owner + "::" + knob.name);
  if (own != free_knobs().end()) return own->second;
  const auto type = free_types().find(knob.type);
  return type != free_types().end() ? type->second : "";
}

std::vector<std::string> knobs_with_a_reason() {
  std::vector<std::string> names;
  for (const auto& knob : free_knobs()) names.push_back(knob.first);
  return names;
}

}  // namespace stepsize::test
