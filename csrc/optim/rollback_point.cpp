#include "csrc/optim/rollback_point.h"

#include <ATen/Functions.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/overlap.h"
#include "csrc/core/tensors.h"
#include "csrc/optim/operand_checks.h"

namespace stepsize::detail {
namespace {

std::string group_key(std::size_t group, const std::string& name) {
  return "earlier" + std::to_string(group) + "_" + name;
}

// A copy on the device of what it is the earlier value of.
at::Tensor fitted(
    const std::string& kind,
    const std::string& what,
    const at::Tensor& kept,
    const at::Tensor& present) {
  TORCH_CHECK(
      kept.sizes() == present.sizes(),
      kind,
      ": ",
      what,
      " of the archive is of shape ",
      kept.sizes(),
      ", the present one of ",
      present.sizes());
  return copy_like(kept, present);
}

void check_count(const std::string& kind, std::size_t got, std::size_t wanted) {
  TORCH_CHECK(
      got == wanted,
      kind,
      ": a list of the earlier point in the archive has ",
      std::to_string(got),
      " entries, expected ",
      std::to_string(wanted));
}

// Whether an update leaves it as it is.
bool is_at_rest(const at::Tensor& parameter) {
  return !parameter.requires_grad() && !parameter.grad().defined();
}

bool has_state(const ParameterState& state) {
  return state.there && (state.steps != 0 || std::any_of(
                                                 state.tensors.begin(),
                                                 state.tensors.end(),
                                                 [](const at::Tensor& tensor) {
                                                   return tensor.defined();
                                                 }));
}

}  // namespace

void RollbackPoint::keep(const Tensors& buffers, bool with_gradients) {
  state_->check();
  const auto& groups = optimizer_->param_groups();
  groups_.resize(groups.size());
  const bool by_parameter = state_->is_by_parameter();
  whole_ = by_parameter ? at::Tensor()
                        : archive_byte_tensor(
                              [this](torch::serialize::OutputArchive& archive) {
                                state_->save(archive);
                              });
  // Any other class may step what has no gradient.
  const bool leaves_out = by_parameter && find_traits(*optimizer_) != nullptr;
  ParameterState present;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Tensors& parameters = groups[g].params();
    Group& kept = groups_[g];
    kept.owners = parameters;
    kept.parameters.resize(parameters.size());
    kept.states.resize(parameters.size());
    kept.gradients.resize(with_gradients ? parameters.size() : 0);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (with_gradients) {
        copy_into(kept.gradients[i], parameters[i].grad());
      }
      present = ParameterState();
      if (by_parameter) state_->read(g, i, present);
      if (leaves_out && is_at_rest(parameters[i]) && !has_state(present)) {
        kept.parameters[i].reset();
        kept.states[i] = ParameterState();
      } else {
        copy_into(kept.parameters[i], parameters[i]);
        copy_into(kept.states[i], present);
      }
    }
  }
  buffers_.resize(buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    copy_into(buffers_[i], buffers[i]);
  }
  has_gradients_ = with_gradients;
}

void RollbackPoint::complete() {
  const auto is_complete = [](const Group& group) {
    for (std::size_t k = 0; k < group.owners.size(); ++k) {
      if (!group.parameters[k].defined() && group.owners[k].defined() &&
          !is_at_rest(group.owners[k])) {
        return false;
      }
    }
    return true;
  };
  if (std::all_of(groups_.begin(), groups_.end(), is_complete)) return;
  ParameterState present;
  for_each_kept(
      [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
        if (group == nullptr || group->parameters[k].defined() ||
            is_at_rest(group->owners[k])) {
          return;
        }
        Group& own = groups_[static_cast<std::size_t>(group - groups_.data())];
        copy_into(own.parameters[k], own.owners[k]);
        state_->read(g, i, present);
        copy_into(own.states[k], present);
      });
}

bool RollbackPoint::fits() const {
  // It changes where an optimizer is given a rule.
  if (whole_.defined() == state_->is_by_parameter()) return false;
  if (state_->is_by_parameter()) return true;
  const auto& groups = optimizer_->param_groups();
  if (groups.size() != groups_.size()) return false;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Tensors& parameters = groups[g].params();
    const Tensors& owners = groups_[g].owners;
    if (parameters.size() != owners.size()) return false;
    for (std::size_t i = 0; i < owners.size(); ++i) {
      if (!owners[i].is_same(parameters[i])) return false;
    }
  }
  return true;
}

