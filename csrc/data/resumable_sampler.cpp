#include <stepsize/data/resumable_sampler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/check.h"

namespace stepsize {
namespace {

using detail::check_option;
using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr char kName[] = "ResumableSampler";
// No run comes near it, and an epoch can still be added.
constexpr int64_t kMostEpochs = int64_t{1} << 62;

int64_t samples_of(const ResumableSamplerOptions& options) {
  const int64_t rest = options.size() % options.num_replicas();
  return options.size() / options.num_replicas() +
         (rest > 0 && !options.drop_last() ? 1 : 0);
}

void check(const ResumableSamplerOptions& options) {
  check_option(
      options.num_replicas() >= 1,
      kName,
      "num_replicas",
      ">= 1",
      options.num_replicas());
  check_option(
      options.rank() >= 0 && options.rank() < options.num_replicas(),
      kName,
      "rank",
      "in [0, " + std::to_string(options.num_replicas()) + ")",
      options.rank());
  const int64_t least = options.drop_last() ? options.num_replicas() : 1;
  check_option(
      options.size() >= least,
      kName,
      "size",
      ">= " + std::to_string(least) +
          (least > 1 ? ", one a rank, with drop_last" : ""),
      options.size());
}

void check(const SamplerPlace& place, int64_t samples) {
  check_option(
      place.epoch >= 0 && place.epoch <= kMostEpochs,
      kName,
      "epoch",
      "in [0, " + std::to_string(kMostEpochs) + "]",
      place.epoch);
  check_option(
      place.examples >= 0 && place.examples <= samples,
      kName,
      "examples",
      "in [0, " + std::to_string(samples) + "]",
      place.examples);
  const int64_t least = place.examples > 0 ? 1 : 0;
  check_option(
      place.batches >= least && place.batches <= place.examples,
      kName,
      "batches",
      "in [" + std::to_string(least) + ", " + std::to_string(place.examples) +
          "]",
      place.batches);
}

// The indices of one epoch for all ranks; undefined where they are in order.
at::Tensor order_of(const ResumableSamplerOptions& options, int64_t epoch) {
  if (!options.shuffle()) return {};
  const uint64_t seed = options.seed() + static_cast<uint64_t>(epoch);
  return at::randperm(
      options.size(),
      at::detail::createCPUGenerator(seed),
      at::TensorOptions(at::kLong));
}

void check_same(
    InputArchive& archive, const std::string& key, int64_t present) {
  const int64_t saved = detail::read_int(archive, kName, key);
  TORCH_CHECK(
      saved == present,
      kName,
      ": ",
      key,
      " is ",
      saved,
      " in the archive and ",
      present,
      " here");
}

}  // namespace

ResumableSamplerOptions::ResumableSamplerOptions(int64_t size) : size_(size) {}

struct ResumableSampler::State {
  explicit State(const ResumableSamplerOptions& its_options)
      : options(its_options) {}

  int64_t samples() const { return samples_of(options); }

  bool has_request() const { return position > place.examples; }

  void move(const SamplerPlace& to) {
    // Whoever is still asking, asks for what was before.
    stale = stale || requested;
    requested = false;
    place = to;
    position = to.examples;
    under_way.clear();
    ++changes;
  }

  void check_counted() const {
    TORCH_CHECK(
        counted || !has_request(),
        kName,
        ": batches were asked for and nobody counts which were delivered: take "
        "them from an EndlessLoader(loader, sampler), or call delivered() for "
        "each");
  }

