// Muon's side of compare_muon.py: steps matrices by the commands that come in.
//
//     muon_steps full|bfloat16 DATA ROWSxCOLUMNS...
//
// DATA holds, as float32, the parameters one after the other and then a set of
// gradients for each update. A line "step" makes one update and prints its
// seconds; "write FILE" writes the parameters.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <stepsize/adaptive/muon.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors read(std::istream& from, const std::vector<std::string>& shapes) {
  Tensors tensors;
  for (const std::string& shape : shapes) {
    const auto cross = shape.find('x');
    auto& own = tensors.emplace_back(at::empty(
        {std::stoll(shape.substr(0, cross)),
         std::stoll(shape.substr(cross + 1))}));
    from.read(
        static_cast<char*>(own.data_ptr()),
        static_cast<std::streamsize>(own.nbytes()));
  }
  return tensors;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 3) {
    std::cerr << "muon_steps: wants full or bfloat16, a file and shapes\n";
    return 1;
  }
  const std::vector<std::string> shapes(words.begin() + 2, words.end());
  at::set_num_threads(2);
  std::ifstream data(words[1], std::ios::binary);
  const Tensors parameters = read(data, shapes);
  for (auto own : parameters) own.set_requires_grad(true);
  std::vector<Tensors> gradients;
  for (Tensors set = read(data, shapes); data; set = read(data, shapes)) {
    gradients.push_back(set);
  }
  if (gradients.empty()) {
    std::cerr << "muon_steps: " << words[1] << " has no gradients\n";
    return 1;
  }
  stepsize::Muon muon(
      parameters,
      stepsize::MuonOptions(0.02).weight_decay(0.1).ns_precision(
          words[0] == "full" ? stepsize::MuonPrecision::kFull
                             : stepsize::MuonPrecision::kBFloat16));
  std::size_t steps = 0;
  std::string command;
  while (std::cin >> command) {
    if (command == "write") {
      std::string file;
      std::cin >> file;
      std::ofstream to(file, std::ios::binary);
      for (const auto& own : parameters) {
        to.write(
            static_cast<const char*>(own.data_ptr()),
            static_cast<std::streamsize>(own.nbytes()));
      }
      to.close();
      std::cout << "written" << std::endl;
      continue;
    }
    const Tensors& own = gradients[steps++ % gradients.size()];
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      parameters[i].mutable_grad() = own[i];
    }
    const auto start = std::chrono::steady_clock::now();
    muon.step();
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    std::cout << seconds.count() << std::endl;
  }
}
