#include "csrc/checkpoint/lbfgs_state.h"

#include <c10/util/Exception.h>
#include <c10/util/Type.h>
#include <torch/optim/lbfgs.h>

#include <cstdint>
#include <deque>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "csrc/checkpoint/tensors.h"
#include "csrc/core/archive.h"
#include "csrc/optim/state_access.h"

namespace stepsize::detail {
namespace {

using torch::optim::LBFGS;
using torch::optim::LBFGSParamState;
using torch::optim::Optimizer;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

// One entry for all parameters, under the first one's key, with lists of
// vectors as long as all of them together.
class LBFGSState : public OptimizerState {
 public:
  LBFGSState(std::string owner, LBFGS& optimizer)
      : owner_(std::move(owner)), optimizer_(&optimizer) {}

  void save(OutputArchive& archive) override {
    const auto& states = std::as_const(*optimizer_).state();
    write_int(archive, "there", states.empty() ? 0 : 1);
    if (states.empty()) return;
    TORCH_CHECK(
        states.size() == 1, owner_, ": it keeps more than one entry of state");
    const auto& state =
        static_cast<const LBFGSParamState&>(*states.begin()->second);
    write_int(archive, "func_evals", state.func_evals());
    write_int(archive, "n_iter", state.n_iter());
    write_double(archive, "t", state.t());
    write_double(archive, "prev_loss", state.prev_loss());
    write(
        archive,
        "single",
        std::vector<at::Tensor>{
            state.d(), state.H_diag(), state.prev_flat_grad()});
    write(archive, "old_dirs", state.old_dirs());
    write(archive, "old_stps", state.old_stps());
    write(archive, "ro", state.ro());
    write_int(archive, "has_al", state.al() ? 1 : 0);
    write(archive, "al", state.al() ? *state.al() : std::vector<at::Tensor>());
  }

  void prepare(
      InputArchive& archive,
      Mismatches& /*mismatches*/,
      Change& change) override {
    std::shared_ptr<LBFGSParamState> after;
    if (read_int(archive, owner_, "there", 1) != 0) {
      after = std::make_shared<LBFGSParamState>();
      read_into(archive, *after);
    }
    const auto& states = std::as_const(*optimizer_).state();
    std::shared_ptr<LBFGSParamState> before;
    if (!states.empty()) {
      // Shares its tensors, which a load replaces and does not write.
      before = std::make_shared<LBFGSParamState>(
          static_cast<const LBFGSParamState&>(*states.begin()->second));
    }
    change.apply = [optimizer = optimizer_, after] { put(*optimizer, after); };
    change.undo = [optimizer = optimizer_, before] { put(*optimizer, before); };
  }

 private:
  using Key =
      std::decay_t<decltype(std::declval<Optimizer&>().state())>::key_type;

  template <typename Tensors>
  void write(
      OutputArchive& archive, const char* key, const Tensors& tensors) const {
    const std::vector<at::Tensor> list(tensors.begin(), tensors.end());
    write_tensors(archive, key, storable(list, owner_ + ": a state"));
  }

  // Copies on the device of the parameters.
  std::vector<at::Tensor> read(InputArchive& archive, const char* key) const {
    auto tensors = read_tensors(archive, owner_, key);
    const auto device =
        optimizer_->param_groups().front().params().front().device();
    for (at::Tensor& tensor : tensors) {
      if (tensor.defined()) tensor = tensor.clone().to(device);
    }
    return tensors;
  }

  void read_into(InputArchive& archive, LBFGSParamState& state) const {
    state.func_evals(read_int(archive, owner_, "func_evals"));
    state.n_iter(read_int(archive, owner_, "n_iter"));
    state.t(read_double(archive, owner_, "t"));
    state.prev_loss(read_double(archive, owner_, "prev_loss"));
    const auto single = read(archive, "single");
    TORCH_CHECK(
        single.size() == 3, owner_, ": 'single' of the archive is not three");
    state.d(single[0]);
    state.H_diag(single[1]);
    state.prev_flat_grad(single[2]);
    const auto list = [&](const char* key) {
      const auto tensors = read(archive, key);
      return std::deque<at::Tensor>(tensors.begin(), tensors.end());
    };
    state.old_dirs(list("old_dirs"));
    state.old_stps(list("old_stps"));
    state.ro(list("ro"));
    if (read_int(archive, owner_, "has_al", 1) != 0) {
      state.al(read(archive, "al"));
    }
  }

  static void put(
      LBFGS& optimizer, const std::shared_ptr<LBFGSParamState>& state) {
    optimizer.state().clear();
    if (state == nullptr) return;
    optimizer.state()[key_of(optimizer)] =
        std::make_unique<LBFGSParamState>(*state);
  }

  static Key key_of(LBFGS& optimizer) {
    return parameter_state_key<Key>(
        optimizer.param_groups().front().params().front());
  }

  std::string owner_;
  LBFGS* optimizer_;
};

}  // namespace

std::unique_ptr<OptimizerState> lbfgs_state(
    const std::string& owner, Optimizer& optimizer) {
  auto* lbfgs = dynamic_cast<LBFGS*>(&optimizer);
  if (lbfgs == nullptr) return nullptr;
  TORCH_CHECK(
      typeid(optimizer) == typeid(LBFGS),
      owner,
      ": cannot save the state of ",
      c10::demangle(typeid(optimizer).name()),
      ", a subclass of LBFGS that may keep more than that");
  return std::make_unique<LBFGSState>(owner, *lbfgs);
}

}  // namespace stepsize::detail
