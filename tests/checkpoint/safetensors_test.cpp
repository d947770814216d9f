#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/safetensors.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/loaded.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::HasSubstr;

// Two layers and a name more for the weight of the first.
struct TiedNetImpl : torch::nn::Module {
  TiedNetImpl() {
    register_module("a", a);
    register_module("b", b);
    register_parameter("z", a->weight);
  }
  torch::nn::Linear a{2, 3};
  torch::nn::BatchNorm1d b{3};
};
TORCH_MODULE(TiedNet);

// As the format has it: the length, the header, the data.
std::string file_with(const std::string& header, const std::string& data = {}) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<char>(header.size() >> (8 * i) & 0xFFU));
  }
  return bytes + header + data;
}

class Safetensors : public testing::Test {
 protected:
  Safetensors() : path(folder.file("model.safetensors")) {
    torch::manual_seed(1);
  }

  void write(const std::string& bytes) { test::write_bytes(path, bytes); }
  std::string read() const { return test::read_bytes(path); }
  std::string refusal_of(const std::string& bytes) {
    write(bytes);
    return message_of([&] { load_safetensors(path); });
  }

  test::TemporaryFolder folder;
  std::string path;
};

// By the order of the reference implementation (tensor.rs of safetensors): the
// metadata, then types by their alignment, then names; no white space, and
// spaces up to a multiple of 8.
TEST_F(Safetensors, WritesTheBytesOfTheReference) {
  save_safetensors(
      path,
      {{"b", torch::tensor({1, -1}, torch::kShort)},
       {"a", torch::tensor({2, 3}, torch::kShort)},
       {"c", torch::tensor(int64_t{-2})},
       {"d", torch::tensor({true})}},
      {{"k", "v"}});
  std::string header =
      R"({"__metadata__":{"k":"v"},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"I16","shape":[2],"data_offsets":[8,12]},)"
      R"("b":{"dtype":"I16","shape":[2],"data_offsets":[12,16]},)"
      R"("d":{"dtype":"BOOL","shape":[1],"data_offsets":[16,17]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::string data(
      "\xfe\xff\xff\xff\xff\xff\xff\xff\2\0\3\0\1\0\xff\xff\1", 17);
  EXPECT_EQ(read(), file_with(header, data));
}

TEST_F(Safetensors, ReadsATensorAsItWasWritten) {
  const auto part = torch::arange(12).view({3, 4});
  const std::map<std::string, torch::Tensor> tensors = {
      {"turned", part.t()},
      {"part", part.slice(1, 1, 3)},
      {"expanded", torch::ones({1}).expand({4})},
      {"empty", torch::empty({2, 0})},
      {"complex", torch::complex(torch::ones({2}), torch::full({2}, -0.5F))},
      {"conj", torch::complex(torch::ones({2}), torch::ones({2})).conj()},
      {"leaf", torch::rand({2}, torch::requires_grad())},
  };
  save_safetensors(path, tensors);
  const auto found = load_safetensors(path);
  ASSERT_EQ(found.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(torch::equal(found.at(name), tensor)) << name;
    EXPECT_EQ(found.at(name).sizes(), tensor.sizes()) << name;
  }
}

