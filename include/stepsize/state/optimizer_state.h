#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {

/// What an optimizer keeps for one parameter, whatever its class.
struct ParameterState {
  bool there = false;
  int64_t steps = 0;
  std::vector<at::Tensor> tensors;  ///< undefined where there is none
};

/// The state of one optimizer, without a word of its class: what a snapshot, a
/// rollback and a checkpoint read and write. Options are not part of it unless
/// carries_options(). Made by StatefulOptimizer::state_access() for classes
/// that know it; LibTorch's, and those that only save and load themselves, are
/// known to the library.
class OptimizerState {
 public:
  virtual ~OptimizerState() = default;

  /// To be called before a read or a save: throws c10::Error where the state
  /// has turned out to be none that can be put back.
  virtual void check() {}

  /// Writes all of it, counters included.
  virtual void save(torch::serialize::OutputArchive& archive) const = 0;
  /// Reads and checks what save() wrote, changes nothing, and returns what
  /// takes it over. What does not fit the parameters is added to `mismatches`,
  /// a sentence each, where the class can say it so; else c10::Error.
  virtual std::function<void()> prepare(
      torch::serialize::InputArchive& archive,
      std::vector<std::string>& mismatches) = 0;
  /// Whether save() and what prepare() returns carry the groups' options too.
  virtual bool carries_options() const { return false; }
  /// Whether what save() writes is known to the optimizer's own load() alone.
  virtual bool is_opaque() const { return false; }
  /// Notes the state as it is, sharing its tensors where it may: what it
  /// returns puts it back, as long as nobody has written to the tensors.
  virtual std::function<void()> keep() = 0;

  /// Whether read() and write() are there; `complete` where what they carry is
  /// all there is.
  virtual bool is_by_parameter() const { return false; }
  virtual bool is_complete_by_parameter() const { return false; }
  /// Whether read() and write() are there, whatever is_by_parameter() says, and
  /// the tensors that they show may be taken out by write(): what save() and
  /// prepare() carry then is the rest, and nothing misses them.
  virtual bool saves_without_tensors() const { return false; }
  /// The tensors are the optimizer's own.
  virtual void read(
      std::size_t group, std::size_t index, ParameterState& state) const;
  /// Takes `state` over: its tensors become the optimizer's.
  virtual void write(
      std::size_t group, std::size_t index, const ParameterState& state);
};

/// An optimizer that shows its state by parameter. IndexedOptimizer is one.
class StatefulOptimizer {
 public:
  virtual ~StatefulOptimizer() = default;
  /// Lives no longer than the optimizer.
  virtual std::unique_ptr<OptimizerState> state_access() = 0;
};

}  // namespace stepsize
