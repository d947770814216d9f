#include "ways.h"

#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_rule.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "lab.h"

namespace stepsize::lab {
namespace {

// Of an optimizer whose closure calls backward().
std::function<double(const std::function<at::Tensor()>&)> by_backward(
    torch::optim::Optimizer* optimizer) {
  return [optimizer](const std::function<at::Tensor()>& loss) {
    return update(*optimizer, loss);
  };
}

double rate_of(torch::optim::Optimizer& optimizer) {
  return optimizer.param_groups()[0].options().get_lr();
}

// AutoSGD whose updates are taken back where RollbackRule says so. It sees each
// gradient before the update, and so evaluates it twice: this is to tell what
// it brings.
class Netted {
 public:
  Netted(AutoSGD& sgd, std::vector<at::Tensor> parameters)
      : sgd_(&sgd), parameters_(std::move(parameters)) {}

  double step(const std::function<at::Tensor()>& loss) {
    auto [value, norm] = evaluate(loss);
    RollbackStatus status = rule_.observe(norm, true, value);
    if (status == RollbackStatus::kSuspect) {
      OptimizerSnapshot here(*sgd_);
      point_->restore();
      const auto [earlier, earlier_norm] = evaluate(loss);
      status = rule_.confirm_by_loss(earlier_norm, earlier);
      if (status == RollbackStatus::kRolledBack) {
        value = earlier;
      } else {
        here.restore();
      }
    }
    if (rule_.keeps_point()) {
      if (point_ == nullptr) {
        point_ = std::make_unique<OptimizerSnapshot>(*sgd_);
      } else {
        point_->update();
      }
    }
    if (status != RollbackStatus::kNonFinite) {
      auto& options = sgd_->param_groups()[0].options();
      const double factor = options.get_lr();
      options.set_lr(factor * rule_.rate_scale());
      sgd_->step(loss);
      options.set_lr(factor);
    }
    return value;
  }

  std::string cost() const {
    return std::to_string(rule_.rollbacks()) + " rollbacks, " +
           std::to_string(rule_.checks()) + " checks";
  }

 private:
  // The loss, and the gradient's norm.
  std::pair<double, double> evaluate(
      const std::function<at::Tensor()>& loss) const {
    const at::Tensor value = loss();
    double sum = 0;
    for (const at::Tensor& gradient :
         torch::autograd::grad({value}, parameters_)) {
      sum += gradient.square().sum().item<double>();
    }
    return {value.item<double>(), std::sqrt(sum)};
  }

  AutoSGD* sgd_;
  std::vector<at::Tensor> parameters_;
  RollbackRule rule_;
  std::unique_ptr<OptimizerSnapshot> point_;
};

}  // namespace

Way constant(double rate, double momentum) {
  return [rate, momentum](const torch::nn::Module& module) {
    Made made;
    made.optimizer = std::make_unique<torch::optim::SGD>(
        module.parameters(), torch::optim::SGDOptions(rate).momentum(momentum));
    auto* const own = made.optimizer.get();
    made.step = by_backward(own);
    made.rate = [own] { return rate_of(*own); };
    return made;
  };
}

Way by_policy(std::shared_ptr<StepSizePolicy> policy, double momentum) {
  return
      [policy = std::move(policy), momentum](const torch::nn::Module& module) {
        auto sgd = std::make_unique<AutoSGD>(
            module.parameters(),
            AutoSGDOptions().momentum(momentum).buffers(module.buffers()),
            *policy);
        AutoSGD* const own = sgd.get();
        Made made;
        made.optimizer = std::move(sgd);
        made.step = [own](const std::function<at::Tensor()>& loss) {
          return own->step(loss).item<double>();
        };
        made.rate = [own] { return own->current_lr(); };
        made.cost = [own] {
          return std::to_string(own->extra_losses()) + " losses, " +
                 std::to_string(own->extra_gradients()) + " gradients";
        };
        return made;
      };
}

Way netted(std::shared_ptr<StepSizePolicy> policy, double momentum) {
  return [way = by_policy(std::move(policy), momentum)](
             const torch::nn::Module& module) {
    Made made = way(module);
    const auto net = std::make_shared<Netted>(
        static_cast<AutoSGD&>(*made.optimizer), module.parameters());
    made.step = [net](const std::function<at::Tensor()>& loss) {
      return net->step(loss);
    };
    made.cost = [net] { return net->cost(); };
    return made;
  };
}

Way power_method(double safety, double momentum) {
  return [safety, momentum](const torch::nn::Module& module) {
    auto sgd = std::make_unique<PowerMethodSGD>(
        module.parameters(),
        PowerMethodSGDOptions()
            .momentum(momentum)
            .buffers(module.buffers())
            .tracker(SharpnessTrackerOptions().safety(safety)));
    PowerMethodSGD* const own = sgd.get();
    Made made;
    made.optimizer = std::move(sgd);
    made.step = [own](const std::function<at::Tensor()>& loss) {
      return own->step(loss).item<double>();
    };
    made.rate = [own] { return own->current_lr(); };
    made.cost = [own] { return std::to_string(own->products()) + " products"; };
    return made;
  };
}

Way rollback(double rate, double momentum) {
  return [rate, momentum](const torch::nn::Module& module) {
    auto sgd = std::make_unique<RollbackSGD>(
        module.parameters(),
        RollbackSGDOptions(rate).momentum(momentum).rollback(
            RollbackOptions().buffers(module.buffers())));
    RollbackSGD* const own = sgd.get();
    Made made;
    made.optimizer = std::move(sgd);
    made.step = by_backward(own);
    made.rate = [own] { return rate_of(*own) * own->rule().rate_scale(); };
    made.cost = [own] {
      return std::to_string(own->rule().checks()) + " gradients";
    };
    return made;
  };
}

Run train(
    const Task& task, const Way& way, int seed, const Observer& observer) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  torch::manual_seed(static_cast<uint64_t>(seed));
  const Network network = task.make();
  const Made made = way(*network.module);
  ScheduleLR schedule(*made.optimizer, task.schedule);
  Batches batches(task.data, task.batch);
  double first = 0;
  double highest = 0;
  for (int64_t update = 0; update < task.updates; ++update) {
    const auto [inputs, labels] = batches.next();
    const double loss =
        made.step([&network, &inputs = inputs, &labels = labels] {
          return network.loss(inputs, labels);
        });
    if (observer) observer(update, network, made, inputs, labels);
    schedule.step();
    if (update == 0) first = loss;
    highest = std::max(highest, std::isfinite(loss) ? loss : kInfinity);
  }
  return {score(network, task.data), highest / first, made.cost()};
}

}  // namespace stepsize::lab
