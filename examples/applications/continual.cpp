// Tasks in a row: Fashion-MNIST upright, then turned by 90, 180 and 270
// degrees, other images each time. One network learns them one after the other
// and is tested on all. What should the rate do where a new task begins?
//
//   constant    stays where it is
//   held low    one cosine in the first task, then its floor
//   fresh       the cosine again, at once from its peak
//   rewarmed    a warm-up, then the cosine again (Ibrahim et al. 2024, "Simple
//               and Scalable Strategies to Continually Pre-train Large Language
//               Models")
//   branched    constant; when a model is wanted a copy of the run is cooled
//               down, and the run itself goes on from before (Haegele et al.
//               2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed
//               Training Durations")
//
// With replay, a twentieth of each batch is images of earlier tasks. The first
// row has all tasks mixed from the start: the best that can be hoped for.
//
//     continual [IMAGES A TASK [FOLDER FOR THE PICTURE]]
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "../recipes/fashion_mnist.h"
#include "outcome.h"

namespace {

using applications::say;

constexpr int64_t kTasks = 4;
constexpr int64_t kBatch = 64;
constexpr int64_t kEpochs = 2;
constexpr int64_t kReplayed = 3;  // images of each batch
constexpr double kRate = 2e-3;
constexpr double kFloor = 0.05;

struct Way {
  std::string name;
  stepsize::Schedule schedule;  // of all tasks
  int64_t replayed = 0;
  bool branches = false;
  bool mixed = false;
};

struct Result {
  // right[k][j]: the share of task j's test images, after task k.
  torch::Tensor right = torch::zeros({kTasks, kTasks}, torch::kDouble);
  // Of the first task's, along the run.
  std::vector<double> updates;
  std::vector<double> first_task;
  torch::Tensor weights;

  // Each task just after it; what is lost of it until the end, the last one
  // aside; all tasks at the end.
  torch::Tensor summary() const {
    const auto learned = right.diag();
    const auto kept = right[kTasks - 1];
    const auto lost = (learned - kept).slice(0, 0, kTasks - 1);
    return torch::stack({learned.mean(), lost.mean(), kept.mean()});
  }
};

recipes::Images turned(const recipes::Images& images, int64_t task) {
  return {torch::rot90(images.pixels, task, {2, 3}), images.labels};
}

Result run(
    const Way& way,
    const recipes::Images& train,
    const std::vector<recipes::Images>& tests,
    uint64_t seed) {
  torch::manual_seed(seed);
  torch::nn::Sequential model(
      torch::nn::Flatten(),
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 10));
  stepsize::ClippedAdamW optimizer(
      model->parameters(), stepsize::ClippedAdamWOptions(kRate));
  stepsize::ScheduleLR scheduler(optimizer, way.schedule);
  const int64_t images = train.size() / kTasks;
  const int64_t length = kEpochs * images / kBatch;
  const int64_t cooldown = length / 5;

