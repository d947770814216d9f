#include "csrc/optim/rollback_point.h"

#include <ATen/Functions.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <utility>

#include "csrc/core/archive.h"

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
  at::Tensor copy =
      at::empty_like(present, present.options().dtype(kept.scalar_type()));
  copy.copy_(kept);
  return copy.detach();
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

}  // namespace

void RollbackPoint::keep(const Tensors& buffers, bool with_gradients) {
  const auto& groups = optimizer_->param_groups();
  groups_.resize(groups.size());
  ParameterState present;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Tensors& parameters = groups[g].params();
    Group& kept = groups_[g];
    kept.parameters.resize(parameters.size());
    kept.states.resize(parameters.size());
    kept.gradients.resize(with_gradients ? parameters.size() : 0);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      copy_into(kept.parameters[i], parameters[i]);
      if (with_gradients) {
        copy_into(kept.gradients[i], parameters[i].grad());
      }
      access_->read(g, i, present);
      ParameterState& state = kept.states[i];
      state.there = present.there;
      state.steps = present.steps;
      state.tensors.resize(present.tensors.size());
      for (std::size_t k = 0; k < present.tensors.size(); ++k) {
        copy_into(state.tensors[k], present.tensors[k]);
      }
    }
  }
  buffers_.resize(buffers.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    copy_into(buffers_[i], buffers[i]);
  }
  scalars_ = access_->scalars();
  has_gradients_ = with_gradients;
}

void RollbackPoint::restore_parameters() const {
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    auto& parameters = optimizer_->param_groups()[g].params();
    for (std::size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      parameters[i].copy_(groups_[g].parameters[i]);
    }
  }
}

void RollbackPoint::restore_state() {
  ParameterState present;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::size_t i = 0; i < groups_[g].states.size(); ++i) {
      const ParameterState& kept = groups_[g].states[i];
      access_->read(g, i, present);
      present.there = kept.there;
      present.steps = kept.steps;
      present.tensors.resize(kept.tensors.size());
      for (std::size_t k = 0; k < kept.tensors.size(); ++k) {
        copy_into(present.tensors[k], kept.tensors[k]);
      }
      access_->write(g, i, present);
    }
  }
  access_->set_scalars(scalars_);
}

void RollbackPoint::restore_buffers(const Tensors& buffers) const {
  for (std::size_t i = 0; i < buffers_.size() && i < buffers.size(); ++i) {
    buffers[i].detach().copy_(buffers_[i]);
  }
}

bool RollbackPoint::restore_gradients() const {
  if (!has_gradients_) {
    return false;
  }
  auto& groups = optimizer_->param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    auto& parameters = groups[g].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const bool kept = g < groups_.size() && i < groups_[g].gradients.size();
      copy_into(
          parameters[i].mutable_grad(),
          kept ? groups_[g].gradients[i] : at::Tensor());
    }
  }
  return true;
}

void RollbackPoint::write(torch::serialize::OutputArchive& archive) const {
  write_int(archive, "earlier_groups", static_cast<int64_t>(groups_.size()));
  write_int(archive, "earlier_has_gradients", has_gradients_ ? 1 : 0);
  write_tensors(archive, "earlier_buffers", buffers_);
  write_doubles(archive, "earlier_scalars", scalars_);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    write_tensors(archive, group_key(g, "parameters"), group.parameters);
    Tensors gradients;
    for (const at::Tensor& gradient : group.gradients) {
      // An archive has no sparse tensors.
      gradients.push_back(
          gradient.defined() && gradient.is_sparse() ? gradient.to_dense()
                                                     : gradient);
    }
    write_tensors(archive, group_key(g, "gradients"), gradients);
    std::vector<int64_t> counts;
    std::vector<int64_t> steps;
    Tensors tensors;
    for (const ParameterState& state : group.states) {
      counts.push_back(
          state.there ? static_cast<int64_t>(state.tensors.size()) : -1);
      steps.push_back(state.steps);
      if (state.there) {
        tensors.insert(
            tensors.end(), state.tensors.begin(), state.tensors.end());
      }
    }
    write_ints(archive, group_key(g, "state_counts"), counts);
    write_ints(archive, group_key(g, "state_steps"), steps);
    write_tensors(archive, group_key(g, "state_tensors"), tensors);
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
  auto scalars = read_doubles(archive, kind, "earlier_scalars");
  auto kept_buffers = read_tensors(archive, kind, "earlier_buffers");
  if (group_count > 0) {
    check_count(kind, scalars.size(), access_->scalars().size());
    check_count(kind, kept_buffers.size(), buffers.size());
  }
  for (std::size_t i = 0; i < kept_buffers.size(); ++i) {
    TORCH_CHECK(
        kept_buffers[i].defined(), kind, ": a buffer in the archive is not");
    kept_buffers[i] = fitted(kind, "a buffer", kept_buffers[i], buffers[i]);
  }
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
    // There may be parameters that joined after the point was kept.
    check_count(kind, std::min(count, parameters.size()), count);
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
      TORCH_CHECK(
          group.parameters[i].defined() &&
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
        check_count(kind, tensors.size(), std::max(tensors.size(), next + 1));
        fit(tensors[next], "an earlier state");
        state.tensors.push_back(tensors[next++]);
      }
    }
    check_count(kind, tensors.size(), next);
  }
  return [this,
          groups = std::move(groups),
          kept_buffers,
          scalars,
          has_gradients]() mutable {
    groups_ = std::move(groups);
    buffers_ = std::move(kept_buffers);
    scalars_ = std::move(scalars);
    has_gradients_ = has_gradients;
  };
}

}  // namespace stepsize::detail