  ResumableSamplerOptions options;
  SamplerPlace place;
  // Of this epoch; drawn when the first batch is asked for.
  at::Tensor order;
  int64_t order_epoch = -1;
  // Examples of the epoch that were asked for.
  int64_t position = 0;
  // The sizes of the batches that were asked for and not yet delivered.
  std::deque<int64_t> under_way;
  // Whether anything was asked for since the last move or reset.
  bool requested = false;
  bool stale = false;
  bool counted = false;
  int64_t changes = 0;
  int64_t resets = 0;
};

ResumableSampler::ResumableSampler(const ResumableSamplerOptions& options) {
  check(options);
  state_ = std::make_shared<State>(options);
}

void ResumableSampler::reset(torch::optional<std::size_t> new_size) {
  State& state = *state_;
  ResumableSamplerOptions options = state.options;
  if (new_size) options.size(static_cast<int64_t>(*new_size));
  check(options);
  const bool other_size = options.size() != state.options.size();
  const bool at_start = !state.requested && state.place.examples == 0;
  if (state.requested || is_at_end() || (other_size && !at_start)) {
    state.move({state.place.epoch + 1, 0, 0});
  }
  if (other_size) state.order_epoch = -1;
  state.options = options;
  state.stale = false;
  ++state.resets;
}

torch::optional<std::vector<std::size_t>> ResumableSampler::next(
    std::size_t batch_size) {
  State& state = *state_;
  TORCH_CHECK(batch_size >= 1, kName, ": batch_size must be >= 1, got 0");
  const int64_t left = state.samples() - state.position;
  if (state.stale || left == 0) return torch::nullopt;
  if (state.order_epoch != state.place.epoch) {
    state.order = order_of(state.options, state.place.epoch);
    state.order_epoch = state.place.epoch;
  }
  const int64_t count = std::min<uint64_t>(batch_size, left);
  const int64_t* const order =
      state.order.defined() ? state.order.data_ptr<int64_t>() : nullptr;
  std::vector<std::size_t> indices;
  indices.reserve(count);
  for (int64_t i = state.position; i < state.position + count; ++i) {
    // Unsigned: past the end, where the order begins again, there is room.
    const uint64_t place =
        static_cast<uint64_t>(state.options.rank()) +
        static_cast<uint64_t>(i) *
            static_cast<uint64_t>(state.options.num_replicas());
    const auto index = place % static_cast<uint64_t>(state.options.size());
    indices.push_back(order == nullptr ? index : order[index]);
  }
  state.under_way.push_back(count);
  state.position += count;
  state.requested = true;
  return indices;
}

void ResumableSampler::delivered() {
  State& state = *state_;
  TORCH_CHECK(
      !state.under_way.empty(),
      kName,
      ": no batch is under way to be delivered: the place was changed within "
      "an epoch, or the loader does not use this sampler");
  state.counted = true;
  ++state.place.batches;
  state.place.examples += state.under_way.front();
  state.under_way.pop_front();
}

SamplerPlace ResumableSampler::place() const {
  state_->check_counted();
  return state_->place;
}

void ResumableSampler::set_place(const SamplerPlace& place) {
  check(place, num_samples());
  state_->move(place);
}

int64_t ResumableSampler::num_samples() const { return state_->samples(); }

uint64_t ResumableSampler::seed() const { return state_->options.seed(); }

void ResumableSampler::save(OutputArchive& archive) const {
  const ResumableSamplerOptions& options = state_->options;
  const SamplerPlace at = place();
  detail::write_int(archive, "epoch", at.epoch);
  detail::write_int(archive, "batches", at.batches);
  detail::write_int(archive, "examples", at.examples);
  // A list, since it may be negative as an int64_t.
  detail::write_ints(archive, "seed", {static_cast<int64_t>(options.seed())});
  detail::write_int(archive, "size", options.size());
  detail::write_int(archive, "shuffle", options.shuffle() ? 1 : 0);
  detail::write_int(archive, "num_replicas", options.num_replicas());
  detail::write_int(archive, "drop_last", options.drop_last() ? 1 : 0);
}

void ResumableSampler::load(InputArchive& archive) {
  State& state = *state_;
  check_same(archive, "size", state.options.size());
  check_same(archive, "shuffle", state.options.shuffle() ? 1 : 0);
  check_same(archive, "num_replicas", state.options.num_replicas());
  check_same(archive, "drop_last", state.options.drop_last() ? 1 : 0);
  const auto seed = detail::read_ints(archive, kName, "seed");
  TORCH_CHECK(
      seed.size() == 1,
      kName,
      ": 'seed' of the archive must be one number, got ",
      seed.size());
  SamplerPlace place;
  place.epoch = detail::read_int(archive, kName, "epoch");
  place.batches = detail::read_int(archive, kName, "batches");
  place.examples = detail::read_int(archive, kName, "examples");
  check(place, num_samples());
  const auto its_seed = static_cast<uint64_t>(seed.front());
  if (its_seed != state.options.seed()) state.order_epoch = -1;
  state.options.seed(its_seed);
  state.move(place);
}

void ResumableSampler::attach() { state_->counted = true; }

int64_t ResumableSampler::changes() const { return state_->changes; }

int64_t ResumableSampler::resets() const { return state_->resets; }

bool ResumableSampler::is_at_end() const {
  return state_->place.examples == num_samples();
}

bool ResumableSampler::has_more() const {
  return state_->position < num_samples();
}

void ResumableSampler::skip() {
  if (!state_->under_way.empty()) delivered();
}

void ResumableSampler::end_epoch() {
  state_->move({state_->place.epoch + 1, 0, 0});
}

}  // namespace stepsize
