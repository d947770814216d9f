#pragma once

#include <torch/optim/optimizer.h>

#include <memory>

namespace stepsize {

/// A copy of all that an optimizer's step changes: its parameters, its state
/// (tensors, counts of steps, counters) and the options of its groups, the rate
/// included. It puts them back bit for bit, as often as asked.
///
///     OptimizerSnapshot before(optimizer);
///     ...                 // any number of steps
///     before.restore();   // as if they had never been
///
/// What it knows:
///
/// - The IndexedOptimizers of this library, and others that are described and
///   override neither save() nor load(), tensor by tensor, and their counters
///   through save() and load() in memory.
/// - LibTorch's SGD, Adam, AdamW, RMSprop, Adagrad and LBFGS, field by field.
/// - Every other class through its own save() and load(), which must carry all
///   that its step changes. A class that saves nothing is refused: the base
///   class's save() and load() do nothing. A class derived from one of
///   LibTorch's inherits a save() that does not know what it has added, a
///   counter of its own, say: such a member is not put back. The first snapshot
///   of each such class warns of it.
///
/// Parameters are written where they lie, without counting as changed. The
/// options of the classes named above are written in place, so that references
/// to them stay valid; those of other classes are replaced by copies.
///
/// Not its business: gradients, buffers of the module, the random state.
///
/// Memory: one copy of parameters and state. The state of classes that it knows
/// by save() and load() is kept as bytes, as a file of it would be: while they
/// are read there is one copy of the state more.
///
/// The optimizer must outlive the snapshot, which cannot be copied.
class OptimizerSnapshot {
 public:
  /// Throws c10::Error for an optimizer whose state cannot be put back.
  explicit OptimizerSnapshot(torch::optim::Optimizer& optimizer);
  ~OptimizerSnapshot();
  OptimizerSnapshot(const OptimizerSnapshot&) = delete;
  OptimizerSnapshot& operator=(const OptimizerSnapshot&) = delete;

  /// Takes the snapshot anew, into the memory that it has where that fits.
  /// Throws as the constructor does; the earlier one is then lost.
  void update();

  /// Puts everything back. Throws c10::Error, and changes nothing, where the
  /// optimizer has other groups or parameters than when the snapshot was made;
  /// what a foreign class's load() throws passes on, with parameters and
  /// options put back.
  void restore();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace stepsize