TEST_F(Safetensors, TellsWhatTheHeaderHas) {
  write(file_with(
      R"({ "t":{"shape":[1,2],"data_offsets":[0,2],"dtype":"F8_E4M3",)"
      R"("later":[{"x":null}]}, "__metadata__":{"by":"hand"}}  )",
      "ab"));
  const SafetensorsInfo info = read_safetensors_info(path);
  EXPECT_EQ(info.metadata.at("by"), "hand");
  ASSERT_EQ(info.tensors.size(), 1U);
  EXPECT_EQ(info.tensors[0].dtype, "F8_E4M3");
  EXPECT_EQ(info.tensors[0].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(info.tensors[0].size, 2);
  EXPECT_THAT(
      message_of([&] { load_safetensors(path); }),
      HasSubstr("a tensor 't' of the type 'F8_E4M3', which is not supported"));
}

TEST_F(Safetensors, RefusesWhatIsNotOfTheFormat) {
  const auto tensor = [](const std::string& fields) {
    return "{\"t\":{" + fields + "}}";
  };
  const std::string u8 = "\"dtype\":\"U8\",";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "too short"},
      {std::string(7, '\0'), "too short"},
      {std::string(8, '\0'), "does not begin with '{'"},
      {std::string(8, '\xff'), "is not of the format safetensors"},
      {file_with("{}", "x"), "1 bytes of data, and its header speaks of 0"},
      {file_with(" {}"), "does not begin with '{'"},
      {file_with("\xef\xbb\xbf{}"), "does not begin with '{'"},
      {file_with("{} x"), "no JSON"},
      {file_with("{\"t\":}"), "no JSON"},
      {file_with("{\"\xff\":{}}"), "no JSON"},
      {file_with("{\"t\":1}"), "'t', which is no object"},
      {file_with("{\"t\":[]}"), "'t', which is no object"},
      {file_with("{\"t\":{}}"), "'t' which has no dtype"},
      {file_with("{\"__metadata__\":{\"k\":1}}"), "'k', which is no text"},
      {file_with("{\"__metadata__\":{\"k\":{}}}"), "'k', which is no text"},
      {file_with("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}"), "'k' twice"},
      {file_with("{\"__metadata__\":{},\"__metadata__\":{}}"), "twice"},
      {file_with(tensor("\"dtype\":1")), "dtype of another kind"},
      {file_with(tensor(u8 + "\"dtype\":\"U8\"")), "'dtype' twice"},
      {file_with(tensor(u8 + "\"shape\":[-1]")), "no list of whole numbers"},
      {file_with(tensor(u8 + "\"shape\":[1.0]")), "no list of whole numbers"},
      {file_with(tensor(u8 + "\"shape\":[[1]]")), "no list of whole numbers"},
      {file_with(tensor(u8 + "\"shape\":[9223372036854775808]")), "too large"},
      {file_with(tensor(u8 + "\"shape\":[1],\"data_offsets\":[0]")),
       "no begin"},
      {file_with(tensor(u8 + "\"shape\":[1],\"data_offsets\":[1,0]")),
       "no begin"},
      {file_with(tensor(u8 + "\"shape\":[1],\"data_offsets\":[0,1,2]")),
       "more than 2"},
      {file_with(tensor(u8 + "\"shape\":[2],\"data_offsets\":[0,1]"), "x"),
       "not those of its shape"},
      {file_with(tensor(u8 + "\"shape\":[1],\"data_offsets\":[1,2]"), "xy"),
       "hole"},
      {file_with(tensor(
           u8 + "\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]")),
       "too large"},
      {file_with(tensor(
           u8 + "\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]")),
       "too large"},
      {file_with(tensor("\"dtype\":\"F64\",\"shape\":[2305843009213693952],"
                        "\"data_offsets\":[0,0]")),
       "not those of its shape"},
      {file_with(
           tensor("\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[0,1]"),
           "\2"),
       "neither 0 nor 1"},
      {file_with(
           R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
           R"("u":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           "xyz"),
       "'u' which overlaps another one"},
      {file_with(
           R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
           R"("t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           "xy"),
       "the name 't' twice"},
  };
  for (const auto& [bytes, what] : cases) {
    const std::string refusal = refusal_of(bytes);
    EXPECT_THAT(refusal, HasSubstr(what)) << bytes;
    EXPECT_THAT(refusal, HasSubstr("load_safetensors: " + path + ": the file"));
  }
}

TEST_F(Safetensors, RefusesMoreThan64DimensionsAndDeepNesting) {
  std::string ones = "1";
  for (int i = 1; i < 64; ++i) ones += ",1";
  const auto header = [](const std::string& shape) {
    return R"({"t":{"dtype":"U8","data_offsets":[0,1],"shape":[)" + shape +
           "]}}";
  };
  EXPECT_EQ(refusal_of(file_with(header(ones), "x")), "nothing was thrown");
  EXPECT_THAT(
      refusal_of(file_with(header(ones + ",1"), "x")),
      HasSubstr("more than 64 dimensions"));
  const std::string deep(1000000, '[');
  EXPECT_THAT(
      refusal_of(file_with("{\"t\":{\"later\":" + deep)), HasSubstr("no JSON"));
}

