#include "examples/trainer/loop/tested_ensemble.h"

#include <stepsize/adaptive/averaged_model.h>
#include <torch/torch.h>

#include <cstddef>

#include "examples/trainer/loop/tested_weights.h"
#include "examples/trainer/loop/update_reader.h"

namespace stepsize::trainer {
namespace {

// Logits [N, classes] in float64 and labels [N] of all test images, those of
// this rank; nothing where it was stopped.
struct Outputs {
  torch::Tensor logits;
  torch::Tensor labels;
};
std::optional<Outputs> outputs_of(
    ImageModel& model,
    BatchSource& source,
    const std::function<bool()>& should_stop) {
  const torch::NoGradGuard no_grad;
  const bool was_training = model.is_training();
  model.eval();
  std::vector<torch::Tensor> logits;
  std::vector<torch::Tensor> labels;
  bool stopped = false;
  source.start_epoch();
  while (const auto batch = source.next()) {
    stopped = should_stop && should_stop();
    if (stopped) {
      break;
    }
    if (batch->labels.size(0) > 0) {
      const auto autocast = model.autocast(batch->images);
      logits.push_back(
          model.forward(batch->images).to(torch::kCPU, torch::kFloat64));
      labels.push_back(batch->labels.cpu());
    }
  }
  model.train(was_training);
  if (stopped) {
    return std::nullopt;
  }
  if (logits.empty()) {
    return Outputs{};
  }
  return Outputs{torch::cat(logits), torch::cat(labels)};
}

// `logs`: the logarithms of the probabilities.
TestResult result_of(
    const torch::Tensor& logs,
    const torch::Tensor& labels,
    std::int64_t images,
    Reduction* ranks) {
  auto sums = torch::zeros({2}, torch::kFloat64);
  if (logs.defined()) {
    sums[0] = -logs.gather(1, labels.unsqueeze(1)).sum();
    sums[1] = logs.argmax(1).eq(labels).sum();
  }
  if (ranks != nullptr) {
    ranks->sum(sums);
  }
  sums /= static_cast<double>(images);
  return {without_sign_of_nan(sums[0].item<double>()), sums[1].item<double>()};
}

}  // namespace

std::optional<std::vector<EnsembleRow>> test_ensemble(
    SnapshotEnsemble& ensemble,
    ImageModel& model,
    BatchSource& test,
    BatchSource& statistics,
    const std::function<bool()>& should_stop,
    Reduction* ranks) {
  std::vector<EnsembleRow> rows;
  AveragedModel weights(model);
  torch::Tensor probabilities;
  torch::Tensor labels;
  for (std::size_t i = 0; i < ensemble.size(); ++i) {
    const SnapshotWeights snapshot(ensemble, i);
    weights.update();
    // One pass serves both the snapshot and the mean of predictions.
    const auto outputs = outputs_of(model, test, should_stop);
    if (!outputs) {
      return std::nullopt;
    }
    labels = outputs->labels;
    torch::Tensor logs;
    if (labels.defined()) {
      logs = outputs->logits.log_softmax(1);
      const auto own = logs.exp();
      probabilities = probabilities.defined() ? probabilities + own : own;
    }
    rows.push_back(
        {"snapshot " + std::to_string(i + 1),
         result_of(logs, labels, test.size(), ranks)});
  }
  const auto count = static_cast<double>(ensemble.size());
  rows.push_back(
      {"mean of their predictions",
       result_of(
           labels.defined() ? (probabilities / count).log() : labels,
           labels,
           test.size(),
           ranks)});

  weights.renew_batch_norm(
      model, [&] { forward_some(model, statistics, should_stop); });
  const AveragedWeights averaged(weights);
  const auto result = evaluate(model, test, should_stop, ranks);
  if (!result) {
    return std::nullopt;
  }
  rows.push_back({"mean of their weights", *result});
  return rows;
}

}  // namespace stepsize::trainer
