#include <stepsize/adaptive/dog.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "csrc/adaptive/tensor_norms.h"
#include "csrc/core/archive.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/optim/common_options.h"
#include "csrc/optim/fused_step.h"
#include "csrc/optim/rank_evaluation.h"

namespace stepsize {

using torch::optim::OptimizerParamGroup;

namespace {

constexpr detail::Signature kDoGSignature = {
    "DoG", {"parameter", "gradient", "init_buffer"}};

at::Tensor dog_gradient(
    const at::Tensor& wide, const at::Tensor& gradient, double decay) {
  const at::Tensor grad = gradient.to(wide.scalar_type());
  return decay != 0 ? grad.add(wide, decay) : grad;
}

}  // namespace

DoGOptions::DoGOptions(double lr) : lr_(lr) {}

const OptionList<DoGOptions>& DoGOptions::option_list() {
  static const auto list = [] {
    OptionList<DoGOptions> own("DoG");
    return detail::positive(
               detail::add_rate(own).option(STEPSIZE_OPTION(reps_rel)))
        .same_in_groups()
        .option(STEPSIZE_OPTION(eps))
        .not_negative()
        .same_in_groups()
        .option(STEPSIZE_OPTION(init_eta))
        .not_negative()
        .same_in_groups()
        .option(STEPSIZE_OPTION(weight_decay))
        .not_negative()
        .role(OptionRole::kWeightDecay)
        .option(STEPSIZE_OPTION(layer_wise))
        .same_in_groups();
  }();
  return list;
}

const OptimizerTraits& DoGOptions::optimizer_traits() {
  static const OptimizerTraits traits = OptimizerTraits::of<DoG>(option_list())
                                            .gradient(GradientUse::kDescends)
                                            .sets_own_rate(true)
                                            .state({"init_buffer"});
  return traits;
}

DoG::DoG(std::vector<at::Tensor> parameters, const DoGOptions& options)
    : DoG(std::vector<OptimizerParamGroup>{OptimizerParamGroup(
              std::move(parameters))},
          options) {}

DoG::DoG(
    const std::vector<OptimizerParamGroup>& groups, const DoGOptions& defaults)
    : IndexedOptimizer(std::make_unique<DoGOptions>(defaults)) {
  add_groups(groups);
}

const DoGOptions& DoG::options_of(std::size_t group) const {
  return static_cast<const DoGOptions&>(param_groups()[group].options());
}

at::Tensor DoG::sums_by_operations(
    const at::Tensor& parameter,
    const at::Tensor& gradient,
    const at::Tensor& start,
    const detail::DoGNumbers& numbers) {
  const at::Tensor wide = parameter.to(start.scalar_type());
  const at::Tensor grad = dog_gradient(wide, gradient, numbers.decay);
  const at::Tensor far = wide.to(at::kDouble) - start.to(at::kDouble);
  return at::stack({far.square().sum(), grad.to(at::kDouble).square().sum()});
}

void DoG::step_by_operations(
    at::Tensor parameter,
    const at::Tensor& gradient,
    const at::Tensor& start,
    const detail::DoGNumbers& numbers) {
  const at::Tensor wide = parameter.to(start.scalar_type());
  const at::Tensor grad = dog_gradient(wide, gradient, numbers.decay);
  parameter.copy_(wide - grad * numbers.rate);
}

DoG::Block DoG::renewed(
    Block block, const double* parts, const DoGOptions& options) {
  const bool first = block.squares == 0;
  if (block.distance == 0 && options.init_eta() == 0) {
    block.distance = options.reps_rel() * (1 + std::sqrt(parts[0]));
  }
  block.distance = std::max(block.distance, std::sqrt(parts[1]));
  block.squares += parts[2] + (first ? options.eps() : 0);
  if (block.squares == 0) {
    block.eta = 0;
  } else if (first && options.init_eta() > 0) {
    block.eta = options.init_eta();
  } else {
    // A NaN goes on into the parameters, where it shows.
    block.eta = block.distance / std::sqrt(block.squares);
  }
  return block;
}

std::vector<DoG::Block> DoG::renewed_blocks(
    const std::vector<ParameterUpdate>& updates,
    std::vector<double> parts,
    const DoGOptions& options) {
  std::vector<Block> blocks(updates.size());
  if (!options.layer_wise()) {
    std::vector<double> totals(3, 0.0);
    for (std::size_t i = 0; i < parts.size(); ++i) totals[i % 3] += parts[i];
    detail::agree_on(totals, reduction().get());
    whole_ = renewed(whole_, totals.data(), options);
    std::fill(blocks.begin(), blocks.end(), whole_);
    return blocks;
  }
  detail::agree_on(parts, reduction().get());
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    // Without a start it is the parameter's first step, whatever else a file
    // had of it.
    const bool has_start = group_state(own.group).slots[0][own.index].defined();
    blocks[k] = renewed(
        has_start ? layer_of(own.group, own.index) : Block(),
        parts.data() + 3 * k,
        options);
  }
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const Block& layer = blocks[k];
    group_state(updates[k].group).extras[updates[k].index].numbers = {
        layer.distance, layer.squares, layer.eta};
  }
  return blocks;
}

