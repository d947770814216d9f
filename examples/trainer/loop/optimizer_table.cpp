#include "examples/trainer/loop/optimizer_table.h"

#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/dog.h>
#include <stepsize/adaptive/hypergradient_adam.h>
#include <stepsize/adaptive/hypergradient_sgd.h>
#include <stepsize/adaptive/lamb.h>
#include <stepsize/adaptive/lars.h>
#include <stepsize/adaptive/muon.h>
#include <stepsize/adaptive/prodigy.h>
#include <stepsize/adaptive/sam.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <stepsize/adaptive/sophia_h.h>
#include <stepsize/curvature/averaged_vector_policy.h>
#include <stepsize/curvature/edge_policy.h>
#include <stepsize/curvature/polyak_policy.h>
#include <stepsize/curvature/secant_policy.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>

#include <algorithm>
#include <functional>
#include <type_traits>
#include <utility>

#include "examples/trainer/loop/measuring_optimizer.h"

namespace stepsize::trainer {
namespace {

namespace optim = torch::optim;

// The options that all of these name alike.
template <typename Options>
Options sgd_options(const OptimizerChoice& choice) {
  return Options(choice.lr)
      .momentum(choice.momentum)
      .weight_decay(choice.weight_decay);
}

template <typename Options>
Options adam_options(const OptimizerChoice& choice) {
  return Options(choice.lr)
      .betas({choice.momentum, std::get<1>(Options().betas())})
      .weight_decay(choice.weight_decay);
}

std::unique_ptr<StepSizePolicy> policy_of(const OptimizerChoice& choice) {
  const double safety = *choice.safety;
  if (choice.policy == "edge") {
    return std::make_unique<EdgePolicy>(EdgePolicyOptions().safety(safety));
  }
  if (choice.policy == "averaged-vector") {
    return std::make_unique<AveragedVectorPolicy>(
        AveragedVectorPolicyOptions().safety(safety));
  }
  if (choice.policy == "secant") {
    return std::make_unique<SecantPolicy>(SecantPolicyOptions().safety(safety));
  }
  if (choice.policy == "polyak") {
    // The paper's c: its step is 1 / c of what would reach the floor.
    return std::make_unique<PolyakPolicy>(
        PolyakPolicyOptions().divisor(0.5 / safety));
  }
  TORCH_CHECK(
      false,
      "make_optimizer: the policy must be edge, sharpness, averaged-vector, "
      "secant or polyak, got ",
      choice.policy.value_or("none"));
}

// One that steps by the gradients that it finds.
std::unique_ptr<TrainedOptimizer> with_gradients(
    ImageModel& model,
    const OptimizerChoice& choice,
    std::unique_ptr<optim::Optimizer> optimizer,
    std::function<double()> own_rate = nullptr) {
  return by_gradients(
      model,
      std::move(optimizer),
      choice.micro_batch,
      choice.ranks,
      std::move(own_rate));
}

StateType state_type_of(const OptimizerChoice& choice) {
  if (choice.state_type == "bfloat16") return StateType::kBFloat16;
  if (choice.state_type == "8bit") return StateType::kBlockwise8Bit;
  TORCH_CHECK(
      choice.state_type == "float32",
      "make_optimizer: the state type must be float32, bfloat16 or 8bit, got ",
      choice.state_type);
  return StateType::kFloat32;
}

template <typename Optimizer, typename Options>
std::unique_ptr<TrainedOptimizer> make_like_sgd(
    ImageModel& model, const OptimizerChoice& choice) {
  auto options = sgd_options<Options>(choice);
  if constexpr (std::is_same_v<Options, ClippedSGDOptions>) {
    options.max_norm(*choice.max_norm).state_type(state_type_of(choice));
  }
  return with_gradients(
      model, choice, std::make_unique<Optimizer>(model.parameters(), options));
}

template <typename Optimizer, typename Options>
std::unique_ptr<TrainedOptimizer> make_like_adam(
    ImageModel& model, const OptimizerChoice& choice) {
  auto options = adam_options<Options>(choice);
  if constexpr (std::is_same_v<Options, ClippedAdamWOptions>) {
    options.max_norm(*choice.max_norm);
  }
  if constexpr (
      std::is_same_v<Options, ClippedAdamWOptions> ||
      std::is_same_v<Options, LionOptions>) {
    options.state_type(state_type_of(choice));
  }
  return with_gradients(
      model, choice, std::make_unique<Optimizer>(model.parameters(), options));
}

std::unique_ptr<TrainedOptimizer> make_rollback_sgd(
    ImageModel& model, const OptimizerChoice& choice) {
  return by_rollback(
      model,
      std::make_unique<RollbackSGD>(
          model.parameters(),
          sgd_options<RollbackSGDOptions>(choice).rollback(
              RollbackOptions().buffers(model.buffers()))),
      choice.micro_batch,
      choice.ranks);
}

std::unique_ptr<TrainedOptimizer> make_power_sgd(
    ImageModel& model, const OptimizerChoice& choice) {
  if (choice.policy != "sharpness") {
    return by_policy(
        model,
        std::make_unique<AutoSGD>(
            model.parameters(),
            sgd_options<AutoSGDOptions>(choice).buffers(model.buffers()),
            *policy_of(choice)),
        choice.ranks);
  }
  return by_curvature(
      model,
      std::make_unique<PowerMethodSGD>(
          model.parameters(),
          sgd_options<PowerMethodSGDOptions>(choice)
              .tracker(SharpnessTrackerOptions().safety(*choice.safety))
              .buffers(model.buffers())),
      choice.ranks);
}

std::unique_ptr<TrainedOptimizer> make_sam_sgd(
    ImageModel& model, const OptimizerChoice& choice) {
  return by_ascent(
      model,
      std::make_unique<optim::SGD>(
          model.parameters(), sgd_options<optim::SGDOptions>(choice)),
      SAMOptions(*choice.rho).buffers(model.buffers()),
      choice.micro_batch,
      choice.ranks);
}

// One rate for all: matrices turn by it as much as AdamW's parameters do.
std::unique_ptr<TrainedOptimizer> make_muon(
    ImageModel& model, const OptimizerChoice& choice) {
  const auto options =
      sgd_options<MuonOptions>(choice).adjust_lr(AdjustLR::kMatchRMSAdamW);
  return with_gradients(
      model,
      choice,
      std::make_unique<Muon>(Muon::groups(model, options).build(), options));
}

// A share of its rate that an update may change it by: the additive form's
// number would be another for each network.
constexpr double kHypergradLR = 0.02;

template <typename Optimizer, typename Options>
std::unique_ptr<TrainedOptimizer> make_hypergradient(
    ImageModel& model, const OptimizerChoice& choice, Options options) {
  auto optimizer = std::make_unique<Optimizer>(
      model.parameters(),
      options.form(HypergradientForm::kMultiplicative)
          .hypergrad_lr(kHypergradLR));
  const auto* const rates = optimizer.get();
  return with_gradients(model, choice, std::move(optimizer), [rates] {
    return rates->current_lr();
  });
}

std::unique_ptr<TrainedOptimizer> make_hypergradient_sgd(
    ImageModel& model, const OptimizerChoice& choice) {
  return make_hypergradient<HypergradientSGD>(
      model, choice, sgd_options<HypergradientSGDOptions>(choice));
}

std::unique_ptr<TrainedOptimizer> make_hypergradient_adam(
    ImageModel& model, const OptimizerChoice& choice) {
  return make_hypergradient<HypergradientAdam>(
      model, choice, adam_options<HypergradientAdamOptions>(choice));
}

// Adam at the rate lr d, with a decay as AdamW's.
template <typename Optimizer, typename Options>
std::unique_ptr<TrainedOptimizer> make_estimating_adam(
    ImageModel& model, const OptimizerChoice& choice) {
  auto optimizer = std::make_unique<Optimizer>(
      model.parameters(), adam_options<Options>(choice).decouple(true));
  const auto* const estimate = optimizer.get();
  return with_gradients(model, choice, std::move(optimizer), [estimate] {
    return scheduled_lr(*estimate) * estimate->last_d();
  });
}

std::unique_ptr<TrainedOptimizer> make_dog(
    ImageModel& model, const OptimizerChoice& choice) {
  // As the paper has it for networks with BatchNorm, and all here have it.
  constexpr double kFirstDistance = 1e-4;
  auto optimizer = std::make_unique<DoG>(
      model.parameters(),
      DoGOptions(choice.lr)
          .weight_decay(choice.weight_decay)
          .reps_rel(kFirstDistance));
  const auto* const estimate = optimizer.get();
  return with_gradients(model, choice, std::move(optimizer), [estimate] {
    return estimate->current_lr();
  });
}

// With a Hessian-vector product in every update a step would take three times
// as long.
constexpr std::int64_t kInterval = 10;

template <typename Optimizer, typename Options>
std::unique_ptr<TrainedOptimizer> make_diagonal(
    ImageModel& model, const OptimizerChoice& choice) {
  return by_diagonal(
      model,
      std::make_unique<Optimizer>(
          model.parameters(),
          adam_options<Options>(choice).interval(kInterval)),
      choice.ranks);
}

void check_presence(
    const OptimizerChoice& choice,
    const char* option,
    bool given,
    bool wanted) {
  TORCH_CHECK(
      given == wanted,
      "make_optimizer: ",
      choice.name,
      wanted ? " wants a " : " has no use for a ",
      option);
}

// Rows of a kind have these numbers alike.
OptimizerRow like_sgd(
    std::string name,
    std::string about,
    OptimizerRow::Make make,
    double lr = 0.1) {
  OptimizerRow row{std::move(name), std::move(about), make, lr, 0.9, 5e-4};
  row.lr_scaling = "linear";
  return row;
}

OptimizerRow like_adam(
    std::string name,
    std::string about,
    OptimizerRow::Make make,
    double lr,
    double weight_decay) {
  return {std::move(name), std::move(about), make, lr, 0.9, weight_decay};
}

template <typename Change>
OptimizerRow with(OptimizerRow row, const Change& change) {
  change(row);
  return row;
}

std::vector<OptimizerRow> make_rows() {
  constexpr double kDecay = 0.05;
  const auto clips = [](OptimizerRow& row) {
    row.max_norm = 5;
    row.has_state_types = true;
  };
  const auto estimates = [](OptimizerRow& row) {
    row.finds_rate = "estimates its rate";
    row.lr = 1;
  };
  const auto learns = [](OptimizerRow& row) {
    row.learns_rate = true;
    row.schedule = "constant";
  };
  const auto averages = [](OptimizerRow& row) {
    row.averages = true;
    row.schedule = "warmup 10% > constant";
  };
  const auto wants_graph = [](OptimizerRow& row) { row.wants_graph = true; };
  return {
      like_sgd(
          "sgd",
          "LibTorch's, with momentum",
          make_like_sgd<optim::SGD, optim::SGDOptions>),
      like_adam(
          "adam",
          "LibTorch's",
          make_like_adam<optim::Adam, optim::AdamOptions>,
          0.003,
          0),
      like_adam(
          "adamw",
          "LibTorch's",
          make_like_adam<optim::AdamW, optim::AdamWOptions>,
          0.003,
          kDecay),
      {"rmsprop",
       "LibTorch's",
       make_like_sgd<optim::RMSprop, optim::RMSpropOptions>,
       0.001,
       0,
       0},
      with(
          like_sgd(
              "clipped-sgd",
              "cuts a long gradient",
              make_like_sgd<ClippedSGD, ClippedSGDOptions>),
          clips),
      with(
          like_adam(
              "clipped-adamw",
              "cuts a long gradient",
              make_like_adam<ClippedAdamW, ClippedAdamWOptions>,
              0.003,
              kDecay),
          clips),
      with(
          like_adam(
              "lion",
              "signs of a mean gradient",
              make_like_adam<Lion, LionOptions>,
              0.001,
              0.15),
          [](OptimizerRow& row) { row.has_state_types = true; }),
      with(
          like_sgd("rollback-sgd", "takes bad steps back", make_rollback_sgd),
          [](OptimizerRow& row) {
            row.range_test = "sgd";
            row.recovers = true;
          }),
      with(
          like_sgd("power-sgd", "measures its rate", make_power_sgd, 1),
          [](OptimizerRow& row) {
            row.finds_rate = "measures its rate";
            row.safety = 1;
          }),
      with(
          like_sgd("sam-sgd", "gradients from uphill", make_sam_sgd),
          [](OptimizerRow& row) {
            row.rho = SAMOptions().rho();
            row.range_test = "sgd";
          }),
      like_sgd("lars", "a rate a layer", make_like_sgd<LARS, LARSOptions>, 10),
      like_adam(
          "lamb",
          "AdamW with a rate a layer",
          make_like_adam<LAMB, LAMBOptions>,
          0.01,
          kDecay),
      with(
          like_sgd(
              "hypergradient-sgd",
              "learns its rate, from lr on",
              make_hypergradient_sgd,
              0.01),
          learns),
      with(
          like_adam(
              "hypergradient-adam",
              "learns its rate, from lr on",
              make_hypergradient_adam,
              0.001,
              0),
          learns),
      with(
          like_sgd(
              "schedule-free-sgd",
              "a mean instead of a decay",
              make_like_sgd<ScheduleFreeSGD, ScheduleFreeSGDOptions>,
              1),
          averages),
      with(
          like_adam(
              "schedule-free-adamw",
              "a mean instead of a decay",
              make_like_adam<ScheduleFreeAdamW, ScheduleFreeAdamWOptions>,
              0.01,
              kDecay),
          averages),
      with(
          like_adam(
              "prodigy",
              "estimates its rate",
              make_estimating_adam<Prodigy, ProdigyOptions>,
              1,
              kDecay),
          estimates),
      with(
          like_adam(
              "dadapt-adam",
              "estimates its rate",
              make_estimating_adam<DAdaptAdam, DAdaptAdamOptions>,
              1,
              kDecay),
          estimates),
      with(
          OptimizerRow{
              "dog", "estimates its rate", make_dog, 1, std::nullopt, 0},
          [&](OptimizerRow& row) {
            estimates(row);
            row.schedule = "constant";
          }),
      with(
          like_adam(
              "muon", "orthogonal matrix steps", make_muon, 0.003, kDecay),
          [](OptimizerRow& row) { row.momentum = MuonOptions().momentum(); }),
      with(
          like_adam(
              "adahessian",
              "by curvatures",
              make_diagonal<AdaHessian, AdaHessianOptions>,
              0.05,
              5e-4),
          wants_graph),
      with(
          like_adam(
              "sophia-h",
              "by curvatures, and bounded",
              make_diagonal<SophiaH, SophiaHOptions>,
              0.001,
              0.1),
          [&](OptimizerRow& row) {
            wants_graph(row);
            row.momentum = std::get<0>(SophiaHOptions().betas());
          }),
  };
}

}  // namespace

const std::vector<OptimizerRow>& optimizer_rows() {
  static const std::vector<OptimizerRow> rows = make_rows();
  return rows;
}

const OptimizerRow& optimizer_row(const std::string& name) {
  const auto& rows = optimizer_rows();
  const auto row =
      std::find_if(rows.begin(), rows.end(), [&](const auto& each) {
        return each.name == name;
      });
  if (row != rows.end()) {
    return *row;
  }
  std::string names;
  for (const auto& each : rows) {
    names += (names.empty() ? "" : ", ") + each.name;
  }
  TORCH_CHECK(
      false,
      "optimizer_row: the optimizer must be one of ",
      names,
      "; got ",
      name);
}

std::unique_ptr<TrainedOptimizer> make_optimizer(
    ImageModel& model, const OptimizerChoice& choice) {
  const auto& row = optimizer_row(choice.name);
  const auto check = [&](const char* option, bool given, bool wanted) {
    check_presence(choice, option, given, wanted);
  };
  check("max_norm", choice.max_norm.has_value(), row.max_norm.has_value());
  check("safety", choice.safety.has_value(), row.safety.has_value());
  check("policy", choice.policy.has_value(), row.safety.has_value());
  check("rho", choice.rho.has_value(), row.rho.has_value());
  TORCH_CHECK(
      choice.state_type == "float32" || row.has_state_types,
      "make_optimizer: ",
      choice.name,
      " has no use for a state type, got ",
      choice.state_type);
  return row.make(model, choice);
}

}  // namespace stepsize::trainer