// A length that the file does not have, and one that no reader takes.
TEST_F(Safetensors, RefusesAHeaderThatIsTooLong) {
  std::string bytes = file_with(std::string(200, ' '));
  bytes[3] = '\5';
  EXPECT_THAT(refusal_of(bytes), HasSubstr("would have 83886280 bytes"));
  bytes = file_with("{}");
  bytes[0] = '\1';
  bytes[1] = '\xe1';
  bytes[2] = '\xf5';
  bytes[3] = '\5';
  write(bytes);
  std::filesystem::resize_file(path, 100000100);
  EXPECT_THAT(
      message_of([&] { load_safetensors(path); }),
      HasSubstr("would have 100000001 bytes"));
}

TEST_F(Safetensors, RefusesTruncationAtEveryLengthAndChangesNothing) {
  TiedNet saved;
  save_safetensors(path, *saved);
  const std::string whole = read();
  TiedNet net;
  const std::string before = test::bits_of(*net);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(whole.substr(0, size));
    const std::string message =
        message_of([&] { load_safetensors(path, *net); });
    EXPECT_THAT(message, HasSubstr("load_safetensors: " + path)) << size;
  }
  EXPECT_TRUE(test::bits_of(*net) == before);
}

TEST_F(Safetensors, LoadsAModuleWhereItLies) {
  TiedNet saved;
  saved->b->running_mean.fill_(3);
  save_safetensors(path, *saved);
  TiedNet net;
  net->a->bias.set_requires_grad(false);
  const auto* place = net->a->weight.data_ptr();
  const auto loss = net->a(torch::ones({1, 2})).sum();
  const LoadResult result = load_safetensors(path, *net);
  EXPECT_TRUE(result.complete());
  ASSERT_EQ(result.loaded.size(), 1U);
  EXPECT_EQ(result.loaded[0].reason, "");
  EXPECT_EQ(net->a->weight.data_ptr(), place);
  EXPECT_EQ(test::bits_of(*net), test::bits_of(*saved));
  EXPECT_EQ(net->b->running_mean[0].item<float>(), 3);
  loss.backward();  // a load is no change for autograd
}

TEST_F(Safetensors, WritesOneNameOfATiedTensorAndTellsTheOther) {
  TiedNet saved;
  save_safetensors(
      path, *saved, SafetensorsOptions().metadata({{"format", "mine"}}));
  const SafetensorsInfo info = read_safetensors_info(path);
  EXPECT_EQ(
      info.metadata,
      (std::map<std::string, std::string>{
          {"format", "mine"}, {"z", "a.weight"}}));
  EXPECT_EQ(info.tensors.size(), 7U);  // of eight names
  EXPECT_EQ(load_safetensors(path).count("z"), 0U);
}

TEST_F(Safetensors, TakesBothNamesOfATiedTensorWhereTheyAgree) {
  TiedNet saved;
  save_safetensors(path, *saved);
  auto tensors = load_safetensors(path);
  tensors["z"] = tensors["a.weight"].clone();
  save_safetensors(path, tensors);
  TiedNet net;
  load_safetensors(path, *net);
  EXPECT_TRUE(torch::equal(net->a->weight, saved->a->weight));

  // The other name alone is as good.
  tensors["z"].add_(1);
  tensors.erase("a.weight");
  save_safetensors(path, tensors);
  load_safetensors(path, *net);
  EXPECT_TRUE(torch::equal(net->a->weight, tensors["z"]));

  tensors["a.weight"] = saved->a->weight;
  save_safetensors(path, tensors);
  const std::string before = test::bits_of(*net);
  EXPECT_THAT(
      message_of([&] { load_safetensors(path, *net); }),
      HasSubstr("has other values of parameter 'a.weight' than of parameter "
                "'z', which share their memory here"));
  EXPECT_EQ(test::bits_of(*net), before);
}

TEST_F(Safetensors, OneMappingServesBothWays) {
  TiedNet saved;
  const auto names = SafetensorsOptions()
                         .rename("bn", "b")
                         .rename("kernel", "a.weight")
                         .rename("kernel2", "z")
                         .rename("model", "");
  save_safetensors(path, *saved, names);
  std::vector<std::string> found;
  for (const auto& item : load_safetensors(path)) found.push_back(item.first);
  EXPECT_EQ(
      found,
      (std::vector<std::string>{
          "bn.bias",
          "bn.num_batches_tracked",
          "bn.running_mean",
          "bn.running_var",
          "bn.weight",
          "kernel",
          "model.a.bias"}));
  EXPECT_EQ(read_safetensors_info(path).metadata.at("kernel2"), "kernel");
  TiedNet net;
  EXPECT_TRUE(load_safetensors(path, *net, names).complete());
  EXPECT_EQ(test::bits_of(*net), test::bits_of(*saved));
  // "b" is no beginning of "bias".
  torch::nn::Linear linear(1, 1);
  save_safetensors(path, *linear, SafetensorsOptions().rename("x", "b"));
  EXPECT_EQ(load_safetensors(path).count("bias"), 1U);
}

