#include "examples/trainer/data/run_images.h"

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {

TrainTestSets load_images(const TrainOptions& options, std::ostream& out) {
  TrainTestSets sets = load_sets(options.dataset, options.data_dir);
  for (const auto& note : sets.notes) {
    out << note << '\n';
  }
  if (options.limit_train > sets.train.size()) {
    out << "--limit-train " << options.limit_train << ": there are "
        << counted(sets.train.size(), "image") << '\n';
  } else if (options.limit_train > 0) {
    sets.train.images = sets.train.images.narrow(0, 0, options.limit_train);
    sets.train.labels = sets.train.labels.narrow(0, 0, options.limit_train);
  }
  return sets;
}

BatchSource train_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device) {
  constexpr std::int64_t kCropPadding = 4;
  BatchSourceOptions source;
  source.batch_size = options.batch_size;
  source.shuffle = true;
  source.seed = options.seed;
  source.flip = options.augment != "none";
  source.padding = options.augment == "crop-flip" ? kCropPadding : 0;
  source.ranks = options.world_size;
  source.rank = options.rank;
  return {sets.train, normalization, source, device};
}

BatchSource statistics_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device) {
  TrainOptions plain = options;
  plain.augment = "none";
  return train_source(sets, normalization, plain, device);
}

BatchSource test_source(
    const TrainTestSets& sets,
    const Normalization& normalization,
    const TrainOptions& options,
    torch::Device device) {
  BatchSourceOptions source;
  source.ranks = options.world_size;
  source.rank = options.rank;
  // On a CPU a batch's activations should stay in the caches.
  source.batch_size = device.is_cpu() ? 100 : 1000;
  return {sets.test, normalization, source, device};
}

}  // namespace stepsize::trainer
