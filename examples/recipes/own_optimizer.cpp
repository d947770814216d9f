// An optimizer of your own, on IndexedOptimizer: a step along the sign of the
// momentum (signSGD with momentum, Bernstein et al. 2018, "Signum"). From the
// base class come parameter groups, checks, state that is saved and loaded bit
// for bit, and training in several processes.
//
//     own_optimizer [TRAINING IMAGES]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "fashion_mnist.h"

namespace {

class SignumOptions
    : public torch::optim::OptimizerCloneableOptions<SignumOptions> {
 public:
  SignumOptions(double lr) : lr_(lr) {}  // NOLINT: implicit, as LibTorch's
  TORCH_ARG(double, lr);
  TORCH_ARG(double, momentum) = 0.9;

 public:
  // What a scheduler reads and writes.
  double get_lr() const override { return lr(); }
  void set_lr(const double lr) override { lr_ = lr; }
  // What torch::save keeps of a group.
  void serialize(torch::serialize::OutputArchive& archive) const override {
    archive.write("lr", torch::tensor(lr(), torch::kDouble));
    archive.write("momentum", torch::tensor(momentum(), torch::kDouble));
  }
  void serialize(torch::serialize::InputArchive& archive) override {
    torch::Tensor lr;
    torch::Tensor momentum;
    archive.read("lr", lr);
    archive.read("momentum", momentum);
    lr_ = lr.item<double>();
    momentum_ = momentum.item<double>();
  }
};

class Signum : public stepsize::IndexedOptimizer {
 public:
  Signum(std::vector<torch::Tensor> parameters, const SignumOptions& options)
      : IndexedOptimizer(
            "Signum", {"momentum"}, std::make_unique<SignumOptions>(options)) {
    add_groups({torch::optim::OptimizerParamGroup(std::move(parameters))});
  }

  torch::Tensor step(LossClosure closure = nullptr) override {
    check_all_options();
    // The closure, then the mean over ranks if there are any.
    const auto loss = evaluate(closure, [this] { check_gradients(); });
    const torch::NoGradGuard no_grad;
    for (std::size_t g = 0; g < param_groups().size(); ++g) {
      const auto& group = param_groups()[g];
      const auto& options = static_cast<const SignumOptions&>(group.options());
      auto& momenta = group_state(g).slots[0];
      for (std::size_t i = 0; i < group.params().size(); ++i) {
        const auto& parameter = group.params()[i];
        const auto& gradient = parameter.grad();
        if (!gradient.defined()) continue;
        if (!momenta[i].defined()) momenta[i] = torch::zeros_like(parameter);
        momenta[i].lerp_(gradient, 1 - options.momentum());
        parameter.detach().sub_(momenta[i].sign(), options.lr());
      }
    }
    return loss;
  }

 protected:
  void check_options(
      const torch::optim::OptimizerOptions& options) const override {
    const auto* own = dynamic_cast<const SignumOptions*>(&options);
    TORCH_CHECK(own != nullptr, "Signum: the options must be SignumOptions");
    TORCH_CHECK(own->lr() >= 0, "Signum: lr must be >= 0, got ", own->lr());
    TORCH_CHECK(
        own->momentum() >= 0 && own->momentum() < 1,
        "Signum: momentum must be in [0, 1), got ",
        own->momentum());
  }
};

}  // namespace

int main(int argc, char** argv) {
  torch::manual_seed(0);
  const auto train =
      recipes::fashion_mnist(true, recipes::argument(argc, argv, 20000));
  const auto test = recipes::fashion_mnist(false, 2000);
  constexpr int64_t kBatch = 128;
  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  Signum optimizer(model->parameters(), SignumOptions(1e-3));
  const int64_t updates = (train.size() + kBatch - 1) / kBatch;
  stepsize::ScheduleLR scheduler(optimizer, stepsize::cosine(double(updates)));
  const auto order = torch::randperm(train.size());
  for (int64_t i = 0; i < train.size(); i += kBatch) {
    const auto batch = train.at(order.slice(0, i, i + kBatch));
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        model->forward(batch.pixels), batch.labels)
        .backward();
    optimizer.step();
    scheduler.step();
  }
  std::printf(
      "Signum, %d updates: right %.3f\n",
      int(updates),
      recipes::accuracy(model, test));
  return 0;
}
