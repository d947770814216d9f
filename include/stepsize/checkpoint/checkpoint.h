#pragma once

#include <stepsize/checkpoint/checkpoint_counter.h>
#include <stepsize/checkpoint/checkpoint_state.h>
#include <stepsize/checkpoint/load_options.h>
#include <stepsize/checkpoint/load_result.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>

namespace at {
struct Generator;
}  // namespace at

namespace torch::nn {
class Module;
template <typename Contained>
class ModuleHolder;
}  // namespace torch::nn

namespace stepsize {

namespace detail {
struct CheckpointParts;
}  // namespace detail

/// The list of what belongs to a run, each under a name:
///
///     Checkpoint checkpoint;
///     checkpoint.module("model", *model)
///         .optimizer("optimizer", optimizer)
///         .state("scheduler", scheduler)
///         .counter("step", step);
///     save_checkpoint("run.ckpt", checkpoint);
///     ...                                       // in another process
///     load_checkpoint("run.ckpt", checkpoint);  // goes on bit for bit
///
/// It holds references and owns nothing but values(): what is named here must
/// outlive it. A name stands once in a checkpoint, whatever its kind, and in
/// any order; a file must have the same names of the same kinds. A name that is
/// empty or there already, and a generator that is undefined, throw c10::Error.
class Checkpoint {
 public:
  Checkpoint();
  ~Checkpoint();
  Checkpoint(Checkpoint&& other) noexcept;
  Checkpoint& operator=(Checkpoint&& other) noexcept;

  /// Parameters and buffers of the module and its submodules, by name; not what
  /// a module keeps beside them. A load writes them where they lie, without
  /// counting as a change for autograd; they may lie on another device than
  /// when they were saved. Names, shapes and types must be the file's. A buffer
  /// that is expanded is refused, in the save.
  Checkpoint& module(const std::string& name, torch::nn::Module& module);
  /// The module that is held, which must outlive the checkpoint:
  /// `torch::nn::Linear linear(...)`, or `auto net = std::make_shared<Net>()`.
  template <typename Contained>
  Checkpoint& module(
      const std::string& name, torch::nn::ModuleHolder<Contained> module) {
    torch::nn::Module& its_module = *module;
    return this->module(name, its_module);
  }
  template <typename Contained>
  Checkpoint& module(
      const std::string& name, const std::shared_ptr<Contained>& module) {
    TORCH_CHECK(
        module != nullptr, "Checkpoint: the module '", name, "' is null");
    torch::nn::Module& its_module = *module;
    return this->module(name, its_module);
  }

  /// An optimizer's state and the options of its groups, the rate included, by
  /// group and position:
  ///
  /// - This library's optimizers, through save() and load().
  /// - LibTorch's SGD, Adam, AdamW, RMSprop, Adagrad and LBFGS field by field,
  ///   between versions of LibTorch too.
  /// - Other classes through their own save() and load(), which must carry all
  ///   that their step changes, and the rates by get_lr() and set_lr(). One
  ///   that saves nothing is refused, in the save.
  ///
  /// The class, the groups and the shapes of the parameters must be the file's.
  /// The parameters themselves are the module's business. Options are written
  /// in place where their class is LibTorch's or this library's: references to
  /// them, a scheduler's say, stay valid.
  Checkpoint& optimizer(
      const std::string& name, torch::optim::Optimizer& optimizer);

  /// Whatever `torch::save` and `torch::load` take as a value, or what has
  /// members save(OutputArchive&) const and load(InputArchive&): schedulers,
  /// GradientNormRollback, GradientNoiseScale, EarlyStopping, classes of yours.
  /// Its class must be the file's. All modules and optimizers are loaded
  /// before, then states in the order in which they were named.
  template <typename State>
  Checkpoint& state(const std::string& name, State& value) {
    static_assert(
        !std::is_convertible_v<State*, torch::optim::Optimizer*>,
        "an optimizer is named with Checkpoint::optimizer()");
    static_assert(
        !std::is_convertible_v<State*, torch::nn::Module*>,
        "a module is named with Checkpoint::module()");
    static_assert(
        !detail::HoldsModule<State>::value,
        "a module that is held is named with Checkpoint::module()");
    static_assert(
        !std::is_const_v<State>, "a load writes it: it may not be const");
    return add_state(
        name, std::make_unique<detail::CheckpointStateOf<State>>(value));
  }

