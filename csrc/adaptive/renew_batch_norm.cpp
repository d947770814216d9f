#include <stepsize/adaptive/renew_batch_norm.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <stepsize/distributed/sync_batch_norm.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/batchnorm.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace stepsize {
namespace {

/// A BatchNorm of any class, with what it was.
struct RenewedNorm {
  torch::nn::Module* module;
  torch::nn::BatchNormOptions* options;
  torch::nn::BatchNormOptions options_before;
  std::vector<at::Tensor> statistics;  // mean, variance, number of batches
  std::vector<at::Tensor> before;

  void put_statistics_back() {
    for (std::size_t i = 0; i < statistics.size(); ++i) {
      statistics[i].copy_(before[i]);
    }
  }
};

template <typename Norm>
bool add_if(torch::nn::Module& module, std::vector<RenewedNorm>& norms) {
  auto* const norm = dynamic_cast<Norm*>(&module);
  if (norm == nullptr) return false;
  if (!norm->running_mean.defined()) return true;
  RenewedNorm own{
      norm,
      &norm->options,
      norm->options,
      {norm->running_mean, norm->running_var, norm->num_batches_tracked},
      {}};
  for (const at::Tensor& tensor : own.statistics) {
    own.before.push_back(tensor.clone());
  }
  norms.push_back(std::move(own));
  return true;
}

/// Puts modes and momenta back when it goes.
class RenewedModes {
 public:
  RenewedModes(torch::nn::Module& module, std::vector<RenewedNorm>& norms)
      : norms_(norms) {
    keep(module);
    for (const auto& child : module.modules(/*include_self=*/false)) {
      keep(*child);
    }
    module.eval();
    for (RenewedNorm& own : norms_) {
      own.module->train();
      own.options->momentum().reset();
    }
  }
  RenewedModes(const RenewedModes&) = delete;
  RenewedModes& operator=(const RenewedModes&) = delete;
  ~RenewedModes() {
    for (RenewedNorm& own : norms_) *own.options = own.options_before;
    // train() reaches the children, and one may have two parents: until all
    // are as they were.
    for (std::size_t round = 0; round < modes_.size(); ++round) {
      bool changed = false;
      for (const auto& [module, training] : modes_) {
        if (module->is_training() == training) continue;
        module->train(training);
        changed = true;
      }
      if (!changed) return;
    }
  }

 private:
  void keep(torch::nn::Module& module) {
    modes_.emplace_back(&module, module.is_training());
  }

  std::vector<RenewedNorm>& norms_;
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
};

}  // namespace

void renew_batch_norm(
    torch::nn::Module& module, const std::function<void()>& forward_all) {
  const c10::AutoGradMode no_grad(false);
  std::vector<RenewedNorm> norms;
  const auto add = [&norms](torch::nn::Module& own) {
    add_if<torch::nn::BatchNorm1dImpl>(own, norms) ||
        add_if<torch::nn::BatchNorm2dImpl>(own, norms) ||
        add_if<torch::nn::BatchNorm3dImpl>(own, norms) ||
        add_if<SyncBatchNormImpl>(own, norms);
  };
  add(module);
  for (const auto& child : module.modules(/*include_self=*/false)) add(*child);
  if (norms.empty()) return;
  const RenewedModes modes(module, norms);
  for (RenewedNorm& own : norms) {
    own.statistics[0].zero_();
    own.statistics[1].fill_(1);
    own.statistics[2].zero_();
  }
  try {
    forward_all();
  } catch (...) {
    for (RenewedNorm& own : norms) own.put_statistics_back();
    throw;
  }
  for (RenewedNorm& own : norms) {
    if (own.statistics[2].item<int64_t>() == 0) own.put_statistics_back();
  }
}

}  // namespace stepsize
