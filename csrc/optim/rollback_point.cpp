#include "csrc/optim/rollback_point.h"

#include <ATen/Functions.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <typeinfo>
#include <unordered_map>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/overlap.h"
#include "csrc/core/tensors.h"

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

}  // namespace

bool steps_by_gradients_alone(const torch::optim::Optimizer& optimizer) {
  using namespace torch::optim;
  const auto& type = typeid(optimizer);
  return dynamic_cast<const IndexedOptimizer*>(&optimizer) != nullptr ||
         type == typeid(SGD) || type == typeid(Adam) || type == typeid(AdamW) ||
         type == typeid(RMSprop) || type == typeid(Adagrad);
}

int64_t version_of(const at::Tensor& tensor) {
  return tensor.is_inference() ? 0 : tensor._version();
}

void RollbackPoint::copy(
    Group& kept, std::size_t k, std::size_t g, std::size_t i) {
  copy_into(kept.parameters[k], optimizer_->param_groups()[g].params()[i]);
  if (!whole_.defined() || state_->saves_without_tensors()) {
    ParameterState present;
    state_->read(g, i, present);
    copy_into(kept.states[k], present);
  }
  kept.versions[k] = kCopied;
}

void RollbackPoint::keep(const Tensors& buffers, bool with_gradients) {
  state_->check();
  const auto& groups = optimizer_->param_groups();
  groups_.resize(groups.size());
  const bool by_parameter = state_->is_by_parameter();
  whole_ = by_parameter ? at::Tensor() : saved_bytes(*state_, *optimizer_);
  is_partial_ = false;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Tensors& parameters = groups[g].params();
    Group& kept = groups_[g];
    kept.owners = parameters;
    kept.parameters.resize(parameters.size());
    kept.states.resize(parameters.size());
    kept.versions.resize(parameters.size());
    kept.gradients.resize(with_gradients ? parameters.size() : 0);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (with_gradients) {
        copy_into(kept.gradients[i], parameters[i].grad());
      }
      if (by_parameter && may_be_partial_ && !parameters[i].grad().defined()) {
        kept.parameters[i].reset();
        kept.states[i] = ParameterState();
        kept.versions[i] = version_of(parameters[i]);
        is_partial_ = true;
      } else {
        copy(kept, i, g, i);
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
  if (!is_partial_) return;
  for_each_kept(
      [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
        if (group == nullptr || group->versions[k] == kCopied ||
            !group->owners[k].grad().defined()) {
          return;
        }
        copy(
            groups_[static_cast<std::size_t>(group - groups_.data())], k, g, i);
      });
}

bool RollbackPoint::fits() {
  if (is_partial_) {
    for (const Group& group : groups_) {
      for (std::size_t k = 0; k < group.owners.size(); ++k) {
        if (group.versions[k] != kCopied &&
            group.versions[k] != version_of(group.owners[k])) {
          copy_all();
          return false;
        }
      }
    }
  }
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

namespace {

constexpr int64_t kExchangedAtOnce = int64_t{1} << 16;

// Whether all elements are there once in one piece of memory, in one order.
bool can_be_exchanged(const at::Tensor& parameter, const at::Tensor& copy) {
  return parameter.layout() == at::kStrided && copy.layout() == at::kStrided &&
         parameter.device() == copy.device() &&
         parameter.scalar_type() == copy.scalar_type() &&
         parameter.sizes() == copy.sizes() &&
         parameter.strides() == copy.strides() &&
         parameter.is_non_overlapping_and_dense() &&
         parameter.is_conj() == copy.is_conj() &&
         parameter.is_neg() == copy.is_neg();
}

at::Tensor flat(const at::Tensor& tensor) {
  return tensor.detach().as_strided({tensor.numel()}, {1});
}

void exchange_values(
    const at::Tensor& parameter,
    const at::Tensor& copy,
    const at::Tensor& scratch) {
  const at::Tensor left = flat(parameter);
  const at::Tensor right = flat(copy);
  for (int64_t from = 0; from < left.numel(); from += scratch.numel()) {
    const int64_t count = std::min(scratch.numel(), left.numel() - from);
    const at::Tensor block = scratch.narrow(0, 0, count);
    const at::Tensor left_block = left.narrow(0, from, count);
    const at::Tensor right_block = right.narrow(0, from, count);
    block.copy_(left_block);
    left_block.copy_(right_block);
    right_block.copy_(block);
  }
}

}  // namespace

void RollbackPoint::visit(bool exchange) {
  std::vector<Visited> visited;
  at::Tensor scratch;
  for (const Group& group : groups_) {
    for (std::size_t k = 0; k < group.owners.size(); ++k) {
      const at::Tensor& copy = group.parameters[k];
      if (!copy.defined()) continue;
      Visited& own = visited.emplace_back();
      own.parameter = group.owners[k];
      own.copy = copy;
      if (exchange && can_be_exchanged(own.parameter, copy)) {
        if (!scratch.defined() || scratch.device() != copy.device() ||
            scratch.scalar_type() != copy.scalar_type()) {
          scratch = at::empty({kExchangedAtOnce}, copy.options());
        }
        own.scratch = scratch;
      } else {
        own.here = own.parameter.detach().clone();
      }
    }
  }
  if (!exchange) {
    // Those that the point does not know may be written to as well.
    for_each_kept(
        [&](std::size_t g, std::size_t i, const Group* group, std::size_t k) {
          if (group != nullptr && group->parameters[k].defined()) return;
          Visited& own = visited.emplace_back();
          own.parameter = optimizer_->param_groups()[g].params()[i];
          own.here = own.parameter.detach().clone();
        });
  }
  visited_ = std::move(visited);
  for (const Visited& own : visited_) {
    if (own.here.defined()) {
      if (own.copy.defined()) put_back(own.parameter, own.copy);
    } else {
      exchange_values(own.parameter, own.copy, own.scratch);
    }
  }
}

void RollbackPoint::return_from_visit() {
  // From the last on, as parameters may share memory.
  for (auto own = visited_.rbegin(); own != visited_.rend(); ++own) {
    if (own->here.defined()) {
      put_back(own->parameter, own->here);
    } else {
      exchange_values(own->parameter, own->copy, own->scratch);
    }
  }
  visited_.clear();
}

void RollbackPoint::stay_after_visit() {
  for (const Visited& own : visited_) {
    if (!own.here.defined()) own.copy.copy_(own.parameter);
  }
  visited_.clear();
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
    load_saved_bytes(
        whole_,
        *state_,
        *optimizer_,
        [this](std::size_t g, std::size_t i) -> const ParameterState* {
          // Older archives have all of it among the bytes.
          const ParameterState& kept = groups_[g].states[i];
          return kept.there ? &kept : nullptr;
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
        if (group == nullptr || group->versions[k] != kCopied) return;
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
        const bool copied = known && group->versions[k] == kCopied;
        own.parameters.push_back(
            copied  ? group->parameters[k]
            : known ? group->owners[k].detach().clone()
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
    group.versions.resize(count, kCopied);
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
        fit(tensors[next], "an earlier state");
        state.tensors.push_back(tensors[next++]);
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
    is_partial_ = false;
  };
}

}  // namespace stepsize::detail
