#include "csrc/optim/displaced_loss.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstddef>
#include <utility>

#include "csrc/core/overlap.h"

namespace stepsize::detail {

// Moves parameters, and takes back what an evaluation changes.
class DisplacedLoss::Displacement {
 public:
  // All that is moved has been kept by then: what throws here is undone.
  Displacement(
      DisplacedLoss& loss,
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
    for (auto& [tensor, copy] : loss_.kept_) put_back(tensor, copy);
  }
  Displacement(const Displacement&) = delete;
  Displacement& operator=(const Displacement&) = delete;

 private:
  Displacement(DisplacedLoss& loss, const std::vector<at::Tensor>& direction)
      : loss_(loss), random_(generators_of(loss.parameters_)) {
    loss.keep(direction);
  }

  DisplacedLoss& loss_;
  RandomState random_;
};

DisplacedLoss::DisplacedLoss(
    std::function<at::Tensor()> closure,
    std::vector<at::Tensor> parameters,
    std::vector<at::Tensor> buffers,
    const RandomState& random)
    : closure_(std::move(closure)),
      parameters_(std::move(parameters)),
      buffers_(std::move(buffers)),
      random_(random),
      is_kept_(parameters_.size()) {}

// Each evaluation puts back what it was given: one copy serves all of them.
void DisplacedLoss::keep(const std::vector<at::Tensor>& direction) {
  const auto keep_one = [this](const at::Tensor& tensor) {
    kept_.emplace_back(tensor.variable_data(), tensor.detach().clone());
  };
  if (!buffers_are_kept_) {
    for (const at::Tensor& buffer : buffers_) {
      if (buffer.defined()) keep_one(buffer);
    }
    buffers_are_kept_ = true;
  }
  for (std::size_t i = 0; i < direction.size(); ++i) {
    if (!direction[i].defined() || is_kept_[i]) continue;
    keep_one(parameters_[i]);
    is_kept_[i] = true;
  }
}

double DisplacedLoss::loss(
    const std::vector<at::Tensor>& direction, double step) {
  const Displacement here(*this, direction, step);
  const c10::AutoGradMode no_grad(false);
  return closure_().item<double>();
}

std::vector<at::Tensor> DisplacedLoss::gradients(
    const std::vector<at::Tensor>& direction, double step) {
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
