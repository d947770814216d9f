#include "csrc/optim/displaced_loss.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstddef>
#include <utility>

#include "csrc/core/overlap.h"

namespace stepsize::detail {

// Moves parameters and keeps what an evaluation changes.
class DisplacedLoss::Displacement {
 public:
  // All that is moved has been kept by then: what throws here is undone.
  Displacement(
      const DisplacedLoss& loss,
      const std::vector<at::Tensor>& direction,
      double step)
      : Displacement(loss, direction) {
    // Autocast keeps what it has cast by the tensor's identity.
    at::autocast::clear_cache();
    const c10::AutoGradMode no_grad(false);
    for (std::size_t i = 0; i < direction.size(); ++i) {
      if (!direction[i].defined()) continue;
      at::Tensor parameter = loss.parameters_[i].variable_data();
      parameter.sub_(direction[i].to(parameter.scalar_type()), step);
    }
    loss.random_.restore();
  }
  ~Displacement() {
    at::autocast::clear_cache();
    random_.restore();
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      put_back(kept_[i], copies_[i]);
    }
  }
  Displacement(const Displacement&) = delete;
  Displacement& operator=(const Displacement&) = delete;

 private:
  Displacement(
      const DisplacedLoss& loss, const std::vector<at::Tensor>& direction)
      : random_(generators_of(loss.parameters_)) {
    keep(loss.buffers_);
    for (std::size_t i = 0; i < direction.size(); ++i) {
      if (direction[i].defined()) keep({loss.parameters_[i]});
    }
  }

  void keep(const std::vector<at::Tensor>& tensors) {
    for (const at::Tensor& tensor : tensors) {
      if (!tensor.defined()) continue;
      kept_.push_back(tensor.variable_data());
      copies_.push_back(kept_.back().clone());
    }
  }

  RandomState random_;
  std::vector<at::Tensor> kept_;
  std::vector<at::Tensor> copies_;
};

DisplacedLoss::DisplacedLoss(
    std::function<at::Tensor()> closure,
    std::vector<at::Tensor> parameters,
    std::vector<at::Tensor> buffers,
    const RandomState& random)
    : closure_(std::move(closure)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)),
      random_(random) {}

double DisplacedLoss::loss(
    const std::vector<at::Tensor>& direction, double step) const {
  const Displacement here(*this, direction, step);
  const c10::AutoGradMode no_grad(false);
  return closure_().item<double>();
}

std::vector<at::Tensor> DisplacedLoss::gradients(
    const std::vector<at::Tensor>& direction, double step) const {
  const Displacement here(*this, direction, step);
  const c10::AutoGradMode with_gradients(true);
  const at::Tensor loss = closure_();
  return torch::autograd::grad(
      {loss.dim() == 0 ? loss : loss.reshape({})},
      parameters_,
      /*grad_outputs=*/{},
      /*retain_graph=*/false,
      /*create_graph=*/false,
      /*allow_unused=*/true);
}

}  // namespace stepsize::detail
