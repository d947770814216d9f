// Which parameters of a module Muon is made for.

#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <stepsize/adaptive/muon.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>
#include <cctype>
#include <typeinfo>
#include <utility>

#include "csrc/optim/name_patterns.h"
#include "csrc/optim/norm_modules.h"

namespace stepsize {
namespace {

bool says_embed(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
    return static_cast<char>(std::tolower(c));
  });
  return text.find("embed") != std::string::npos;
}

// Of an exact name, with what a pattern takes for something else in brackets.
std::string pattern_of(const std::string& name) {
  std::string pattern;
  for (const char letter : name) {
    const bool special = letter == '*' || letter == '?' || letter == '[';
    pattern +=
        special ? std::string("[") + letter + "]" : std::string(1, letter);
  }
  return pattern;
}

class HiddenMatrices {
 public:
  HiddenMatrices(
      const torch::nn::Module& module, const std::vector<std::string>& no_muon)
      : no_muon_(no_muon), was_used_(no_muon.size(), false) {
    collect(module, "");
    for (std::size_t i = 0; i < no_muon_.size(); ++i) {
      TORCH_CHECK(
          was_used_[i],
          "Muon: the pattern '",
          no_muon_[i],
          "' of no_muon matches no parameter",
          detail::near_names(no_muon_[i], all_names_));
    }
  }

  std::vector<std::string> patterns() const {
    std::vector<std::string> all;
    for (const Entry& entry : entries_) {
      if (entry.hidden && !entry.tensor.is_same(head_)) {
        all.push_back(pattern_of(entry.name));
      }
    }
    return all;
  }

 private:
  struct Entry {
    at::Tensor tensor;
    std::string name;  // the first of a shared one
    bool hidden;
  };

  bool is_hidden(
      const torch::nn::Module& module,
      const std::string& own_name,
      const std::string& name,
      const at::Tensor& tensor) {
    bool wanted = true;
    for (std::size_t i = 0; i < no_muon_.size(); ++i) {
      if (!detail::name_matches(no_muon_[i], name)) continue;
      was_used_[i] = true;
      wanted = false;
    }
    return wanted && tensor.dim() >= 2 && !says_embed(name) &&
           !says_embed(c10::demangle(typeid(module).name())) &&
           !detail::is_bias_name(own_name) &&
           !detail::is_norm_parameter(module, tensor);
  }

  void collect(const torch::nn::Module& module, const std::string& prefix) {
    for (const auto& item : module.named_parameters(/*recurse=*/false)) {
      if (!item.value().defined()) continue;
      const std::string name = prefix + item.key();
      all_names_.push_back(name);
      const bool hidden = is_hidden(module, item.key(), name, item.value());
      const auto known = std::find_if(
          entries_.begin(), entries_.end(), [&](const Entry& entry) {
            return entry.tensor.is_same(item.value());
          });
      // A shared one is hidden where it is in all places: a head that is tied
      // to the embedding is not.
      if (known != entries_.end()) {
        known->hidden = known->hidden && hidden;
      } else {
        entries_.push_back({item.value(), name, hidden});
      }
    }
    const auto* linear = dynamic_cast<const torch::nn::LinearImpl*>(&module);
    if (linear != nullptr) head_ = linear->weight;
    for (const auto& child : module.named_children()) {
      collect(*child.value(), prefix + child.key() + ".");
    }
  }

  const std::vector<std::string>& no_muon_;
  std::vector<bool> was_used_;
  std::vector<std::string> all_names_;
  std::vector<Entry> entries_;
  at::Tensor head_;
};

}  // namespace

ParamGroups<MuonOptions> Muon::groups(
    const torch::nn::Module& module,
    const MuonOptions& muon,
    const MuonOptions& adamw,
    const std::vector<std::string>& no_muon) {
  const auto hidden = HiddenMatrices(module, no_muon).patterns();
  TORCH_CHECK(
      !hidden.empty(),
      "Muon: the module must have a hidden matrix, got ",
      c10::demangle(typeid(module).name()),
      " without any");
  ParamGroups<MuonOptions> groups(module, MuonOptions(adamw).use_muon(false));
  groups
      .group(
          "hidden",
          hidden,
          {},
          [muon](MuonOptions& own) { own = MuonOptions(muon).use_muon(true); })
      .others("others");
  return groups;
}

ParamGroups<MuonOptions> Muon::groups(
    const torch::nn::Module& module,
    const MuonOptions& options,
    const std::vector<std::string>& no_muon) {
  TORCH_CHECK(
      options.adjust_lr() == AdjustLR::kMatchRMSAdamW,
      "Muon: adjust_lr must be kMatchRMSAdamW where the groups of AdamW get "
      "the "
      "same rate, got kOriginal: give them options of their own");
  return groups(module, options, options, no_muon);
}

}  // namespace stepsize