  /// A random generator of your own, of the kind and device of the file's.
  Checkpoint& generator(const std::string& name, at::Generator& generator);

  /// A tensor of any shape and type, which may be undefined. A load puts a new
  /// one in its place, on the device where the present one lies, which requires
  /// a gradient if that did. It is no leaf of an optimizer's: parameters
  /// belong to module().
  Checkpoint& tensor(const std::string& name, at::Tensor& value);

  /// An integer of any type, or a bool. The file has an int64_t: a value that
  /// is none is refused in the save, and one that `value` cannot hold in the
  /// load.
  template <typename Integer>
  Checkpoint& counter(const std::string& name, Integer& value) {
    static_assert(
        std::is_integral_v<Integer>, "a counter is of an integer type");
    static_assert(
        !std::is_const_v<Integer>, "a load writes it: it may not be const");
    return add_counter(
        name, std::make_unique<detail::CheckpointCounterOf<Integer>>(value));
  }
  /// The file has a double: a load rounds it to a float, and one that is out of
  /// a float's range is refused.
  Checkpoint& number(const std::string& name, double& value);
  Checkpoint& number(const std::string& name, float& value);
  Checkpoint& text(const std::string& name, std::string& value);

  /// Whether the states of the default random generators, of the CPU and of all
  /// CUDA devices, are saved and loaded; on at the start. On a load, those of
  /// devices that the file or the machine lacks are passed over; a file that
  /// was saved without any does not fit.
  Checkpoint& random_state(bool value);
  bool random_state() const;

  /// Free texts to go with the file. A load replaces them all.
  std::map<std::string, std::string>& values();
  const std::map<std::string, std::string>& values() const;

  /// For the library's own use.
  const detail::CheckpointParts& parts() const { return *parts_; }

 private:
  Checkpoint& add_counter(
      const std::string& name,
      std::unique_ptr<detail::CheckpointCounter> counter);
  Checkpoint& add_state(
      const std::string& name, std::unique_ptr<detail::CheckpointState> state);

  std::unique_ptr<detail::CheckpointParts> parts_;
};

/// Writes a checkpoint, or leaves the file that is there as it is: the bytes go
/// to "PATH.tmp-PID-N" in the same folder, reach the disk (fsync), take the
/// file's name (rename), and the name reaches the disk. Whatever kills the
/// process or the machine, PATH is the earlier checkpoint or the new one.
///
/// Throws c10::Error "save_checkpoint: ..." where the file cannot be written
/// (with the system's reason; no temporary file stays) and where something
/// cannot be saved, naming it. Where all but the last has been done, that the
/// name reaches the disk, it says so: PATH is the new checkpoint then.
///
/// Memory: tensors on a CPU are written from where they lie. Those of other
/// devices, states and optimizers of foreign classes are copied to the host
/// first.
void save_checkpoint(const std::string& path, const Checkpoint& checkpoint);

/// Reads a checkpoint into all that is named in `checkpoint`, or into what the
/// options say of it. All or nothing: the file's checksums, and names, kinds,
/// classes, shapes and types are checked first, and where a load() throws after
/// that, all is put back bit for bit, the random state included. Returns what
/// was loaded and what was not.
///
/// Throws c10::Error "load_checkpoint: PATH: ...". What does not fit is listed,
/// up to ten items. Throws too where an option names nothing that is there, and
/// where nothing would be loaded by it. Files of 1.13.1, 2.6.0 and 2.14.1 of
/// LibTorch load in each other.
///
/// A file is data of yours: checksums find damage, not ill will.
///
/// Memory until it returns: the tensors of the file, a copy of the modules'
/// parameters and buffers and of the states, and the optimizers' state twice,
/// as it was and as it will be.
LoadResult load_checkpoint(
    const std::string& path,
    Checkpoint& checkpoint,
    const LoadOptions& options = {});

}  // namespace stepsize
