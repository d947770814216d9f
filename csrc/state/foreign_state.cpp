#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize/archive.h>

#include <mutex>
#include <typeindex>
#include <typeinfo>
#include <unordered_set>
#include <utility>

#include "csrc/core/tensors.h"
#include "csrc/state/optimizer_state.h"

namespace stepsize::detail {
namespace {

using torch::optim::Optimizer;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

// Through save() and load() of a class that is not known.
class ForeignState : public OptimizerState {
 public:
  ForeignState(std::string kind, Optimizer& optimizer)
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

  void save(OutputArchive& archive) const override {
    optimizer_->save(archive);
  }

  std::function<void()> prepare(
      InputArchive& archive,
      std::vector<std::string>& /*mismatches*/) override {
    const auto own = std::make_shared<InputArchive>(std::move(archive));
    return [optimizer = optimizer_, own] { load(*optimizer, *own); };
  }

  bool is_opaque() const override { return true; }

  std::function<void()> keep() override {
    return [optimizer = optimizer_,
            bytes = archive_bytes(
                [this](OutputArchive& archive) { save(archive); })] {
      load_bytes(bytes.data(), bytes.size(), [&](InputArchive& archive) {
        load(*optimizer, archive);
      });
    };
  }

 private:
  // load() of LibTorch's classes adds entries and removes none.
  static void load(Optimizer& optimizer, InputArchive& archive) {
    auto present = std::move(optimizer.state());
    optimizer.state().clear();
    try {
      optimizer.load(archive);
    } catch (...) {
      optimizer.state() = std::move(present);
      throw;
    }
  }

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

  std::string kind_;
  Optimizer* optimizer_;
};

template <typename... Classes>
bool derives_from(const Optimizer& optimizer) {
  return (
      (dynamic_cast<const Classes*>(&optimizer) != nullptr &&
       typeid(optimizer) != typeid(Classes)) ||
      ...);
}

}  // namespace

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

std::unique_ptr<OptimizerState> foreign_state(
    const std::string& kind, Optimizer& optimizer) {
  auto state = std::make_unique<ForeignState>(kind, optimizer);
  const std::string bytes =
      archive_bytes([&](OutputArchive& archive) { state->save(archive); });
  load_bytes(bytes.data(), bytes.size(), [&](InputArchive& archive) {
    TORCH_CHECK(
        !archive.keys().empty(),
        kind,
        ": cannot put back the state of ",
        c10::demangle(typeid(optimizer).name()),
        ", which saves nothing: override save() and load() of "
        "torch::optim::Optimizer, so that they carry all that its step "
        "changes");
  });
  return state;
}

}  // namespace stepsize::detail
