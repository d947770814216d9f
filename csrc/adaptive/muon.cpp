#include <stepsize/adaptive/muon.h>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/kernels/adam.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "csrc/adaptive/newton_schulz.h"
#include "csrc/adaptive/tiled_newton_schulz.h"
#include "csrc/core/half.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/parallel.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

// Kinds of state.
constexpr std::size_t kMuonMomentum = 0;
constexpr std::size_t kMuonMean = 1;
constexpr std::size_t kMuonSquare = 2;

constexpr detail::Signature kMuonSignature = {
    "Muon", {"parameter", "gradient", "momentum_buffer"}};
constexpr detail::Signature kMuonAdamWSignature = {
    "Muon", {"parameter", "gradient", "exp_avg", "exp_avg_sq"}};

// Elements of a batch, or one matrix where that has more: on a CPU what stays
// in the caches, elsewhere what keeps the device busy.
constexpr int64_t kMuonCpuBatch = int64_t{1} << 20;
constexpr int64_t kMuonDeviceBatch = int64_t{1} << 26;

struct MuonShape {
  int64_t rows;
  int64_t columns;
};

// Of the matrix that a tensor counts as.
MuonShape muon_shape(const at::Tensor& parameter) {
  const int64_t rows = parameter.size(0);
  return {rows, parameter.numel() / rows};
}

double adjusted_lr(const MuonOptions& options, const MuonShape& shape) {
  const auto rows = static_cast<double>(shape.rows);
  const auto columns = static_cast<double>(shape.columns);
  return options.adjust_lr() == AdjustLR::kOriginal
             ? options.lr() * std::sqrt(std::max(1.0, rows / columns))
             : options.lr() * 0.2 * std::sqrt(std::max(rows, columns));
}

// A CPU multiplies bfloat16 slowly, or by way of float32, and keeps no more
// than its digits.
at::ScalarType muon_type(
    const MuonOptions& options, const at::Tensor& parameter) {
  const at::ScalarType full = detail::widened(parameter.scalar_type());
  const bool narrow = options.ns_precision() == MuonPrecision::kBFloat16 ||
                      (options.ns_precision() == MuonPrecision::kByDevice &&
                       !parameter.is_cpu() && full != at::kDouble);
  return narrow ? at::kBFloat16 : full;
}

}  // namespace

MuonOptions::MuonOptions(double lr) : lr_(lr) {}

const OptionList<MuonOptions>& MuonOptions::option_list() {
  static const auto list =
      OptionList<MuonOptions>("Muon")
          .option(STEPSIZE_OPTION(lr))
          .not_negative()
          .role(OptionRole::kRate)
          .option(STEPSIZE_OPTION(use_muon))
          .option(STEPSIZE_OPTION(weight_decay))
          .not_negative()
          .role(OptionRole::kDecoupledWeightDecay)
          .option(STEPSIZE_OPTION(momentum))
          .share()
          .role(OptionRole::kMomentum)
          .option(STEPSIZE_OPTION(nesterov))
          .role(OptionRole::kNesterov)
          .choice(STEPSIZE_OPTION(adjust_lr), {"kOriginal", "kMatchRMSAdamW"})
          .option(STEPSIZE_OPTION(ns_steps))
          .count_must_be(
              "in [1, 99]", [](int64_t n) { return n >= 1 && n <= 99; })
          .option(STEPSIZE_OPTION(ns_eps))
          .not_negative()
          .choice(
              STEPSIZE_OPTION(ns_precision),
              {"kByDevice", "kFull", "kBFloat16"})
          .option(
              "beta1", [](auto& o) -> auto& { return std::get<0>(o.betas()); })
          .share()
          .option(
              "beta2", [](auto& o) -> auto& { return std::get<1>(o.betas()); })
          .share()
          .role(OptionRole::kSecondBeta)
          .option(STEPSIZE_OPTION(eps))
          .not_negative()
          .role(OptionRole::kEpsilon);
  return list;
}

