// The code of docs/curvature.md, word for word: scripts/check_docs.py looks for
// each of its blocks here.

#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/curvature_meter.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <stepsize/curvature/power_iteration.h>
#include <stepsize/curvature/spectral_density.h>
#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/tune/curvature_report.h>
#include <torch/torch.h>

#include <cstddef>
#include <filesystem>
#include <iostream>
#include <vector>

namespace stepsize {
namespace {

struct Part {
  torch::Tensor inputs;
  torch::Tensor targets;
  int64_t size() const { return inputs.size(0); }
};

// Says what the code prints.
class Printed {
 public:
  Printed() { testing::internal::CaptureStdout(); }
  std::string text() { return testing::internal::GetCapturedStdout(); }
};

TEST(CurvatureCode, IsTrue) {
  torch::manual_seed(1);
  torch::nn::Sequential model(
      torch::nn::Linear(4, 6), torch::nn::Tanh(), torch::nn::Linear(6, 3));
  model->to(torch::kDouble);
  const auto inputs = torch::randn({24, 4}, torch::kDouble);
  const auto targets = torch::randint(3, {24}, torch::kLong);
  Printed printed;

  auto loss = [&] {
    return torch::cross_entropy_loss(model->forward(inputs), targets);
  };
  auto hessian = hessian_operator(
      loss, model->parameters(), HessianOptions().buffers(model->buffers()));
  auto top = power_iteration(hessian);
  std::cout << "largest eigenvalue " << top.value << " +- " << top.residual
            << ", " << to_string(top.status) << '\n';
  double limit = max_stable_lr(top.magnitude, /*momentum=*/0.9);
  EXPECT_DOUBLE_EQ(limit, 3.8 / top.magnitude);

  TensorVector v;
  for (const auto& parameter : model->parameters()) {
    v.push_back(torch::randn_like(parameter));
  }
  {
    TensorVector product = hessian.apply(v);
    hessian.products();   // how many so far
    hessian.dimension();  // elements of a vector
    EXPECT_EQ(product.size(), v.size());
    EXPECT_EQ(hessian.products(), top.iterations + 1);
    EXPECT_EQ(hessian.dimension(), 4 * 6 + 6 + 6 * 3 + 3);
  }

  // Two micro-batches of different size make the whole batch.
  const std::vector<Part> micro_batches{
      {inputs.slice(0, 0, 16), targets.slice(0, 0, 16)},
      {inputs.slice(0, 16), targets.slice(0, 16)}};
  const auto loss_of = [&](const Part& part) {
    return torch::cross_entropy_loss(model->forward(part.inputs), part.targets);
  };
  std::vector<WeightedOperator> parts;
  for (const auto& part : micro_batches) {
    parts.push_back(
        {hessian_operator(
             [&] { return loss_of(part); },
             model->parameters(),
             HessianOptions().retain_graph(false)),
         static_cast<double>(part.size())});
  }
  auto whole = mean_operator(parts);
  EXPECT_TRUE(torch::allclose(whole.apply(v)[0], hessian.apply(v)[0]));

  {
    const auto parameters = model->parameters();
    const auto loss_tensor = loss();
    auto from_loss = hessian_operator(loss_tensor, parameters);
    auto gradients = torch::autograd::grad(
        {loss_tensor},
        parameters,
        {},
        /*retain_graph=*/true,
        /*create_graph=*/true);
    auto from_gradients = hessian_operator(gradients, parameters);
    EXPECT_TRUE(
        torch::allclose(from_loss.apply(v)[0], from_gradients.apply(v)[0]));
  }
  {
    const auto& watched_loss = loss;
    CurvatureMeter meter(CurvatureMeterOptions().buffers(model->buffers()));
    for (int step = 0; step < 1000; ++step) {
      if (step % 10 == 0) {
        meter.measure([&] { return watched_loss(); }, model->parameters());
        std::cout << meter.sharpness() << " allows rates up to "
                  << max_stable_lr(meter.sharpness(), /*momentum=*/0.9) << '\n';
      }
      // The update, by any optimizer.
    }
    EXPECT_NEAR(meter.sharpness(), top.magnitude, 0.05 * top.magnitude);
    Checkpoint checkpoint;
    checkpoint.state("meter", meter);
  }
  const auto folder = std::filesystem::temp_directory_path();
  std::filesystem::current_path(folder);
  {
    torch::optim::SGD optimizer(
        model->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9));
    const auto& loss_of_batch = loss;
    // The network stays as it is, so that the answer is known.
    const auto make_an_update = [] {};
    CurvatureMonitor monitor(
        optimizer,
        CurvatureMonitorOptions().every(50).meter(
            CurvatureMeterOptions().buffers(model->buffers())));
    for (int update = 0; update < 1000; ++update) {
      make_an_update();
      const double lr = optimizer.param_groups()[0].options().get_lr();
      if (const auto* row = monitor.step(lr, [&] { return loss_of_batch(); })) {
        std::cout << row->update << ": " << row->sharpness << '\n';
      }
    }
    write_csv("curvature.csv", monitor.measurements());
    write_svg("curvature.svg", curvature_plot(monitor.measurements()));
    EXPECT_EQ(monitor.measurements().size(), 21U);
    EXPECT_NEAR(
        *monitor.measurements().back().lr_sharpness,
        0.01 * top.magnitude,
        0.0005 * top.magnitude);
    Checkpoint checkpoint;
    checkpoint.state("monitor", monitor);
  }
  {
    const auto& next_loss = loss;
    torch::optim::Adam adam(model->parameters());
    CurvatureMeter meter;
    meter.measure(
        next_loss(), model->parameters(), [&](const HessianOperator& h) {
          return coming_operator(h, adam, h.used_gradient()).op;
        });
    double adam_limit =
        max_stable_lr(meter.sharpness(), /*momentum=*/0.9) / (1 - 0.9);
    EXPECT_NEAR(adam_limit, 38 / meter.sharpness(), 1e-9 * adam_limit);
  }
  {
    auto result = lanczos(hessian, LanczosOptions().k(5));
    for (std::size_t i = 0; i < result.values.size(); ++i) {
      std::cout << result.values[i] << " +- " << result.residuals[i] << '\n';
    }
    EXPECT_EQ(result.values.size(), 5);
  }
  {
    auto density = spectral_density(hessian);
    LinePlot plot("Eigenvalues of the Hessian");
    plot.x_label("eigenvalue").y_label("density").y_log().y_range(1e-6, 1e3);
    plot.line("density", density.grid, density.density);
    write_svg("spectrum.svg", plot);
  }
  for (const auto* name : {"spectrum.svg", "curvature.svg", "curvature.csv"}) {
    EXPECT_TRUE(std::filesystem::remove(folder / name)) << name;
  }
  EXPECT_NE(printed.text().find("largest eigenvalue"), std::string::npos);
}

}  // namespace
}  // namespace stepsize