  // A batch depends on the number of the update alone: a branch is trained on
  // those that the run itself will come to.
  const auto make_update = [&](int64_t update) {
    torch::manual_seed(1000003 * (seed + 1) + uint64_t(update));
    const int64_t task = update / length;
    std::vector<torch::Tensor> pixels;
    std::vector<torch::Tensor> labels;
    const auto draw = [&](int64_t from, int64_t count) {
      const auto index = torch::randint(images, {count}, torch::kInt64);
      const auto part = turned(train.at(index + from * images), from);
      pixels.push_back(part.pixels);
      labels.push_back(part.labels);
    };
    if (way.mixed) {
      for (int64_t j = 0; j < kTasks; ++j) draw(j, kBatch / kTasks);
    } else {
      const int64_t replayed = task > 0 ? way.replayed : 0;
      draw(task, kBatch - replayed);
      for (int64_t i = 0; i < replayed; ++i) draw((update + i) % task, 1);
    }
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        model->forward(torch::cat(pixels)), torch::cat(labels))
        .backward();
    optimizer.step();
  };

  Result result;
  const auto test_all = [&](int64_t task) {
    for (int64_t j = 0; j < kTasks; ++j) {
      result.right[task][j] = recipes::accuracy(model, tests[std::size_t(j)]);
    }
  };
  for (int64_t update = 0; update < kTasks * length; ++update) {
    const int64_t task = update / length;
    const int64_t to_come = (task + 1) * length - update;
    if (way.branches && to_come == cooldown) {
      stepsize::OptimizerSnapshot before(optimizer);
      stepsize::ScheduleLR branch(
          optimizer,
          stepsize::cooldown(cooldown, stepsize::CooldownShape::kSqrt));
      for (int64_t i = 0; i < cooldown; ++i) {
        make_update(update + i);
        branch.step();
      }
      test_all(task);
      before.restore();
    }
    make_update(update);
    scheduler.step();
    if (to_come == 1 && !way.branches) test_all(task);
    if (update % (length / 10) == 0) {
      result.updates.push_back(double(update + 1));
      result.first_task.push_back(recipes::accuracy(model, tests[0]));
    }
  }
  result.weights =
      torch::nn::utils::parameters_to_vector(model->parameters()).detach();
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t images = recipes::argument(argc, argv, 12000, 500);
  const uint64_t seeds = images < 6000 ? 1 : 3;
  const auto train = recipes::fashion_mnist(true, kTasks * images);
  std::vector<recipes::Images> tests;
  for (int64_t j = 0; j < kTasks; ++j) {
    tests.push_back(turned(recipes::fashion_mnist(false, 2000), j));
  }

  const auto length = double(kEpochs * images / kBatch);
  const double climb = std::floor(length / 10);
  const auto climbing = stepsize::warmup(climb);
  const auto once = climbing.then(stepsize::cosine(length - climb, kFloor));
  const auto again = stepsize::cosine(length, kFloor).repeat();
  const auto all = stepsize::cosine(kTasks * length - climb, kFloor);
  const std::vector<Way> ways{
      {"all tasks mixed", climbing.then(all), 0, false, true},
      {"constant", climbing},
      {"held low", once},
      {"fresh", once.then(again)},
      {"rewarmed", once.repeat(kTasks)},
      {"branched", climbing, 0, true},
      {"constant, replay", climbing, kReplayed},
      {"rewarmed, replay", once.repeat(kTasks), kReplayed},
      {"branched, replay", climbing, kReplayed, true}};
  std::printf(
      "%d tasks of %d updates. Shares of the test images that are told right,\n"
      "mean and deviation of %d seeds:\n\n"
      "                   each task        lost until       all tasks\n"
      "rate               just after it    the end          at the end\n",
      int(kTasks),
      int(length),
      int(seeds));
  std::map<std::string, std::vector<Result>> results;
  std::map<std::string, torch::Tensor> summaries;  // [seed, 3]
  for (const auto& way : ways) {
    std::vector<torch::Tensor> rows;
    for (uint64_t seed = 0; seed < seeds; ++seed) {
      results[way.name].push_back(run(way, train, tests, seed));
      rows.push_back(results[way.name].back().summary());
    }
    const auto& summary = summaries[way.name] = torch::stack(rows);
    const auto mean = summary.mean(0);
    const auto deviation = summary.std(0, /*unbiased=*/seeds > 1);
    std::printf("%-17s", way.name.c_str());
    for (int64_t i = 0; i < 3; ++i) {
      std::printf(
          "  %.3f +- %.3f",
          mean[i].item<double>(),
          deviation[i].item<double>());
    }
    std::printf("\n");
    std::fflush(stdout);
  }

  if (argc > 2) {
    stepsize::LinePlot plot("The first task, while others follow (first seed)");
    plot.x_label("update").y_label("told right").y_range(0, 1);
    for (const char* name : {"rewarmed", "rewarmed, replay", "held low"}) {
      const auto& result = results[name][0];
      plot.line(name, result.updates, result.first_task);
    }
    const auto& trunk = results["branched, replay"][0];
    plot.line("constant, replay", trunk.updates, trunk.first_task);
    for (int64_t j = 0; j < kTasks; ++j) {
      const double right = trunk.right[j][0].item<double>();
      plot.points("branches of it", {double(j + 1) * length}, {right});
      if (j > 0) plot.mark(double(j) * length, std::to_string(90 * j) + "°");
    }
    applications::write_picture(argc, argv, "continual", plot);
  }

  bool same = true;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    same = same && results["branched"][seed].weights.equal(
                       results["constant"][seed].weights);
  }
  // With every seed.
  const auto less = [&](const char* a, const char* b, int64_t column) {
    return (summaries[a] < summaries[b]).select(1, column).all().item<bool>();
  };
  const bool cooled = less("constant", "branched", 0);
  const bool kept = less("rewarmed, replay", "rewarmed", 1);
  std::printf("\nWith every seed\n");
  say("  the branches left the constant run as it was, bit for bit", same);
  say("  a cooled branch knows its task better than the run it left", cooled);
  say("  " + std::to_string(kReplayed) + " replayed images of " +
          std::to_string(kBatch) + " keep more of the earlier tasks",
      kept);
  return same && cooled && kept ? 0 : 1;
}