const OptimizerTraits& MuonOptions::optimizer_traits() {
  static const OptimizerTraits traits =
      OptimizerTraits::of<Muon>(option_list())
          .gradient(GradientUse::kOrthogonalizes)
          .momentum_is_mean(true)
          .state({"momentum_buffer", "exp_avg", "exp_avg_sq"});
  return traits;
}

Muon::Muon(std::vector<at::Tensor> parameters, const MuonOptions& options)
    : Muon(
          std::vector<OptimizerParamGroup>{
              OptimizerParamGroup(std::move(parameters))},
          options) {}

Muon::Muon(
    const std::vector<OptimizerParamGroup>& groups, const MuonOptions& defaults)
    : IndexedOptimizer(std::make_unique<MuonOptions>(defaults)) {
  add_groups(groups);
  check_matrices();
}

const MuonOptions& Muon::options_of(std::size_t group) const {
  return static_cast<const MuonOptions&>(param_groups()[group].options());
}

void Muon::check_matrices() const {
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    if (!options_of(g).use_muon()) continue;
    const auto& parameters = param_groups()[g].params();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      TORCH_CHECK(
          parameters[i].dim() >= 2,
          "Muon: the parameters of a group with use_muon must have 2 "
          "dimensions "
          "or more, got shape ",
          parameters[i].sizes(),
          " of parameter ",
          i,
          " of group ",
          g,
          "; AdamW steps those of a group with use_muon(false)");
    }
  }
}

bool Muon::has_state(std::size_t group, std::size_t slot) const {
  return options_of(group).use_muon() == (slot == kMuonMomentum);
}

void Muon::step_by_adamw(const std::vector<ParameterUpdate>& updates) const {
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    const MuonOptions& options = options_of(g);
    if (options.use_muon()) continue;
    std::vector<at::Tensor> parameters;
    std::vector<at::Tensor> gradients;
    std::vector<at::Tensor> means;
    std::vector<at::Tensor> squares;
    std::vector<int64_t> steps;
    for (const ParameterUpdate& own : updates) {
      if (own.group != g) continue;
      parameters.push_back(own.parameter);
      gradients.push_back(own.gradient);
      means.push_back(own.state[kMuonMean]);
      squares.push_back(own.state[kMuonSquare]);
      steps.push_back(own.step);
    }
    AdamHyperparameters numbers;
    numbers.lr = options.lr();
    std::tie(numbers.beta1, numbers.beta2) = options.betas();
    numbers.eps = options.eps();
    numbers.weight_decay = options.weight_decay();
    numbers.decoupled_weight_decay = true;
    adam_step(parameters, gradients, means, squares, {}, steps, numbers);
  }
}

// The matrices of a step, in batches of one shape.
class Muon::Matrices {
 public:
  Matrices(const Muon& optimizer, const std::vector<ParameterUpdate>& updates)
      : optimizer_(optimizer) {
    for (const ParameterUpdate& update : updates) {
      if (optimizer.options_of(update.group).use_muon() &&
          update.parameter.numel() > 0) {
        add(update);
      }
    }
  }

  void step() {
    step_by_tiles(take_flat());
    for (Batch& batch : batches_) {
      orthogonalize(batch);
      apply(batch);
    }
  }

  // Each rank orthogonalizes a share, and gets the others' from the others: so
  // all have the same bits, which products on other processors have not.
  void step(Reduction& ranks) {
    const std::vector<int64_t> ranks_of = shares(ranks.world_size());
    ranks.together([&] {
      for (std::size_t b = 0; b < batches_.size(); ++b) {
        Batch& batch = batches_[b];
        if (ranks_of[b] == ranks.rank()) {
          orthogonalize(batch);
        } else {
          for (const ParameterUpdate* update : batch.updates) mean_of(*update);
          const auto count = static_cast<int64_t>(batch.updates.size());
          batch.matrices = at::zeros(
              {count, batch.rows, batch.columns},
              batch.updates[0]->parameter.options().dtype(batch.type));
        }
        batch.matrices =
            batch.matrices.to(detail::widened(batch.type)).contiguous();
      }
    });
    std::vector<std::function<void()>> ends;
    for (Batch& batch : batches_)
      ends.push_back(ranks.start_sum(batch.matrices));
    for (const auto& end : ends) end();
    for (Batch& batch : batches_) apply(batch);
  }