// function(g, i, group, k): each parameter that the optimizer has, with the
// k-th entry of what is kept; group is null where nothing is.
template <typename Function>
void RollbackPoint::for_each_kept(const Function& function) const {
  std::unordered_map<const void*, std::pair<const Group*, std::size_t>> known;
  for (const Group& group : groups_) {
    for (std::size_t k = 0; k < group.owners.size(); ++k) {
      known.emplace(
          group.owners[k].unsafeGetTensorImpl(), std::make_pair(&group, k));
    }
  }
  const auto& groups = optimizer_->param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Tensors& parameters = groups[g].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto found = known.find(parameters[i].unsafeGetTensorImpl());
      if (found == known.end()) {
        function(g, i, nullptr, 0);
      } else {
        function(g, i, found->second.first, found->second.second);
      }
    }
  }
}

void RollbackPoint::restore_parameters() const {
  for (const Group& group : groups_) {
    for (std::size_t k = 0; k < group.owners.size(); ++k) {
      if (group.parameters[k].defined()) {
        put_back(group.owners[k], group.parameters[k]);
      }
    }
  }
}

// load() of a foreign class may write options, which are none of the point's.
void RollbackPoint::restore_whole() {
  auto& groups = optimizer_->param_groups();
  std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> options;
  for (const auto& group : groups) options.push_back(group.options().clone());
  const auto put_options_back = [&] {
    for (std::size_t i = 0; i < groups.size() && i < options.size(); ++i) {
      groups[i].set_options(options[i]->clone());
    }
  };
  try {
    load_bytes(whole_, [this](torch::serialize::InputArchive& archive) {
      std::vector<std::string> mismatches;
      state_->prepare(archive, mismatches)();
    });
  } catch (...) {
    put_options_back();
    throw;
  }
  put_options_back();
}

void RollbackPoint::restore_state() {
  state_->check();
  if (!state_->is_by_parameter()) {
    restore_whole();
    return;
  }
  ParameterState present;
  for_each_kept(
      [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
        if (group == nullptr || !group->parameters[k].defined()) return;
        state_->read(g, i, present);
        copy_into(present, group->states[k]);
        state_->write(g, i, present);
      });
}

void RollbackPoint::restore_buffers(const Tensors& buffers) const {
  for (std::size_t i = 0; i < buffers_.size() && i < buffers.size(); ++i) {
    put_back(buffers[i].detach(), buffers_[i]);
  }
}

bool RollbackPoint::restore_gradients() const {
  if (!has_gradients_) {
    return false;
  }
  auto& groups = optimizer_->param_groups();
  for_each_kept(
      [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
        copy_into(
            groups[g].params()[i].mutable_grad(),
            group == nullptr ? at::Tensor() : group->gradients[k]);
      });
  return true;
}

void RollbackPoint::write(torch::serialize::OutputArchive& archive) const {
  const bool there = !groups_.empty();
  const std::size_t count = there ? optimizer_->param_groups().size() : 0;
  // By the places of today.
  struct Lists {
    Tensors parameters;
    Tensors gradients;
    std::vector<int64_t> counts;
    std::vector<int64_t> steps;
    Tensors tensors;
  };
  std::vector<Lists> lists(count);
  for_each_kept(
      [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
        if (!there) return;
        Lists& own = lists[g];
        const bool known = group != nullptr;
        // What was left out is as it was, and is written like the others.
        const bool copied = known && group->parameters[k].defined();
        own.parameters.push_back(
            copied  ? group->parameters[k]
            : known ? group->owners[k].detach()
                    : at::Tensor());
        if (has_gradients_) {
          at::Tensor gradient = known ? group->gradients[k] : at::Tensor();
          // An archive has no sparse tensors.
          if (gradient.defined() && gradient.is_sparse()) {
            gradient = gradient.to_dense();
          }
          own.gradients.push_back(gradient);
        }
        ParameterState state;
        if (copied) {
          state = group->states[k];
        } else if (known) {
          state_->read(g, i, state);
        }
        own.counts.push_back(
            state.there ? static_cast<int64_t>(state.tensors.size()) : -1);
        own.steps.push_back(state.steps);
        if (state.there) {
          own.tensors.insert(
              own.tensors.end(), state.tensors.begin(), state.tensors.end());
        }
      });
  write_int(archive, "earlier_groups", static_cast<int64_t>(count));
  write_int(archive, "earlier_has_gradients", has_gradients_ ? 1 : 0);
  write_tensors(archive, "earlier_buffers", buffers_);
  write_tensors(archive, "earlier_state", {whole_});
  for (std::size_t g = 0; g < count; ++g) {
    write_tensors(archive, group_key(g, "parameters"), lists[g].parameters);
    write_tensors(archive, group_key(g, "gradients"), lists[g].gradients);
    write_ints(archive, group_key(g, "state_counts"), lists[g].counts);
    write_ints(archive, group_key(g, "state_steps"), lists[g].steps);
    write_tensors(archive, group_key(g, "state_tensors"), lists[g].tensors);
  }
}

