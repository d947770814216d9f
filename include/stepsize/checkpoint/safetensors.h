#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/checkpoint/load_result.h>
#include <torch/arg.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize {

/// One tensor of a file, as its header has it.
struct SafetensorsTensor {
  std::string name;
  /// The format's word: "F32", "BF16", "I64", "F8_E4M3", ...
  std::string dtype;
  std::vector<int64_t> shape;
  /// Where its bytes lie, from the end of the header on.
  int64_t offset = 0;
  int64_t size = 0;
};

/// What a file says of itself.
struct SafetensorsInfo {
  std::map<std::string, std::string> metadata;
  /// In the order of their bytes.
  std::vector<SafetensorsTensor> tensors;
};

/// What of a module is saved or loaded, and under which names. These serve both
/// ways: a save that could not be loaded with them is refused. So are what_fits
/// of a save and metadata of a load.
class SafetensorsOptions {
 public:
  /// The names of Python are LibTorch's. Where the file has others: `in_file`
  /// is the name there of what is called `here` in the program, a parameter,
  /// a buffer, or a module and all that is in it. ("module", "") takes the name
  /// of a wrapper away, ("", "body") gives one to all. The first that fits a
  /// name holds, ("head", "head") before ("", "body") so that the head keeps
  /// its name.
  SafetensorsOptions& rename(
      const std::string& in_file, const std::string& here) {
    renames_.emplace_back(in_file, here);
    return *this;
  }
  const std::vector<std::pair<std::string, std::string>>& renames() const {
    return renames_;
  }

  /// Patterns as in LoadOptions, by the names of the program: what alone is
  /// saved or loaded, and what is not.
  TORCH_ARG(std::vector<std::string>, only_tensors);
  TORCH_ARG(std::vector<std::string>, leave_out_tensors);
  /// Of a load, whether what fits is loaded and the rest listed. Else a name
  /// that only one side has, another shape or type, is an error.
  TORCH_ARG(bool, what_fits) = false;
  /// Of a save, texts for the header. One of "format" is added, "pt", which
  /// readers in Python ask for.
  using Texts = std::map<std::string, std::string>;
  TORCH_ARG(Texts, metadata);

 private:
  std::vector<std::pair<std::string, std::string>> renames_;
};

/// Writes a module's parameters and buffers in the format safetensors, or
/// leaves the file that is there as it is (save_checkpoint() says how). Of
/// names of one tensor (tied weights) the first by the alphabet is written, of
/// views that lie in a tensor without gaps that tensor, and the metadata tells
/// the others: {"head.weight": "embedding.weight"}, as Python's save_model()
/// does. Other views are written as what they show.
///
/// Types: bool, integers, half, bfloat16, float, double, complex float. Throws
/// c10::Error "save_safetensors: PATH: ..." for others, for what is not dense,
/// and where the file cannot be written. Memory: one tensor, where it is not
/// contiguous on a CPU.
void save_safetensors(
    const std::string& path,
    const torch::nn::Module& module,
    const SafetensorsOptions& options = {});

/// The same of any tensors, each of them whole.
void save_safetensors(
    const std::string& path,
    const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata = {});

/// Reads a file into a module's parameters and buffers where they lie, from
/// Python or from save_safetensors(). Names and shapes must be the file's;
/// types too, but floating-point types are converted into one another. A name
/// that the file lacks is no fault where it has another name of the same
/// tensor, or one that it is a view of. Returns what was loaded and what not.
///
/// Throws c10::Error "load_safetensors: PATH: ..." where the file is not of the
/// format, does not fit (up to ten reasons), has a finite number that the
/// module's type has not, or two values for one place. Nothing is changed then:
/// all is read first. Memory until it returns: what is loaded, once more.
LoadResult load_safetensors(
    const std::string& path,
    torch::nn::Module& module,
    const SafetensorsOptions& options = {});

/// All tensors of a file, on the CPU.
std::map<std::string, at::Tensor> load_safetensors(const std::string& path);

/// The header alone. It is checked as a load does: names that stand twice,
/// sizes that are not those of the shapes, holes, overlaps, bytes at the end,
/// and headers of more than 100 MB are refused by c10::Error.
SafetensorsInfo read_safetensors_info(const std::string& path);

}  // namespace stepsize
