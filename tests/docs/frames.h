#pragma once

// What the fragments on the pages take for granted; scripts/docs_code.py says
// how they come here. Nothing here runs: a frame is never made, and has members
// that are declared only.

#include <stepsize/stepsize.h>
#include <stepsize/tensorboard/event_writer.h>
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace fragments {

struct Batch {
  torch::Tensor data;
  torch::Tensor target;
};

/// The training loop that docs/README.md describes.
struct LoopFrame {
  torch::nn::Sequential& model;
  torch::optim::SGD& optimizer;
  stepsize::ScheduleLR& scheduler;
  torch::Tensor inputs;
  torch::Tensor targets;
  std::vector<Batch>* loader;
  int64_t step;
  int64_t updates;
  int64_t epochs;

  torch::Tensor next_inputs();
  torch::Tensor next_labels();
  torch::Tensor next_loss();
  std::function<torch::Tensor()> closure;
};

struct CheckpointFrame : LoopFrame {
  stepsize::Checkpoint& checkpoint;
};

struct CurvatureFrame : LoopFrame {
  struct Part {
    int64_t size() const;
  };
  stepsize::LinearOperator& hessian;
  stepsize::TensorVector v;
  std::vector<Part> micro_batches;
  torch::Tensor loss_of(const Part& part);
  torch::Tensor watched_loss();
  torch::Tensor loss_of_batch();
  void make_an_update();
  torch::Tensor loss_tensor;
  stepsize::TensorVector parameters;
};

torch::Tensor share_of_batch(int64_t step, int64_t rank, int64_t world_size);
torch::Tensor loss_of(torch::nn::Linear& model, const torch::Tensor& rows);
torch::Tensor loss_of(torch::nn::Sequential& model, const torch::Tensor& rows);

struct DataFrame : LoopFrame {
  using Dataset = torch::data::datasets::MapDataset<
      torch::data::datasets::MNIST,
      torch::data::transforms::Stack<>>;
  using Sampler = stepsize::ResumableSampler;
  using Loader = torch::data::StatelessDataLoader<Dataset, Sampler>;

  Dataset& dataset;
  Loader* loader;
  Sampler& sampler;
  stepsize::EndlessLoader<Loader>& batches;
  stepsize::LRRangeTestOptions options;
  int64_t world_size;
  int64_t rank;
  void train(const torch::data::Example<>& batch);
  void validate();
  torch::Tensor backward_of(const torch::data::Example<>& batch);
};

struct DistributedFrame : LoopFrame {
  std::shared_ptr<stepsize::Reduction> ranks;
  torch::Tensor share;
  double momentum;
  stepsize::GradientNoiseScale& noise;
  torch::Tensor loss;
};

struct LrSchedulerFrame : LoopFrame {
  void train_one_batch(
      torch::nn::Sequential& model, torch::optim::Optimizer& optimizer);
  void train(torch::nn::Sequential& model, torch::optim::Optimizer& optimizer);
  double validation_loss;
  std::vector<torch::Tensor> head_parameters;
};

struct CurvatureLRFrame : LoopFrame {
  stepsize::CurvatureLR& scheduler;
  std::vector<torch::Tensor> micro_batches;
  torch::Tensor loss_of(const torch::Tensor& part);
};

/// An optimizer that the library does not know.
struct OtherOptimizerFrame {
  struct OtherOptions : torch::optim::OptimizerCloneableOptions<OtherOptions> {
    double beta1() const;
    void beta1(double value);
  };
  torch::optim::Optimizer& other;
};

struct OptimizersFrame : LoopFrame {
  std::shared_ptr<torch::nn::Module> transformer;
};

struct ReportFrame {
  using EventWriter = stepsize::EventWriter;
  stepsize::LinePlot& plot;
};

struct SchedulesFrame {
  stepsize::Schedule schedule;
};

struct TuningFrame : LoopFrame {
  stepsize::LRRangeTestResult& result;
  torch::optim::AdamW& adamw;
  void train(int64_t micro_batch, int64_t accumulation);
  void train_epoch();
  double validation_loss();
};

struct SearchFrame {
  torch::nn::Linear make_model();
  void train_epoch(
      torch::nn::Linear& model,
      torch::optim::Optimizer& optimizer,
      stepsize::ScheduleLR& scheduler);
  double validation_loss(torch::nn::Linear& model);
};

}  // namespace fragments