 private:
  struct Batch {
    std::vector<const ParameterUpdate*> updates;
    int64_t rows = 0;  // not more than columns
    int64_t columns = 0;
    at::ScalarType type = at::kFloat;
    at::Tensor matrices;
  };

  void add(const ParameterUpdate& update) {
    const MuonOptions& own = optimizer_.options_of(update.group);
    const MuonShape shape = muon_shape(update.parameter);
    const int64_t rows = std::min(shape.rows, shape.columns);
    const int64_t columns = std::max(shape.rows, shape.columns);
    const at::ScalarType type = muon_type(own, update.parameter);
    const int64_t most =
        update.parameter.is_cpu() ? kMuonCpuBatch : kMuonDeviceBatch;
    // Backwards: the last one of a shape may have room.
    for (auto batch = batches_.rbegin(); batch != batches_.rend(); ++batch) {
      const ParameterUpdate& first = *batch->updates.front();
      const MuonOptions& others = optimizer_.options_of(first.group);
      if (batch->rows != rows || batch->columns != columns ||
          batch->type != type ||
          first.parameter.device() != update.parameter.device() ||
          others.ns_steps() != own.ns_steps() ||
          others.ns_eps() != own.ns_eps()) {
        continue;
      }
      const auto count = static_cast<int64_t>(batch->updates.size());
      if ((count + 1) * rows * columns > most) break;
      batch->updates.push_back(&update);
      return;
    }
    Batch& batch = batches_.emplace_back();
    batch.updates = {&update};
    batch.rows = rows;
    batch.columns = columns;
    batch.type = type;
  }

  // Whose each batch is: the next one is that of the rank with the least work.
  std::vector<int64_t> shares(int64_t world_size) const {
    std::vector<double> work(static_cast<std::size_t>(world_size), 0.0);
    std::vector<int64_t> ranks;
    for (const Batch& batch : batches_) {
      const auto least = std::min_element(work.begin(), work.end());
      ranks.push_back(least - work.begin());
      *least += static_cast<double>(batch.updates.size()) *
                static_cast<double>(batch.rows) *
                static_cast<double>(batch.rows) *
                static_cast<double>(batch.columns);
    }
    return ranks;
  }

  static bool has_tiles(const Batch& batch) {
    return batch.updates[0]->parameter.is_cpu() &&
           detail::has_tiled_newton_schulz(batch.type);
  }

  // Whether the tiles can have the values where they lie.
  static bool is_flat(const ParameterUpdate& update) {
    const auto is = [](const at::Tensor& own) {
      return own.scalar_type() == at::kFloat && own.is_contiguous() &&
             detail::is_plain(own);
    };
    return is(update.parameter) && is(update.gradient) &&
           is(update.state[kMuonMomentum]);
  }

  // Takes what step_by_tiles() steps out of the batches.
  std::vector<const ParameterUpdate*> take_flat() {
    std::vector<const ParameterUpdate*> flat;
    std::vector<Batch> others;
    for (Batch& batch : batches_) {
      if (has_tiles(batch)) {
        auto& own = batch.updates;
        const auto end = std::stable_partition(
            own.begin(), own.end(), [](const auto* update) {
              return !is_flat(*update);
            });
        flat.insert(flat.end(), end, own.end());
        own.erase(end, own.end());
      }
      if (!batch.updates.empty()) others.push_back(std::move(batch));
    }
    batches_ = std::move(others);
    return flat;
  }