at::Tensor DoG::step(LossClosure closure) {
  const at::Tensor loss = evaluate(closure);
  const c10::AutoGradMode no_grad(false);
  auto updates = coming_updates();
  if (updates.empty()) return loss;
  const DoGOptions& common = options_of(0);

  // The starts, and their norms where a block begins with them.
  std::vector<at::Tensor> fresh;
  std::vector<std::size_t> positions;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    ParameterUpdate& own = updates[k];
    if (group_state(own.group).slots[0][own.index].defined()) continue;
    own.state[0].copy_(own.parameter);
    fresh.push_back(own.state[0]);
    positions.push_back(k);
  }
  std::vector<double> start_norms(updates.size(), 0.0);
  const auto norms = detail::tensor_norms(fresh);
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    start_norms[positions[i]] = norms[i];
  }

  std::vector<detail::DoGNumbers> numbers;
  detail::FusedStep<detail::DoGNumbers, detail::kDoGSums> measure(
      kDoGSignature, updates);
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    numbers.push_back({options_of(own.group).weight_decay(), 0});
    if (!measure.add(k, detail::loops().dog_sums, numbers[k])) {
      measure.add_sums(
          k,
          sums_by_operations(
              own.parameter, own.gradient, own.state[0], numbers[k]));
    }
  }
  const auto sums = measure.read();

  // Three numbers of each parameter, or of all.
  std::vector<double> parts;
  for (std::size_t k = 0; k < updates.size(); ++k) {
    parts.insert(
        parts.end(), {start_norms[k] * start_norms[k], sums[k][0], sums[k][1]});
  }
  const std::vector<Block> blocks =
      renewed_blocks(updates, std::move(parts), common);

  detail::FusedStep<detail::DoGNumbers> fused(measure.operands());
  for (std::size_t k = 0; k < updates.size(); ++k) {
    const ParameterUpdate& own = updates[k];
    numbers[k].rate = options_of(own.group).lr() * blocks[k].eta;
    if (!fused.add(k, detail::loops().dog, numbers[k])) {
      step_by_operations(own.parameter, own.gradient, own.state[0], numbers[k]);
    }
  }
  fused.run();
  take_over(std::move(updates));
  return loss;
}

DoG::Block DoG::layer_of(std::size_t group, std::size_t index) const {
  const Extra* const own = find_extra(group, index);
  if (own == nullptr || own->numbers.empty()) return {};
  return {own->numbers[0], own->numbers[1], own->numbers[2]};
}

DoG::Block DoG::block_of(std::size_t group, std::size_t index) const {
  TORCH_CHECK(
      group < param_groups().size() &&
          index < param_groups()[group].params().size(),
      "DoG: there is no parameter ",
      index,
      " of group ",
      group);
  return options_of(group).layer_wise() ? layer_of(group, index) : whole_;
}

double DoG::current_lr(std::size_t group, std::size_t index) const {
  const Block block = block_of(group, index);
  return options_of(group).lr() * block.eta;
}

double DoG::max_distance(std::size_t group, std::size_t index) const {
  return block_of(group, index).distance;
}

double DoG::squared_gradients(std::size_t group, std::size_t index) const {
  return block_of(group, index).squares;
}

void DoG::save_counters(torch::serialize::OutputArchive& archive) const {
  std::vector<double> numbers = {whole_.distance, whole_.squares, whole_.eta};
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    for (std::size_t i = 0; i < param_groups()[g].params().size(); ++i) {
      const Block block = layer_of(g, i);
      numbers.insert(numbers.end(), {block.distance, block.squares, block.eta});
    }
  }
  detail::write_doubles(archive, "blocks", numbers);
}

std::function<void()> DoG::read_counters(
    torch::serialize::InputArchive& archive) {
  const auto numbers = detail::read_doubles(archive, kind(), "blocks");
  std::size_t parameters = 0;
  for (const auto& group : param_groups()) parameters += group.params().size();
  TORCH_CHECK(
      numbers.size() == 3 * (parameters + 1),
      kind(),
      ": 'blocks' of the archive has ",
      numbers.size(),
      " numbers, not three and three a parameter");
  return [this, numbers] {
    whole_ = {numbers[0], numbers[1], numbers[2]};
    const double* next = numbers.data();
    for (std::size_t g = 0; g < param_groups().size(); ++g) {
      for (Extra& extra : group_state(g).extras) {
        next += 3;
        extra.numbers.assign(next, next + 3);
      }
    }
  };
}

}  // namespace stepsize
