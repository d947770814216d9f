// A whole trainer in one file, to be copied: augmentation, SGD with momentum
// and clipping, warm-up and cosine, a test an epoch, and checkpoints from which
// a run that was stopped goes on bit for bit.
//
//     cifar FOLDER [CIFAR-10'S BINARY FOLDER | TRAINING IMAGES]
//
// FOLDER gets the checkpoints; started again, the run in it goes on. Without
// CIFAR-10 (data_batch_1.bin ... test_batch.bin) it takes Fashion-MNIST.
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "fashion_mnist.h"

namespace {

constexpr int64_t kEpochs = 10;
constexpr int64_t kBatch = 128;

// Records of a label and 3 x 32 x 32 values.
recipes::Images cifar10(const std::vector<std::string>& files) {
  constexpr int64_t kRecord = 1 + 3 * 32 * 32;
  std::vector<torch::Tensor> parts;
  for (const auto& name : files) {
    std::ifstream file(name, std::ios::binary);
    if (!file) continue;  // those that are there will do
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    parts.push_back(torch::from_blob(
                        const_cast<char*>(bytes.data()),
                        {int64_t(bytes.size()) / kRecord, kRecord},
                        torch::kByte)
                        .clone());
  }
  TORCH_CHECK(!parts.empty(), "there is no ", files.front());
  const auto records = torch::cat(parts);
  const auto pixels =
      records.slice(1, 1).to(torch::kFloat).view({-1, 3, 32, 32});
  return {(pixels - 120.7) / 64.2, records.select(1, 0).to(torch::kInt64)};
}

// Each image mirrored or not, and moved by up to 4 pixels.
torch::Tensor augmented(const torch::Tensor& images) {
  constexpr int64_t kMove = 4;
  const int64_t size = images.size(2);
  const auto flips = torch::rand({images.size(0), 1, 1, 1}) < 0.5;
  const auto padded = torch::constant_pad_nd(
      torch::where(flips, images.flip(3), images),
      {kMove, kMove, kMove, kMove});
  const auto moves =
      torch::randint(2 * kMove + 1, {2, images.size(0)}, torch::kInt64);
  const auto* move = moves.data_ptr<int64_t>();
  std::vector<torch::Tensor> result;
  for (int64_t i = 0; i < images.size(0); ++i) {
    result.push_back(padded[i]
                         .narrow(1, move[i], size)
                         .narrow(2, move[images.size(0) + i], size));
  }
  return torch::stack(result);
}

torch::nn::Sequential make_model(int64_t channels) {
  torch::nn::Sequential model;
  for (const int64_t width : {32, 64, 128}) {
    model->push_back(torch::nn::Conv2d(
        torch::nn::Conv2dOptions(channels, width, 3).padding(1).bias(false)));
    model->push_back(torch::nn::BatchNorm2d(width));
    model->push_back(torch::nn::ReLU());
    model->push_back(torch::nn::MaxPool2d(2));
    channels = width;
  }
  model->push_back(torch::nn::AdaptiveAvgPool2d(1));
  model->push_back(torch::nn::Flatten());
  model->push_back(torch::nn::Linear(channels, 10));
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: cifar FOLDER [CIFAR-10 | TRAINING IMAGES]\n";
    return 2;
  }
  const std::string data = argc > 2 ? argv[2] : "60000";
  recipes::Images train;
  recipes::Images test;
  if (std::filesystem::is_directory(data)) {
    std::vector<std::string> files;
    for (const char* number : {"1", "2", "3", "4", "5"}) {
      files.push_back(data + "/data_batch_" + number + ".bin");
    }
    train = cifar10(files);
    test = cifar10({data + "/test_batch.bin"});
  } else {
    train = recipes::fashion_mnist(true, std::atoll(data.c_str()));
    test = recipes::fashion_mnist(false, train.size());
  }

  torch::manual_seed(0);
  auto model = make_model(train.pixels.size(1));
  // No weight decay for norms and biases.
  stepsize::ParamGroups groups(
      *model,
      stepsize::ClippedSGDOptions(0.1)
          .momentum(0.9)
          .nesterov(true)
          .weight_decay(5e-4)
          .max_norm(2));
  groups.no_decay_for_norms_and_biases();
  auto optimizer = groups.make_optimizer<stepsize::ClippedSGD>();
  const double updates_per_epoch = double((train.size() + kBatch - 1) / kBatch);
  stepsize::ScheduleLR scheduler(
      optimizer,
      "warmup 1ep > cosine",
      {updates_per_epoch, double(kEpochs) * updates_per_epoch});

  // All that a run goes by; the random numbers come along by themselves.
  int64_t epoch = 0;
  stepsize::Checkpoint checkpoint;
  checkpoint.module("model", *model)
      .optimizer("optimizer", optimizer)
      .state("scheduler", scheduler)
      .counter("epoch", epoch);
  stepsize::CheckpointFolder folder(argv[1]);
  if (folder.load_latest(checkpoint)) {
    std::printf("going on after epoch %d\n", int(epoch));
  }

  std::printf("epoch    rate    loss   right  clipped\n");
  while (epoch < kEpochs) {
    const auto order = torch::randperm(train.size());
    double loss_sum = 0;
    for (int64_t i = 0; i < train.size(); i += kBatch) {
      const auto batch = train.at(order.slice(0, i, i + kBatch));
      optimizer.zero_grad();
      const auto loss = torch::nn::functional::cross_entropy(
          model->forward(augmented(batch.pixels)), batch.labels);
      loss.backward();
      optimizer.step();
      scheduler.step();
      loss_sum += loss.item<double>();
    }
    const double right = recipes::accuracy(model, test);
    ++epoch;
    std::printf(
        "%5d  %.4f  %.4f  %.4f  %7d\n",
        int(epoch),
        scheduler.get_last_lr()[0],
        loss_sum / updates_per_epoch,
        right,
        int(optimizer.clipped_steps()));
    std::fflush(stdout);
    // The best is that with the lowest metric.
    folder.save(epoch, checkpoint, /*metric=*/1 - right);
  }
  return 0;
}