  void resize(
      detail::TiledNewtonSchulz& tiles, const ParameterUpdate& update) const {
    const MuonShape shape = muon_shape(update.parameter);
    tiles.resize(
        muon_type(optimizer_.options_of(update.group), update.parameter),
        shape.rows,
        shape.columns);
  }

  // Where there are enough of them each thread takes matrices of its own:
  // products of their size are too short to be shared out. Large ones are
  // stepped one after the other, so that one workspace does for all threads.
  // Each has the same bits either way, and with any number of threads.
  void step_by_tiles(std::vector<const ParameterUpdate*> updates) const {
    constexpr int64_t kLargeSide = 1024;
    const auto large = std::stable_partition(
        updates.begin(), updates.end(), [](const auto* update) {
          const MuonShape shape = muon_shape(update->parameter);
          return std::min(shape.rows, shape.columns) <= kLargeSide;
        });
    const auto small = static_cast<std::size_t>(large - updates.begin());
    const int64_t threads = at::get_num_threads();
    step_by_tiles({large, updates.end()}, /*is_apart=*/false);
    updates.resize(small);
    step_by_tiles(updates, static_cast<int64_t>(updates.size()) >= 2 * threads);
  }

  void step_by_tiles(
      std::vector<const ParameterUpdate*> updates, bool is_apart) const {
    if (updates.empty()) return;
    const auto work = [](const ParameterUpdate* update) {
      const MuonShape shape = muon_shape(update->parameter);
      return std::min(shape.rows, shape.columns) * update->parameter.numel();
    };
    // The last to be taken should not be the longest.
    std::stable_sort(
        updates.begin(),
        updates.end(),
        [&](const auto* left, const auto* right) {
          return work(left) > work(right);
        });
    const auto count = static_cast<int64_t>(updates.size());
    std::vector<detail::TiledNewtonSchulz> free(
        static_cast<std::size_t>(is_apart ? at::get_num_threads() : 1));
    for (auto& tiles : free) {
      for (const ParameterUpdate* update : updates) resize(tiles, *update);
    }
    std::mutex mutex;
    const auto step_one = [&](int64_t item) {
      const ParameterUpdate& update = *updates[static_cast<std::size_t>(item)];
      detail::TiledNewtonSchulz tiles;
      {
        const std::lock_guard<std::mutex> lock(mutex);
        tiles = std::move(free.back());
        free.pop_back();
      }
      const MuonOptions& options = optimizer_.options_of(update.group);
      resize(tiles, update);
      tiles.take_mean(
          update.gradient.data_ptr<float>(),
          update.state[kMuonMomentum].data_ptr<float>(),
          options.momentum(),
          options.nesterov());
      tiles.run(options.ns_steps(), options.ns_eps());
      tiles.move(
          update.parameter.data_ptr<float>(),
          1.0 - options.lr() * options.weight_decay(),
          adjusted_lr(options, muon_shape(update.parameter)));
      const std::lock_guard<std::mutex> lock(mutex);
      free.push_back(std::move(tiles));
    };
    if (is_apart) {
      detail::parallel_run(count, step_one);
    } else {
      for (int64_t item = 0; item < count; ++item) step_one(item);
    }
    for (const ParameterUpdate* update : updates) {
      for (const at::Tensor* own :
           {&update->parameter, &update->state[kMuonMomentum]}) {
        if (!own->is_inference()) own->unsafeGetTensorImpl()->bump_version();
      }
    }
  }

  // Takes the gradient into the mean, and returns what is orthogonalized.
  at::Tensor mean_of(const ParameterUpdate& update) const {
    const MuonOptions& options = optimizer_.options_of(update.group);
    at::Tensor mean = update.state[kMuonMomentum];
    const at::Tensor gradient = update.gradient.to(mean.scalar_type());
    mean.lerp_(gradient, 1.0 - options.momentum());
    return options.nesterov() ? at::lerp(gradient, mean, options.momentum())
                              : mean;
  }

