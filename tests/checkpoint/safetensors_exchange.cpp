// Exchanges files of the format safetensors with Python, whose side is
// safetensors_exchange.py:
//
//   safetensors_exchange write MODEL TENSORS    for Python to read
//   safetensors_exchange read MODEL TENSORS     which Python has written
//
// Both sides make the same values by formulas, so that neither takes the
// other's word. Exit code 1: something is not as it should be.

#include <stepsize/checkpoint/safetensors.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace {

using Tensors = std::map<std::string, torch::Tensor>;

void require(bool holds, const std::string& broken) {
  if (holds) return;
  std::cerr << "safetensors_exchange: " << broken << '\n';
  std::exit(1);
}

// A network whose twin in Python has the same names, with tied weights.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    body->push_back(
        torch::nn::Conv2d(torch::nn::Conv2dOptions(3, 4, 3).bias(false)));
    body->push_back(torch::nn::BatchNorm2d(4));
    register_module("body", body);
    register_module("embedding", embedding);
    register_module("lstm", lstm);
    register_module("attention", attention);
    register_module("encoder", encoder);
    register_module("norm", norm);
    head = register_parameter("head_weight", embedding->weight);
  }

  torch::nn::Sequential body;
  torch::nn::Embedding embedding{7, 8};
  torch::nn::LSTM lstm{torch::nn::LSTMOptions(8, 4).num_layers(2)};
  torch::nn::MultiheadAttention attention{8, 2};
  torch::nn::TransformerEncoderLayer encoder{
      torch::nn::TransformerEncoderLayerOptions(8, 2).dim_feedforward(16)};
  torch::nn::LayerNorm norm{torch::nn::LayerNormOptions({8})};
  torch::Tensor head;
};
TORCH_MODULE(Net);

// Of a name and a shift: numbers that a float has.
torch::Tensor values(
    const std::string& name, int64_t shift, const torch::Tensor& like) {
  int64_t sum = shift;
  for (const char letter : name) sum += static_cast<unsigned char>(letter);
  auto numbers = (torch::arange(like.numel()) * 37 + sum) % 251 - 125;
  if (like.is_floating_point()) numbers = numbers.to(torch::kDouble) / 64;
  return numbers.to(like.scalar_type()).reshape(like.sizes());
}

Tensors members(Net& net) {
  Tensors tensors;
  for (const auto& item : net->named_parameters()) {
    tensors[item.key()] = item.value();
  }
  for (const auto& item : net->named_buffers()) {
    tensors[item.key()] = item.value();
  }
  return tensors;
}

torch::Tensor from_bits(const std::vector<int32_t>& bits) {
  auto tensor = torch::empty({static_cast<int64_t>(bits.size())});
  std::memcpy(tensor.data_ptr(), bits.data(), 4 * bits.size());
  return tensor;
}

// One of each type, and what is odd.
Tensors all_types() {
  const auto numbers = torch::arange(-6, 6).reshape({3, 4});
  return {
      {"f64", numbers.to(torch::kDouble) / 8},
      {"f32", numbers.to(torch::kFloat) / 8},
      {"f16", numbers.to(torch::kHalf) / 8},
      {"bf16", numbers.to(torch::kBFloat16) / 8},
      {"i64", numbers * (int64_t{1} << 40)},
      {"i32", numbers.to(torch::kInt)},
      {"i16", numbers.to(torch::kShort)},
      {"i8", numbers.to(torch::kChar)},
      {"u8", (numbers + 200).to(torch::kByte)},
      {"bool", numbers % 2 == 0},
      {"turned", numbers.to(torch::kFloat).t()},
      {"scalar", torch::tensor(int64_t{42})},
      {"nothing", torch::empty({0, 3})},
      // A NaN with a payload, -0, infinities and the least subnormal.
      {"odd",
       from_bits(
           {0x7fc12345,
            INT32_MIN,
            0x7f800000,
            static_cast<int32_t>(0xff800000),
            1})},
      {"na\"m\\e \xc3\xbc\n", torch::ones({2})},
  };
}

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  const auto x = a.contiguous();
  const auto y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0;
}

void write_files(const std::string& model, const std::string& tensors) {
  Net net;
  {
    const torch::NoGradGuard no_grad;
    for (auto& [name, tensor] : members(net)) {
      if (name != "head_weight") tensor.copy_(values(name, 1, tensor));
    }
  }
  stepsize::save_safetensors(
      model,
      *net,
      stepsize::SafetensorsOptions().metadata({{"written by", "C++"}}));
  stepsize::save_safetensors(tensors, all_types());
}

void read_files(const std::string& model, const std::string& tensors) {
  Net net;
  const auto info = stepsize::read_safetensors_info(model);
  require(info.metadata.at("written by") == "Python", "the metadata");
  const auto result = stepsize::load_safetensors(model, *net);
  require(result.complete(), "not all was loaded");
  for (const auto& [name, tensor] : members(net)) {
    const std::string kept = name == "head_weight" ? "embedding.weight" : name;
    require(same_bits(tensor, values(kept, 2, tensor)), name);
  }
  const Tensors expected = all_types();
  const Tensors found = stepsize::load_safetensors(tensors);
  require(found.size() == expected.size(), "the number of tensors");
  for (const auto& [name, tensor] : expected) {
    require(found.count(name) > 0, "no " + name);
    require(same_bits(found.at(name), tensor), name);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string what = argc == 4 ? argv[1] : "";
  require(what == "write" || what == "read", "write or read, and two files");
  (what == "write" ? write_files : read_files)(argv[2], argv[3]);
  return 0;
} catch (const c10::Error& error) {
  std::cerr << error.what_without_backtrace() << '\n';
  return 1;
}
