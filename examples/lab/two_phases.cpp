// The two phases of training: at a high rate the features of a network move,
// towards those that the task needs; at a low one they settle, and the loss
// falls (Leclerc and Madry 2020, "The two regimes of deep network training",
// arXiv:2002.10376).
//
//   two_phases [OUT_DIR]
//
// A student of 24 hidden units learns from a teacher of 4, with noise on the
// labels. How alike two sets of features are is told by linear centered kernel
// alignment: with X and Y the features of the same inputs, a row each, columns
// centered,
//
//   CKA = |Y'X|^2 / (|X'X| |Y'Y|)                        (Frobenius norms)
//
// which rotating or scaling X or Y leaves as it is, and which is 1 where they
// differ in nothing else (Kornblith, Norouzi, Lee, Hinton 2019, "Similarity of
// neural network representations revisited", arXiv:1905.00414, section 3).
//
// Three runs of each seed: the high rate, then a tenth of it; the high rate
// throughout; a tenth of it throughout. Each row holds for all seeds.

#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/report/line_plot.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "lab.h"

namespace {

constexpr int64_t kInputs = 10;
constexpr int64_t kTeacherUnits = 4;
constexpr int64_t kUnits = 24;
constexpr int64_t kBatch = 8;
constexpr double kLabelNoise = 0.5;
constexpr double kHigh = 0.1;
constexpr double kDecay = 0.1;
constexpr int kUpdates = 3000;
constexpr int kDecayAt = 2000;
constexpr int kInterval = 100;
constexpr int kSeeds = 5;

double linear_cka(torch::Tensor x, torch::Tensor y) {
  x = x - x.mean(0);
  y = y - y.mean(0);
  const auto norm = [](const torch::Tensor& m) {
    return m.norm().item<double>();
  };
  const double cross = norm(y.t().mm(x));
  return cross * cross / (norm(x.t().mm(x)) * norm(y.t().mm(y)));
}

// A hidden layer of tanh and a linear one.
struct Net {
  Net(int64_t units, double scale) : hidden(kInputs, units), output(units, 1) {
    hidden->to(torch::kDouble);
    output->to(torch::kDouble);
    torch::NoGradGuard no_grad;
    hidden->weight.mul_(scale);
  }
  torch::Tensor features(const torch::Tensor& x) {
    return torch::tanh(hidden(x));
  }
  torch::Tensor operator()(const torch::Tensor& x) {
    return output(features(x)).squeeze(1);
  }

  torch::nn::Linear hidden;
  torch::nn::Linear output;
};

// Measured every kInterval updates, on inputs that are not trained on.
struct Run {
  std::vector<double> teacher;  // CKA of the student with the teacher
  std::vector<double> moved;    // 1 - CKA with itself kInterval updates ago
  std::vector<double> losses;   // without the noise of labels
};

Run train(int seed, double rate, const std::string& schedule) {
  torch::manual_seed(seed);
  torch::NoGradGuard no_grad;
  Net teacher(kTeacherUnits, 5);
  Net student(kUnits, 1);
  teacher.output->weight.copy_(
      torch::tensor({{1.0, -1.0, 1.0, -1.0}}, torch::kDouble));
  const auto inputs = [](int64_t count) {
    return torch::randn({count, kInputs}, torch::kDouble);
  };
  const auto probes = inputs(500);
  const auto target = teacher(probes);
  const auto target_features = teacher.features(probes);
  auto parameters = student.hidden->parameters();
  for (const auto& parameter : student.output->parameters()) {
    parameters.push_back(parameter);
  }
  torch::optim::SGD sgd(parameters, rate);
  stepsize::ScheduleLR scheduler(sgd, schedule);

  Run run;
  torch::Tensor before = student.features(probes);
  for (int update = 0; update <= kUpdates; ++update) {
    if (update % kInterval == 0) {
      const auto features = student.features(probes);
      run.teacher.push_back(linear_cka(features, target_features));
      run.moved.push_back(1 - linear_cka(features, before));
      run.losses.push_back(
          torch::mse_loss(student(probes), target).item<double>());
      before = features;
    }
    const auto x = inputs(kBatch);
    const auto labels =
        teacher(x) + kLabelNoise * torch::randn({kBatch}, torch::kDouble);
    const torch::AutoGradMode with_gradient(true);
    stepsize::lab::update(
        sgd, [&] { return torch::mse_loss(student(x), labels); });
    scheduler.step();
  }
  return run;
}

// The mean over the intervals from update `first`, not included, to `last`.
double mean(const std::vector<double>& values, int first, int last) {
  double sum = 0;
  for (int i = first / kInterval + 1; i <= last / kInterval; ++i) {
    sum += values.at(static_cast<std::size_t>(i));
  }
  return sum / ((last - first) / kInterval);
}

// Answers that are known: a rotation, a multiple, another offset; and k of p
// columns that are orthonormal, sqrt(k / p).
void check_cka(stepsize::lab::Lab& lab) {
  torch::manual_seed(0);
  const auto x = torch::randn({200, 8}, torch::kDouble);
  const auto rotation =
      std::get<0>(torch::linalg_qr(torch::randn({8, 8}, torch::kDouble)));
  lab.expect_near(
      "CKA of X and 3 X Q + 1",
      1,
      linear_cka(x, 3 * x.mm(rotation) + 1),
      1e-12);
  const auto centered = x - x.mean(0);
  const auto columns = std::get<0>(torch::linalg_qr(centered));
  lab.expect_near(
      "CKA of 8 orthonormal columns and 2",
      0.5,
      linear_cka(columns, columns.narrow(1, 0, 2)),
      1e-12);
  lab.expect_near(
      "  and of 4 with the other 4",
      0,
      linear_cka(columns.narrow(1, 0, 4), columns.narrow(1, 4, 4)),
      1e-12);
}

// A row for the least and one for the most that the seeds have.
void expect_all(
    stepsize::lab::Lab& lab,
    const std::string& what,
    double lo,
    double hi,
    const std::vector<double>& of_seeds) {
  const auto [least, most] = stepsize::lab::extremes(of_seeds);
  lab.expect_between(what + ", least", lo, hi, least);
  lab.expect_between("  most", lo, hi, most);
}

// What a run has after update kDecayAt over what it had before.
struct Quotients {
  std::vector<double> moved;
  std::vector<double> losses;

