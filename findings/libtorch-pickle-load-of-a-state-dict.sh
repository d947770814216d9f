#!/usr/bin/env bash
# LibTorch and torch 2.6.0 (Debian 13, libtorch-dev and python3-torch
# 2.6.0+dfsg-7); 1.13.1 and 2.14.1 alike.
#
# Python writes torch.save(model.state_dict(), ...) and
# torch.save(dict(model.state_dict()), ...) of one Linear; torch::pickle_load
# reads both.
#
# Expected: both are a dictionary of two tensors: the first is the way to save
#   a model that the documentation recommends.
# Seen: the second is; the first fails with an internal assertion ("Expected
#   GenericDict but got None"), since it is an OrderedDict with an attribute,
#   `_metadata`.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
make_chroot trixie libtorch-dev=2.6.0+dfsg-7 python3-torch=2.6.0+dfsg-7 g++
in_chroot python3 - 2>/dev/null <<'PYTHON'
import torch

model = torch.nn.Linear(3, 2)
torch.save(model.state_dict(), "/tmp/state_dict.pt")
torch.save(dict(model.state_dict()), "/tmp/dict.pt")
PYTHON
in_chroot sh -euc 'cat >/tmp/load.cpp' <<'CPP'
#include <torch/serialize.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main() {
  for (const std::string name : {"dict", "state_dict"}) {
    std::ifstream file("/tmp/" + name + ".pt", std::ios::binary);
    const std::vector<char> bytes(
        (std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::cout << name << ": ";
    try {
      const auto value = torch::pickle_load(bytes);
      std::cout << value.toGenericDict().size() << " tensors\n";
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      std::cout << (text.find("Expected GenericDict but got None") !=
                            std::string::npos
                        ? "Expected GenericDict but got None"
                        : text)
                << '\n';
    }
  }
}
CPP
in_chroot g++ -std=c++17 -w -I/usr/include/torch/csrc/api/include \
  /tmp/load.cpp -o /tmp/load -ltorch -ltorch_cpu -lc10
seen=$(in_chroot /tmp/load 2>/dev/null)
compare "$seen" "dict: 2 tensors
state_dict: Expected GenericDict but got None"
