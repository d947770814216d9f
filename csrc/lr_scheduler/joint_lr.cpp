#include <stepsize/lr_scheduler/joint_lr.h>

#include <c10/util/Exception.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/lr_scheduler/option_text.h"

namespace stepsize {
namespace {

constexpr char kJointLR[] = "JointLR";

torch::optim::Optimizer& first_of(
    const std::vector<torch::optim::Optimizer*>& optimizers) {
  TORCH_CHECK(
      !optimizers.empty(), kJointLR, ": there must be one optimizer at least");
  for (std::size_t i = 0; i < optimizers.size(); ++i) {
    TORCH_CHECK(
        optimizers[i] != nullptr,
        kJointLR,
        ": optimizer ",
        std::to_string(i),
        " is null");
    TORCH_CHECK(
        std::count(optimizers.begin(), optimizers.end(), optimizers[i]) == 1,
        kJointLR,
        ": optimizer ",
        std::to_string(i),
        " is there twice");
  }
  return *optimizers.front();
}

detail::NamedOptions joint_options(
    std::size_t optimizers, const detail::NamedOptions& rule) {
  return detail::OptionText(kJointLR)
      .add("optimizers", static_cast<int64_t>(optimizers))
      .add_parts("rule", {rule})
      .list();
}

// Each as far as it goes: the error for which it is done is on its way, and one
// that cannot be put back must not keep the others from it.
void put_all_back(const std::vector<std::function<void()>>& put_back) {
  for (const auto& put_one_back : put_back) {
    try {
      put_one_back();
    } catch (...) {  // NOLINT: the first error is the one to tell
    }
  }
}

std::string part_key(std::size_t index) {
  return "part" + std::to_string(index);
}

}  // namespace

JointLR::JointLR(
    const std::vector<torch::optim::Optimizer*>& optimizers, const LRRule& rule)
    : StatefulLR(
          first_of(optimizers),
          joint_options(optimizers.size(), rule.options())) {
  // A rule may cycle the momentum as well.
  const MomentumAccess* const access = rule.momentum_access();
  std::vector<std::function<void()>> put_back;
  for (auto* optimizer : optimizers) {
    for (auto& group : optimizer->param_groups()) {
      auto* const options = &group.options();
      const double lr = options->get_lr();
      const auto momentum =
          access != nullptr ? access->get(*options) : std::nullopt;
      put_back.emplace_back([options, lr, momentum, access] {
        options->set_lr(lr);
        if (momentum) access->set(*options, *momentum);
      });
    }
  }
  try {
    for (auto* optimizer : optimizers) {
      parts_.push_back(std::make_unique<RuleLR>(*optimizer, rule));
    }
  } catch (...) {
    put_all_back(put_back);
    throw;
  }
  commit(0, parts_.front()->get_last_lr());
}

const RuleLR& JointLR::part(std::size_t index) const {
  TORCH_CHECK(
      index < parts_.size(),
      kJointLR,
      ": there is no optimizer ",
      std::to_string(index));
  return *parts_[index];
}

void JointLR::for_all(
    const std::function<void(RuleLR& part, std::size_t index)>& change) {
  std::vector<std::string> before;
  for (const auto& part : parts_) {
    before.push_back(detail::archive_bytes(
        [&](torch::serialize::OutputArchive& archive) { archive << *part; }));
  }
  std::vector<std::function<void()>> put_back;
  try {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const auto options = parts_[i]->keep_options();
      change(*parts_[i], i);
      put_back.emplace_back(
          [part = parts_[i].get(), bytes = before[i], options] {
            options();
            detail::load_bytes(
                bytes.data(),
                bytes.size(),
                [part](torch::serialize::InputArchive& archive) {
                  archive >> *part;
                });
          });
    }
  } catch (...) {
    put_all_back(put_back);
    throw;
  }
}

std::vector<double> JointLR::get_lrs() {
  if (follows_a_skipped_step()) return lrs_in_force();
  const int64_t t = next_epoch();
  move_all(t, [](RuleLR& part) { part.step(); });
  return get_last_lr();
}

void JointLR::seek(int64_t t) {
  move_all(t, [t](RuleLR& part) { part.seek(t); });
}

void JointLR::move_all(
    int64_t t, const std::function<void(RuleLR& part)>& move) {
  // All are looked at before the first is changed. What a look does not see, a
  // usage check that throws or a setter of the user's, is undone.
  for (const auto& part : parts_) part->lr_at(t);
  std::vector<std::function<void()>> put_back;
  try {
    for (const auto& part : parts_) {
      auto put_one_back = part->keep_place();
      move(*part);
      put_back.push_back(std::move(put_one_back));
    }
  } catch (...) {
    put_all_back(put_back);
    throw;
  }
  commit(t, parts_.front()->get_last_lr());
}

void JointLR::extend(int64_t new_length) {
  // What is refused for one is refused for all: it goes by rule and clock.
  for (const auto& part : parts_) part->extend(new_length);
}

void JointLR::set_base_lrs(const PerGroup& base_lrs) {
  parts_.front()->set_base_lrs(base_lrs);
  commit(last_epoch(), parts_.front()->get_last_lr());
}

void JointLR::save_state(torch::serialize::OutputArchive& archive) const {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    torch::serialize::OutputArchive part(archive.compilation_unit());
    part << *parts_[i];
    archive.write(part_key(i), part);
  }
}

void JointLR::load_parts(
    torch::serialize::InputArchive& archive, OptionsFrom from) {
  std::vector<torch::serialize::InputArchive> archives(parts_.size());
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    TORCH_CHECK(
        archive.try_read(part_key(i), archives[i]),
        kJointLR,
        ": the archive has nothing of optimizer ",
        std::to_string(i));
  }
  for_all([&](RuleLR& part, std::size_t i) { part.load(archives[i], from); });
}

void JointLR::load_state(
    torch::serialize::InputArchive& archive,
    const std::vector<double>& /*lrs*/) {
  load_parts(archive, OptionsFrom::kFile);
}

void JointLR::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& /*saved*/,
    int64_t /*epoch*/,
    const std::vector<double>& /*lrs*/) {
  load_parts(archive, OptionsFrom::kProgram);
}

// The parts take theirs over when they are loaded.
void JointLR::take_options(const detail::NamedOptions& options) {
  const auto* optimizers = options.find("optimizers");
  TORCH_CHECK(
      optimizers != nullptr &&
          optimizers->value == std::to_string(parts_.size()),
      kJointLR,
      ": the archive is of another number of optimizers");
  set_options(options);
}

std::function<void()> JointLR::keep_options() {
  std::vector<std::function<void()>> all{StatefulLR::keep_options()};
  for (const auto& part : parts_) all.push_back(part->keep_options());
  return [all] {
    for (const auto& put_back : all) put_back();
  };
}

}  // namespace stepsize
