// A run that may be killed at any time: started again, it goes on from its last
// checkpoint and ends with the weights that it would have had, bit for bit.
//
//     resume FOLDER [--workers N] [--die-at UPDATE]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

namespace {

constexpr int64_t kEpochs = 4;

// The two arms of a spiral: points [N, 2] and the arm of each, [N].
torch::data::datasets::TensorDataset spiral() {
  const auto number = torch::arange(1000);
  const auto arm = number.remainder(2).to(torch::kFloat);
  const auto distance = 6 * ((number + 1) / 1000.0).sqrt();
  const auto angle = distance + 3.14159265 * arm;
  return torch::data::datasets::TensorDataset(
      torch::stack({distance * angle.cos(), distance * angle.sin(), arm}, 1));
}

int run(const std::string& folder, std::size_t workers, int64_t die_at) {
  torch::manual_seed(0);
  using torch::nn::Linear;
  torch::nn::Sequential model(
      Linear(2, 32), torch::nn::Tanh(), torch::nn::Dropout(0.1), Linear(32, 2));
  torch::optim::Adam optimizer(model->parameters(), /*lr=*/0.02);
  stepsize::ScheduleLR scheduler(
      optimizer, stepsize::warmup(1).then(stepsize::cosine(kEpochs)));

  // The sampler goes to the loader, to the source of batches that counts what
  // the loader has delivered, and into the checkpoint.
  auto dataset = spiral();
  stepsize::ResumableSampler sampler(
      stepsize::ResumableSamplerOptions(dataset.size().value()).seed(1));
  stepsize::EndlessLoader batches(
      torch::data::make_data_loader(
          dataset.map(
              torch::data::transforms::Stack<torch::data::TensorExample>()),
          sampler,
          torch::data::DataLoaderOptions(32).workers(workers)),
      sampler);

  int64_t step = 0;
  stepsize::Checkpoint checkpoint;
  checkpoint.module("model", *model)
      .optimizer("optimizer", optimizer)
      .state("scheduler", scheduler)
      .state("sampler", sampler)
      .counter("step", step);
  stepsize::CheckpointFolder checkpoints(folder);
  if (checkpoints.load_latest(checkpoint)) {
    std::cout << "update " << step << ": going on in epoch " << batches.epoch()
              << ", after " << batches.batches() << " batches" << std::endl;
  }

  while (batches.epoch() < kEpochs) {
    while (auto batch = batches.next_in_epoch()) {
      const auto points = batch->data.narrow(1, 0, 2);
      const auto arms = batch->data.select(1, 2).to(torch::kInt64);
      optimizer.zero_grad();
      const auto loss =
          torch::nn::functional::cross_entropy(model->forward(points), arms);
      loss.backward();
      optimizer.step();
      if (++step == die_at) std::raise(SIGKILL);
      if (step % 8 == 0) checkpoints.save(step, checkpoint);
    }
    scheduler.step();
    std::cout << "epoch " << batches.epoch() << ", update " << step
              << std::endl;
  }

  std::ofstream weights(folder + "/weights", std::ios::binary);
  for (const auto& parameter : model->parameters()) {
    weights.write(
        static_cast<const char*>(parameter.data_ptr()),
        static_cast<std::streamsize>(parameter.nbytes()));
  }
  return weights ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder;
  std::size_t workers = 2;
  int64_t die_at = -1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--workers" && i + 1 < argc) {
      workers = std::strtoul(argv[++i], nullptr, 10);
    } else if (argument == "--die-at" && i + 1 < argc) {
      die_at = std::strtoll(argv[++i], nullptr, 10);
    } else {
      folder = argument;
    }
  }
  if (folder.empty()) {
    std::cerr << "usage: resume FOLDER [--workers N] [--die-at UPDATE]\n";
    return 2;
  }
  return run(folder, workers, die_at);
}