std::function<void()> RollbackPoint::read(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const Tensors& buffers) {
  const auto& present = optimizer_->param_groups();
  const auto group_count = static_cast<std::size_t>(read_int(
      archive, kind, "earlier_groups", static_cast<int64_t>(present.size())));
  const bool has_gradients =
      read_int(archive, kind, "earlier_has_gradients", 1) == 1;
  auto kept_buffers = read_tensors(archive, kind, "earlier_buffers");
  if (group_count > 0) {
    check_count(kind, group_count, present.size());
    check_count(kind, kept_buffers.size(), buffers.size());
  }
  const auto whole = read_tensors(archive, kind, "earlier_state");
  check_count(kind, whole.size(), 1);
  TORCH_CHECK(
      whole[0].defined() == (!state_->is_by_parameter() && group_count > 0) &&
          (!whole[0].defined() || whole[0].scalar_type() == at::kByte),
      kind,
      ": the archive is of a guard of another class of optimizer");
  for (std::size_t i = 0; i < kept_buffers.size(); ++i) {
    TORCH_CHECK(
        kept_buffers[i].defined(), kind, ": a buffer in the archive is not");
    kept_buffers[i] = fitted(kind, "a buffer", kept_buffers[i], buffers[i]);
  }
  const bool may_be_compact =
      dynamic_cast<const IndexedOptimizer*>(optimizer_) != nullptr;
  std::vector<Group> groups(group_count);
  for (std::size_t g = 0; g < group_count; ++g) {
    const Tensors& parameters = present[g].params();
    Group& group = groups[g];
    group.parameters = read_tensors(archive, kind, group_key(g, "parameters"));
    group.gradients = read_tensors(archive, kind, group_key(g, "gradients"));
    const auto counts = read_ints(archive, kind, group_key(g, "state_counts"));
    const auto steps = read_ints(archive, kind, group_key(g, "state_steps"));
    auto tensors = read_tensors(archive, kind, group_key(g, "state_tensors"));
    const std::size_t count = group.parameters.size();
    check_count(kind, count, parameters.size());
    group.owners = parameters;
    check_count(kind, group.gradients.size(), has_gradients ? count : 0);
    check_count(kind, counts.size(), count);
    check_count(kind, steps.size(), count);
    group.states.resize(count);
    std::size_t next = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const auto fit = [&](at::Tensor& tensor, const char* what) {
        if (tensor.defined()) {
          tensor = fitted(kind, what, tensor, parameters[i]);
        }
      };
      if (!group.parameters[i].defined()) {
        // It joined after the point was kept.
        group.owners[i].reset();
        continue;
      }
      TORCH_CHECK(
          group.parameters[i].scalar_type() == parameters[i].scalar_type(),
          kind,
          ": an earlier parameter of the archive is of another type");
      fit(group.parameters[i], "an earlier parameter");
      if (has_gradients) {
        fit(group.gradients[i], "an earlier gradient");
      }
      ParameterState& state = group.states[i];
      state.there = counts[i] >= 0;
      state.steps = steps[i];
      for (int64_t k = 0; k < counts[i]; ++k) {
        TORCH_CHECK(
            next < tensors.size(),
            kind,
            ": the archive has too few tensors of earlier state");
        at::Tensor& tensor = tensors[next++];
        if (may_be_compact && is_compact_state(tensor, parameters[i])) {
          tensor = tensor.to(parameters[i].device()).clone();
        } else {
          fit(tensor, "an earlier state");
        }
        state.tensors.push_back(tensor);
      }
    }
    check_count(kind, tensors.size(), next);
  }
  return [this,
          groups = std::move(groups),
          kept_buffers,
          whole = whole[0].defined() ? whole[0].clone() : at::Tensor(),
          has_gradients]() mutable {
    groups_ = std::move(groups);
    buffers_ = std::move(kept_buffers);
    whole_ = whole;
    has_gradients_ = has_gradients;
  };
}

}  // namespace stepsize::detail