  // A matrix of the batch, turned as the parameter is.
  static at::Tensor turned(const Batch& batch, std::size_t position) {
    const at::Tensor matrix =
        batch.matrices.select(0, static_cast<int64_t>(position));
    const MuonShape shape = muon_shape(batch.updates[position]->parameter);
    return shape.rows > shape.columns ? matrix.t() : matrix;
  }

  void orthogonalize(Batch& batch) const {
    const ParameterUpdate& first = *batch.updates.front();
    const auto count = static_cast<int64_t>(batch.updates.size());
    const MuonOptions& options = optimizer_.options_of(first.group);
    const bool by_tiles = has_tiles(batch);
    if (by_tiles) batch.type = at::kFloat;  // of what comes out
    batch.matrices = at::empty(
        {count, batch.rows, batch.columns},
        first.parameter.options().dtype(batch.type));
    if (by_tiles) {
      detail::TiledNewtonSchulz tiles;
      for (std::size_t k = 0; k < batch.updates.size(); ++k) {
        resize(tiles, *batch.updates[k]);
        tiles.take(mean_of(*batch.updates[k])
                       .to(at::kFloat)
                       .contiguous()
                       .data_ptr<float>());
        tiles.run(options.ns_steps(), options.ns_eps());
        const MuonShape shape = muon_shape(batch.updates[k]->parameter);
        turned(batch, k).copy_(at::from_blob(
            const_cast<float*>(tiles.result()),
            {shape.rows, shape.columns},
            at::kFloat));
      }
      return;
    }
    for (std::size_t k = 0; k < batch.updates.size(); ++k) {
      turned(batch, k).copy_(
          mean_of(*batch.updates[k])
              .reshape({batch.updates[k]->parameter.size(0), -1}));
    }
    batch.matrices = detail::newton_schulz(
        std::move(batch.matrices), options.ns_steps(), options.ns_eps());
  }

  // Moves the parameters, and lets the matrices go.
  void apply(Batch& batch) const {
    for (std::size_t k = 0; k < batch.updates.size(); ++k) {
      const at::Tensor& parameter = batch.updates[k]->parameter;
      const MuonOptions& options =
          optimizer_.options_of(batch.updates[k]->group);
      const at::Tensor update = turned(batch, k).reshape(parameter.sizes());
      at::Tensor wide = parameter.to(detail::widened(parameter.scalar_type()));
      if (options.weight_decay() != 0) {
        wide.mul_(1.0 - options.lr() * options.weight_decay());
      }
      wide.sub_(update, adjusted_lr(options, muon_shape(parameter)));
      if (!wide.is_same(parameter)) parameter.copy_(wide);
    }
    batch.matrices.reset();
  }

  const Muon& optimizer_;
  std::vector<Batch> batches_;
};

at::Tensor Muon::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure, [this] {
    check_all_options();
    check_matrices();
    check_gradients();
  });
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    const auto position = static_cast<int64_t>(k);
    const auto& slots = group_state(own.group).slots;
    // One that was a matrix to be orthogonalized before has no means yet, and
    // their bias goes by how many there were.
    if (!options_of(own.group).use_muon() &&
        !slots[kMuonMean][own.index].defined()) {
      own.step = 1;
    }
    if (options_of(own.group).use_muon()) {
      detail::check_operands(
          kMuonSignature,
          position,
          {{&own.parameter, &own.gradient, &own.state[kMuonMomentum]}, 3});
    } else {
      detail::check_operands(
          kMuonAdamWSignature,
          position,
          {{&own.parameter,
            &own.gradient,
            &own.state[kMuonMean],
            &own.state[kMuonSquare]},
           4});
    }
  }
  Matrices matrices(*this, updates);
  if (reduction() != nullptr) {
    matrices.step(*reduction());
  } else {
    matrices.step();
  }
  step_by_adamw(updates);
  take_over(std::move(updates));
  return loss;
}

}  // namespace stepsize