// Two buffers in the memory of a third, by a square of numbers.
struct Views : torch::nn::Module {
  explicit Views(const std::string& kind) {
    square = register_buffer("w", torch::arange(4.0F).view({2, 2}));
    if (kind == "parts") {
      // The name that comes first is the smaller one.
      register_buffer("a", square.slice(0, 0, 1));
      register_buffer("z", square.select(1, 1));
    } else if (kind == "turned") {
      register_buffer("v", square.t());
    } else {
      register_buffer("x", square.select(1, 0));
      register_buffer("y", square.select(1, 1));
    }
  }
  torch::Tensor square;
};

// As Python's save_model() keeps the tensor that covers the storage, and
// load_model() takes its views for loaded.
TEST_F(Safetensors, WritesWhatViewsLieInAndTellsTheirNames) {
  Views saved("parts");
  save_safetensors(path, saved);
  EXPECT_EQ(
      read_safetensors_info(path).metadata,
      (std::map<std::string, std::string>{
          {"a", "w"}, {"format", "pt"}, {"z", "w"}}));
  EXPECT_EQ(load_safetensors(path).size(), 1U);
  Views net("parts");
  net.square.zero_();
  EXPECT_TRUE(load_safetensors(path, net).complete());
  EXPECT_TRUE(torch::equal(net.square, saved.square));

  // Of two that show the whole the first by the alphabet.
  Views turned("turned");
  save_safetensors(path, turned);
  const auto found = load_safetensors(path);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(torch::equal(found.at("v"), turned.square.t()));
  turned.square.zero_();
  EXPECT_TRUE(load_safetensors(path, turned).complete());
  EXPECT_TRUE(torch::equal(turned.square, saved.square));
}

TEST_F(Safetensors, APartOfATensorDoesNotStandForTheWhole) {
  Views net("parts");
  save_safetensors(path, {{"a", torch::ones({1, 2})}});
  const std::string message = message_of([&] { load_safetensors(path, net); });
  EXPECT_THAT(message, HasSubstr("buffer 'w' is not in the file"));
  EXPECT_THAT(message, HasSubstr("buffer 'z' is not in the file"));
}

TEST_F(Safetensors, ViewsOfOneMemoryMustAgree) {
  Views net("turned");
  const auto before = net.square.clone();
  save_safetensors(
      path, {{"w", torch::zeros({2, 2})}, {"v", torch::ones({2, 2})}});
  EXPECT_THAT(
      message_of([&] { load_safetensors(path, net); }),
      HasSubstr("has other values of buffer 'v' than of buffer 'w', which "
                "share their memory here"));
  EXPECT_TRUE(torch::equal(net.square, before));
  const auto values = torch::rand({2, 2});
  save_safetensors(path, {{"w", values}, {"v", values.t()}});
  load_safetensors(path, net);
  EXPECT_TRUE(torch::equal(net.square, values));
}

// Two columns: neither lies in the other, and no number is in both.
TEST_F(Safetensors, ViewsThatAlternateAreTensorsOfTheirOwn) {
  Views saved("columns");
  save_safetensors(path, saved, SafetensorsOptions().leave_out_tensors({"w"}));
  EXPECT_EQ(load_safetensors(path).size(), 2U);
  Views net("columns");
  net.square.zero_();
  load_safetensors(path, net, SafetensorsOptions().leave_out_tensors({"w"}));
  EXPECT_TRUE(torch::equal(net.square, saved.square));
}

struct BodyAndHead : torch::nn::Module {
  BodyAndHead() {
    register_module("body", torch::nn::Linear(2, 3));
    register_module("head", torch::nn::Linear(3, 1));
  }
};