  void add(const Run& run) {
    moved.push_back(
        mean(run.moved, kDecayAt, kUpdates) / mean(run.moved, 1000, kDecayAt));
    // The loss takes a while to come down.
    losses.push_back(
        mean(run.losses, 2500, kUpdates) / mean(run.losses, 1000, kDecayAt));
  }
};

void experiment(stepsize::lab::Lab& lab) {
  check_cka(lab);
  stepsize::LinePlot alike("Features find the teacher's at the high rate ...");
  alike.x_label("update").y_label("CKA with the teacher").y_range(0.3, 1);
  stepsize::LinePlot losses("... and the loss falls at the low one");
  losses.x_label("update").y_label("loss without the noise").y_log();
  alike.mark(kDecayAt, "decay");
  losses.mark(kDecayAt, "decay");

  std::vector<double> gained_late;
  std::vector<double> distance;
  Quotients with_decay;
  Quotients without;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Run decayed = train(
        seed,
        kHigh,
        "constant for " + std::to_string(kDecayAt) + " > constant 0.1");
    const Run high = train(seed, kHigh, "constant");
    const Run low = train(seed, kHigh * kDecay, "constant");
    const auto at = static_cast<std::size_t>(kDecayAt / kInterval);
    const double early = decayed.teacher[at] - decayed.teacher[0];
    gained_late.push_back(
        (decayed.teacher.back() - decayed.teacher[at]) / early);
    distance.push_back((1 - high.teacher[at]) / (1 - low.teacher[at]));
    with_decay.add(decayed);
    without.add(high);

    std::vector<double> updates(decayed.teacher.size());
    for (std::size_t i = 0; i < updates.size(); ++i) {
      updates[i] = static_cast<double>(i) * kInterval;
    }
    alike.line("0.1, then 0.01", updates, decayed.teacher);
    alike.line("0.01 throughout", updates, low.teacher);
    losses.line("0.1, then 0.01", updates, decayed.losses);
    losses.line("0.1 throughout", updates, high.losses);
  }

  // After the decay are 1 / 20 of all that the rates add up to, and the
  // features change less and less.
  const double late = kDecay * (kUpdates - kDecayAt) / kDecayAt;
  expect_all(lab, "CKA gained after the decay", -late, late, gained_late);
  // A choice, not theory: less than half as far from the teacher.
  expect_all(lab, "1 - CKA, high rate over low", 0, 0.5, distance);
  // 1 - CKA is quadratic in a small move. In kInterval updates a drift, or
  // noise that nothing holds back, moves by squares of lr^2, and noise in
  // balance by lr. The decay is to leave something between the two.
  expect_all(
      lab,
      "moved, after / before decay",
      kDecay * kDecay,
      kDecay,
      with_decay.moved);
  expect_all(lab, "  no decay", 0.5, 2, without.moved);
  // The loss that noise holds up goes as lr; within a factor of two.
  expect_all(
      lab,
      "loss, after / before decay",
      kDecay / 2,
      kDecay * 2,
      with_decay.losses);
  expect_all(lab, "  no decay", 0.4, 2, without.losses);
  lab.draw("two_phases", alike);
  lab.draw("two_phases_loss", losses);
}

}  // namespace

int main(int argc, char** argv) {
  return stepsize::lab::run(
      argc, argv, "The two phases of training", experiment);
}
