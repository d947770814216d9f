#include "csrc/optim/whole_state.h"

#include <ATen/ops/empty.h>
#include <c10/util/Type.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <cstring>
#include <typeinfo>
#include <utility>
#include <vector>

namespace stepsize::detail {
namespace {

using torch::optim::Optimizer;

class WholeStateAccess : public StateAccess {
 public:
  WholeStateAccess(std::string kind, Optimizer& optimizer)
      : kind_(std::move(kind)), optimizer_(&optimizer) {}

  // save() of a class of LibTorch's takes every entry for one of its own, and
  // load() makes it one: an entry of another class would be cut down.
  void check() override {
    using namespace torch::optim;
    check_entries<SGD, SGDParamState>();
    check_entries<Adam, AdamParamState>();
    check_entries<AdamW, AdamWParamState>();
    check_entries<RMSprop, RMSpropParamState>();
    check_entries<Adagrad, AdagradParamState>();
  }

  bool is_whole() const override { return true; }

  at::Tensor save_whole() override {
    torch::serialize::OutputArchive archive;
    optimizer_->save(archive);
    std::string bytes;
    archive.save_to([&bytes](const void* data, std::size_t size) {
      bytes.append(static_cast<const char*>(data), size);
      return size;
    });
    at::Tensor whole = at::empty(
        {static_cast<int64_t>(bytes.size())}, at::TensorOptions(at::kByte));
    std::memcpy(whole.data_ptr(), bytes.data(), bytes.size());
    return whole;
  }

  void load_whole(const at::Tensor& bytes) override {
    torch::serialize::InputArchive archive;
    archive.load_from(
        static_cast<const char*>(bytes.data_ptr()),
        static_cast<std::size_t>(bytes.numel()));
    auto& groups = optimizer_->param_groups();
    std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> options;
    for (const auto& group : groups) {
      options.push_back(group.options().clone());
    }
    // load() of LibTorch's adds entries and removes none.
    auto present = std::move(optimizer_->state());
    optimizer_->state().clear();
    try {
      optimizer_->load(archive);
    } catch (...) {
      optimizer_->state() = std::move(present);
      put_back(std::move(options));
      throw;
    }
    put_back(std::move(options));
  }

 private:
  template <typename Class, typename State>
  void check_entries() const {
    if (dynamic_cast<const Class*>(optimizer_) == nullptr) return;
    for (const auto& entry : std::as_const(*optimizer_).state()) {
      const auto& state = *entry.second;
      TORCH_CHECK(
          typeid(state) == typeid(State),
          kind_,
          ": cannot put back the state of ",
          c10::demangle(typeid(*optimizer_).name()),
          ", which keeps a ",
          c10::demangle(typeid(state).name()),
          " where its base class saves a ",
          c10::demangle(typeid(State).name()),
          ": derive it from torch::optim::Optimizer");
    }
  }

  void put_back(
      std::vector<std::unique_ptr<torch::optim::OptimizerOptions>> options) {
    auto& groups = optimizer_->param_groups();
    for (std::size_t i = 0; i < groups.size() && i < options.size(); ++i) {
      groups[i].set_options(std::move(options[i]));
    }
  }

  std::string kind_;
  Optimizer* optimizer_;
};

}  // namespace

std::unique_ptr<StateAccess> whole_state_access(
    const std::string& kind, Optimizer& optimizer) {
  const std::string name = c10::demangle(typeid(optimizer).name());
  TORCH_CHECK(
      dynamic_cast<torch::optim::LBFGS*>(&optimizer) == nullptr,
      kind,
      ": cannot put back the state of ",
      name,
      ", whose step evaluates its closure many times: use its line search");
  auto access = std::make_unique<WholeStateAccess>(kind, optimizer);
  const at::Tensor bytes = access->save_whole();
  torch::serialize::InputArchive archive;
  archive.load_from(
      static_cast<const char*>(bytes.data_ptr()),
      static_cast<std::size_t>(bytes.numel()));
  TORCH_CHECK(
      !archive.keys().empty(),
      kind,
      ": cannot put back the state of ",
      name,
      ", which saves nothing: override save() and load() of "
      "torch::optim::Optimizer, so that they carry all that its step changes");
  return access;
}

}  // namespace stepsize::detail
