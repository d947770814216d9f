#!/usr/bin/env bash
# LibTorch 2.6.0 (Debian 13, libtorch-dev 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# torch::save of a torch::optim::LBFGS, with its default history of 100 pairs,
# after 0, 1, 2, 100 and 101 iterations on a smooth convex function.
#
# Expected: an archive each time, as of every other optimizer.
# Seen: it throws "Cannot access storage of UndefinedTensorImpl" from the first
#   pair on until the history is full: the list that is saved has room for all
#   pairs, and those that are not there yet are undefined tensors.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie libtorch-dev=2.6.0+dfsg-7 g++
in_chroot sh -euc 'cat >/tmp/save.cpp' <<'CPP'
#include <torch/optim/lbfgs.h>
#include <torch/serialize.h>
#include <torch/types.h>

#include <iostream>
#include <sstream>
#include <vector>

int main() {
  const torch::Tensor curvature = torch::tensor({1.0, 10.0, 100.0, 3.0});
  for (const int iterations : {0, 1, 2, 100, 101}) {
    torch::Tensor w = torch::ones({4}, torch::kFloat64).set_requires_grad(true);
    torch::optim::LBFGS optimizer(
        std::vector<torch::Tensor>{w},
        torch::optim::LBFGSOptions(0.1).max_iter(1).tolerance_grad(0)
            .tolerance_change(0));
    for (int i = 0; i < iterations; ++i) {
      optimizer.step([&] {
        optimizer.zero_grad();
        torch::Tensor loss = (curvature * w * w * (1 + w * w)).sum();
        loss.backward();
        return loss;
      });
    }
    std::ostringstream stream;
    std::cout << iterations << " iterations: ";
    try {
      torch::save(optimizer, stream);
      std::cout << "saved\n";
    } catch (const c10::Error& error) {
      std::cout << error.what_without_backtrace() << '\n';
    }
  }
}
CPP
in_chroot g++ -std=c++17 -w -I/usr/include/torch/csrc/api/include \
  /tmp/save.cpp -o /tmp/save -ltorch -ltorch_cpu -lc10
seen=$(in_chroot /tmp/save 2>/dev/null)
compare "$seen" "0 iterations: saved
1 iterations: saved
2 iterations: Cannot access storage of UndefinedTensorImpl
100 iterations: Cannot access storage of UndefinedTensorImpl
101 iterations: saved"