TEST_F(Safetensors, RefusesToSaveNamesThatDoNotComeBack) {
  const BodyAndHead net;
  EXPECT_EQ(
      message_of([&] {
        save_safetensors(path, net, SafetensorsOptions().rename("", "body"));
      }),
      "save_safetensors: rename: 'head.weight' becomes 'head.weight' in the "
      "file, which a load would take for 'body.head.weight'");
  // Arguments in the wrong order.
  EXPECT_THAT(
      message_of([&] {
        save_safetensors(
            path, net, SafetensorsOptions().rename("body", "encoder"));
      }),
      HasSubstr("which a load would take for 'encoder.weight'"));
  EXPECT_EQ(folder.count(), 0);
}

TEST_F(Safetensors, ARenameToTheSameNameKeepsIt) {
  const auto names =
      SafetensorsOptions().rename("head", "head").rename("", "body");
  BodyAndHead saved;
  save_safetensors(path, saved, names);
  std::vector<std::string> found;
  for (const auto& item : load_safetensors(path)) found.push_back(item.first);
  EXPECT_EQ(
      found,
      (std::vector<std::string>{"bias", "head.bias", "head.weight", "weight"}));
  BodyAndHead net;
  EXPECT_TRUE(load_safetensors(path, net, names).complete());
  EXPECT_EQ(test::bits_of(net), test::bits_of(saved));
}

TEST_F(Safetensors, RefusesNamesThatBecomeOne) {
  torch::nn::Linear linear(1, 1);
  EXPECT_EQ(
      message_of([&] {
        save_safetensors(
            path, *linear, SafetensorsOptions().rename("bias", "weight"));
      }),
      "save_safetensors: rename: 'bias' becomes 'bias' in the file, which a "
      "load would take for 'weight'");
  save_safetensors(path, *linear);
  EXPECT_THAT(
      message_of([&] {
        load_safetensors(
            path, *linear, SafetensorsOptions().rename("bias", "weight"));
      }),
      HasSubstr("rename: two tensors of the file become 'weight'"));
}

TEST_F(Safetensors, RefusesWhatDoesNotFitAndChangesNothing) {
  TiedNet saved;
  auto tensors = std::map<std::string, torch::Tensor>{
      {"a.weight", torch::zeros({3, 1})},
      {"b.bias", torch::zeros({3}, torch::kInt)},
      {"b.num_batches_tracked", torch::zeros({}, torch::kLong)},
      {"b.running_mean", torch::zeros({3})},
      {"b.running_var", torch::zeros({3})},
      {"b.weight", torch::zeros({3})},
      {"extra", torch::zeros({1})},
  };
  save_safetensors(path, tensors);
  const std::string before = test::bits_of(*saved);
  EXPECT_EQ(
      message_of([&] { load_safetensors(path, *saved); }),
      "load_safetensors: " + path +
          ": the file does not fit:"
          "\n  the module: parameter 'a.weight' is Float of [3, 1] in the "
          "file, Float of [3, 2] here"
          "\n  the module: parameter 'a.bias' is not in the file"
          "\n  the module: parameter 'b.bias' is Int of [3] in the file, Float "
          "of [3] here"
          "\n  the module: tensor 'extra' is in the file alone");
  EXPECT_EQ(test::bits_of(*saved), before);

  const LoadResult result =
      load_safetensors(path, *saved, SafetensorsOptions().what_fits(true));
  EXPECT_EQ(
      test::lines_of(result.loaded),
      std::vector<std::string>{"the module: 4 of 8 parameters and buffers"});
  EXPECT_EQ(result.left_out.size(), 3U);
  EXPECT_EQ(
      test::lines_of(result.not_found),
      std::vector<std::string>{
          "the module: parameter 'a.bias': is not in the file"});
  EXPECT_EQ(saved->b->weight.sum().item<float>(), 0);
  EXPECT_NE(saved->a->weight.abs().sum().item<float>(), 0);
}

