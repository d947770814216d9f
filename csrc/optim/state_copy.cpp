#include "csrc/optim/state_copy.h"

#include <ATen/Functions.h>
#include <c10/util/Type.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <mutex>
#include <type_traits>
#include <typeindex>
#include <typeinfo>
#include <unordered_set>
#include <utility>
#include <vector>

#include "csrc/optim/state_access.h"

namespace stepsize::detail {
namespace {

using torch::optim::LBFGS;
using torch::optim::LBFGSParamState;
using torch::optim::Optimizer;

// Its archive carries counters too, which StateAccess does not know of.
class IndexedStateCopy : public StateCopy {
 public:
  explicit IndexedStateCopy(IndexedOptimizer& optimizer)
      : optimizer_(&optimizer) {}

  void take() override {
    // load() refuses what is out of range.
    IndexedStateAccess(*optimizer_).check();
    torch::serialize::OutputArchive archive;
    optimizer_->save(archive);
    bytes_.clear();
    archive.save_to([this](const void* data, std::size_t size) {
      bytes_.append(static_cast<const char*>(data), size);
      return size;
    });
  }

  void put_back() override {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes_.data(), bytes_.size());
    optimizer_->load(archive);
  }

 private:
  IndexedOptimizer* optimizer_;
  std::string bytes_;
};

// Parameter by parameter, or as a whole.
class AccessedStateCopy : public StateCopy {
 public:
  AccessedStateCopy(const std::string& kind, Optimizer& optimizer)
      : optimizer_(&optimizer), access_(state_access(kind, optimizer)) {}

  void take() override {
    access_->check();
    if (access_->is_whole()) {
      whole_ = access_->save_whole();
      return;
    }
    const auto& groups = optimizer_->param_groups();
    states_.resize(groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g) {
      states_[g].resize(groups[g].params().size());
      for (std::size_t i = 0; i < states_[g].size(); ++i) {
        access_->read(g, i, present_);
        copy(states_[g][i], present_);
      }
    }
    present_ = {};
  }

  void put_back() override {
    if (access_->is_whole()) {
      access_->load_whole(whole_);
      return;
    }
    for (std::size_t g = 0; g < states_.size(); ++g) {
      for (std::size_t i = 0; i < states_[g].size(); ++i) {
        access_->read(g, i, present_);
        copy(present_, states_[g][i]);
        access_->write(g, i, present_);
      }
    }
    present_ = {};
  }

 private:
  static void copy(ParameterState& to, const ParameterState& from) {
    to.there = from.there;
    to.steps = from.steps;
    to.tensors.resize(from.tensors.size());
    for (std::size_t k = 0; k < from.tensors.size(); ++k) {
      copy_into(to.tensors[k], from.tensors[k]);
    }
  }

  Optimizer* optimizer_;
  std::unique_ptr<StateAccess> access_;
  std::vector<std::vector<ParameterState>> states_;
  ParameterState present_;
  at::Tensor whole_;
};

// LBFGS has one entry for all parameters, with lists of vectors.
class LBFGSStateCopy : public StateCopy {
 public:
  explicit LBFGSStateCopy(LBFGS& optimizer) : optimizer_(&optimizer) {}

  void take() override {
    entries_.clear();
    for (const auto& [key, state] : std::as_const(*optimizer_).state()) {
      entries_.emplace_back(key, deep_copy(*state));
    }
  }

  void put_back() override {
    auto& states = optimizer_->state();
    states.clear();
    for (const auto& [key, state] : entries_) {
      states[key] = deep_copy(*state);
    }
  }

 private:
  using Key =
      std::decay_t<decltype(std::declval<Optimizer&>().state())>::key_type;
  using Entry = torch::optim::OptimizerParamState;

  static void separate(at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.detach().clone();
  }

  template <typename Tensors>
  static void separate_all(Tensors& tensors) {
    for (at::Tensor& tensor : tensors) separate(tensor);
  }

  static std::unique_ptr<Entry> deep_copy(const Entry& entry) {
    auto copy = std::make_unique<LBFGSParamState>(
        static_cast<const LBFGSParamState&>(entry));
    separate(copy->d());
    separate(copy->H_diag());
    separate(copy->prev_flat_grad());
    separate_all(copy->old_dirs());
    separate_all(copy->old_stps());
    separate_all(copy->ro());
    if (copy->al()) separate_all(*copy->al());
    return copy;
  }

  LBFGS* optimizer_;
  std::vector<std::pair<Key, std::unique_ptr<Entry>>> entries_;
};

template <typename... Classes>
bool derives_from(const Optimizer& optimizer) {
  return (
      (dynamic_cast<const Classes*>(&optimizer) != nullptr &&
       typeid(optimizer) != typeid(Classes)) ||
      ...);
}

// Its save() may be the inherited one, which knows nothing of what the subclass
// has added: that cannot be seen from here.
void warn_of_subclass(const std::string& kind, const Optimizer& optimizer) {
  using namespace torch::optim;
  if (!derives_from<SGD, Adam, AdamW, RMSprop, Adagrad>(optimizer)) return;
  static std::mutex mutex;
  static std::unordered_set<std::type_index> warned;
  const std::lock_guard<std::mutex> lock(mutex);
  if (!warned.insert(typeid(optimizer)).second) return;
  TORCH_WARN(
      kind,
      ": of ",
      c10::demangle(typeid(optimizer).name()),
      " only what its save() and load() carry is put back; a member that it "
      "has added to LibTorch's class is not, unless they carry it");
}

}  // namespace

std::unique_ptr<StateCopy> state_copy(
    const std::string& kind, torch::optim::Optimizer& optimizer) {
  if (auto* indexed = dynamic_cast<IndexedOptimizer*>(&optimizer)) {
    return std::make_unique<IndexedStateCopy>(*indexed);
  }
  if (auto* lbfgs = dynamic_cast<LBFGS*>(&optimizer)) {
    TORCH_CHECK(
        typeid(optimizer) == typeid(LBFGS),
        kind,
        ": cannot put back the state of ",
        c10::demangle(typeid(optimizer).name()),
        ", a subclass of LBFGS that may keep more than that");
    return std::make_unique<LBFGSStateCopy>(*lbfgs);
  }
  warn_of_subclass(kind, optimizer);
  return std::make_unique<AccessedStateCopy>(kind, optimizer);
}

}  // namespace stepsize::detail
