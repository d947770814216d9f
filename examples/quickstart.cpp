// Trains a small network to tell the two arms of a spiral apart, its learning
// rate first warmed up, then lowered along a cosine.
#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include <cstdio>

int main() {
  torch::manual_seed(0);
  const auto distance = 6 * torch::rand({1000, 1}).sqrt();
  const auto arm = torch::randint(0, 2, {1000, 1});
  const auto angle = distance + 3.14159265 * arm;
  const auto points = distance * torch::cat({angle.cos(), angle.sin()}, 1);
  const auto labels = arm.flatten().to(torch::kInt64);

  using torch::nn::Linear, torch::nn::Tanh;
  torch::nn::Sequential model(
      Linear(2, 64), Tanh(), Linear(64, 64), Tanh(), Linear(64, 2));
  torch::optim::Adam optimizer(model->parameters(), /*lr=*/0.02);
  stepsize::ScheduleLR scheduler(optimizer, "warmup 30 > cosine 270");

  double right = 0;
  for (int step = 0; step < 300; ++step) {
    const auto logits = model->forward(points);
    right = logits.argmax(1).eq(labels).to(torch::kFloat).mean().item<float>();
    if (step % 30 == 0) {
      const double rate = scheduler.get_last_lr()[0];
      std::printf("step %3d  rate %.4f  right %.3f\n", step, rate, right);
    }
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(logits, labels).backward();
    optimizer.step();
    scheduler.step();
  }
  return right > 0.95 ? 0 : 1;
}