TEST_F(Safetensors, LoadsAndSavesAPart) {
  TiedNet saved;
  save_safetensors(path, *saved, SafetensorsOptions().only_tensors({"b"}));
  EXPECT_EQ(load_safetensors(path).size(), 5U);
  save_safetensors(path, *saved);
  TiedNet net;
  const auto before = net->b->weight.detach().clone();
  const LoadResult result = load_safetensors(
      path, *net, SafetensorsOptions().leave_out_tensors({"b"}));
  EXPECT_EQ(result.left_out.size(), 5U);
  EXPECT_TRUE(torch::equal(net->a->weight, saved->a->weight));
  EXPECT_TRUE(torch::equal(net->b->weight, before));
  EXPECT_THAT(
      message_of([&] {
        load_safetensors(
            path, *net, SafetensorsOptions().only_tensors({"a.wieght"}));
      }),
      HasSubstr("'a.wieght' is the name of no parameter or buffer"));
  EXPECT_THAT(
      message_of([&] {
        load_safetensors(
            path, *net, SafetensorsOptions().leave_out_tensors({"*"}));
      }),
      HasSubstr("nothing of the file is loaded"));
}

TEST_F(Safetensors, ConvertsFloatingPointTypesWhereTheNumbersFit) {
  torch::nn::Linear linear(1, 2);
  const auto save = [&](const torch::Tensor& weight) {
    save_safetensors(path, {{"weight", weight}, {"bias", torch::zeros({2})}});
  };
  save(torch::tensor({0.5, -3.0}, torch::kBFloat16).view({2, 1}));
  const LoadResult result = load_safetensors(path, *linear);
  EXPECT_EQ(result.loaded[0].reason, "1 converted to another type");
  EXPECT_EQ(linear->weight[1][0].item<float>(), -3);

  save(torch::tensor({1e39, 1.0}, torch::kDouble).view({2, 1}));
  EXPECT_THAT(
      message_of([&] { load_safetensors(path, *linear); }),
      HasSubstr("finite numbers of parameter 'weight' that are infinite as "
                "Float"));
  EXPECT_EQ(linear->weight[1][0].item<float>(), -3);
  // Infinities stay what they are.
  save(torch::tensor({INFINITY, NAN}, torch::kDouble).view({2, 1}));
  load_safetensors(path, *linear);
  EXPECT_TRUE(std::isinf(linear->weight[0][0].item<float>()));

  linear->to(torch::kHalf);
  save(torch::tensor({70000.0F, 1.0F}).view({2, 1}));
  EXPECT_THAT(
      message_of([&] { load_safetensors(path, *linear); }),
      HasSubstr("infinite as Half"));
}

TEST_F(Safetensors, RefusesWhatCannotBeSaved) {
  const auto refusal = [&](const std::string& name,
                           const torch::Tensor& tensor) {
    return message_of([&] { save_safetensors(path, {{name, tensor}}); });
  };
  EXPECT_THAT(refusal("t", {}), HasSubstr("tensor 't' is undefined"));
  EXPECT_THAT(
      refusal("t", torch::ones({2}, torch::kComplexDouble)),
      HasSubstr("which the format does not have"));
  EXPECT_THAT(
      refusal("t", torch::ones({2}).to_sparse()), HasSubstr("only dense"));
  EXPECT_THAT(
      refusal("__metadata__", torch::ones({2})),
      HasSubstr("no tensor may have the name __metadata__"));
  EXPECT_THAT(refusal("\xff", torch::ones({2})), HasSubstr("is not UTF-8"));
  EXPECT_EQ(folder.count(), 0);
}

TEST_F(Safetensors, AFailedSaveLeavesTheEarlierFile) {
  save_safetensors(path, {{"t", torch::ones({2})}});
  const std::string before = read();
  message_of([&] {
    save_safetensors(
        path, {{"a", torch::ones({2})}, {"t", torch::ones({2}).to_sparse()}});
  });
  EXPECT_EQ(read(), before);
  EXPECT_EQ(folder.count(), 1);
  EXPECT_THAT(
      message_of([&] {
        save_safetensors(folder.file("no/where"), {{"t", torch::ones({1})}});
      }),
      HasSubstr("cannot be written: No such file"));
  EXPECT_THAT(
      message_of([&] { load_safetensors(folder.file("none")); }),
      HasSubstr("cannot be read: No such file"));
}

TEST_F(Safetensors, RefusesABufferWhoseElementsAreOnePlace) {
  struct OnePlace : torch::nn::Module {
    OnePlace() { register_buffer("mean", torch::ones({1}).expand({3})); }
  } net;
  save_safetensors(path, {{"mean", torch::zeros({3})}});
  EXPECT_THAT(
      message_of([&] { load_safetensors(path, net); }),
      HasSubstr("a load cannot write it"));
}

}  // namespace
}  // namespace stepsize
