#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stepsize {

/// A rank that has ended, hangs or cannot be reached: the ranks that are left
/// cannot go on with it.
class RankLostError : public c10::Error {
 public:
  using c10::Error::Error;
};

/// The ranks of a data-parallel run, as the optimizers and the tuning tools see
/// them: processes that each hold a copy of the model, compute on a share of
/// the data, and add their numbers up.
///
/// connect() makes one, ProcessGroupReduction wraps a group that there is
/// already, and a class of yours may stand on anything that can add tensors.
///
/// Every function but rank() and world_size() is collective: all ranks call it,
/// in the same order, with tensors of the same shape and type. A rank that does
/// not come makes the others throw RankLostError, as the class at hand says.
/// Not for use from several threads at once.
class Reduction {
 public:
  virtual ~Reduction() = default;

  /// This process, in [0, world_size()).
  virtual int64_t rank() const = 0;
  virtual int64_t world_size() const = 0;

  /// Puts the sum over ranks in the place of the tensor: the same bits on every
  /// rank. The tensor is contiguous, of float32 or float64, on any device.
  virtual void sum(at::Tensor& tensor) = 0;

  /// Starts a sum and returns what waits for its end, which is to be called
  /// before the tensor is used or the next function that does not start with
  /// start_. The default does all at once.
  virtual std::function<void()> start_sum(at::Tensor tensor);

  /// Puts the root's values in the place of the tensor, which is contiguous and
  /// of bytes.
  virtual void broadcast(at::Tensor& bytes, int64_t root) = 0;

  /// Each of these is one small sum, and the same on every rank bit for bit.
  /// Of all ranks' values, in the order of the ranks.
  std::vector<double> gather(double value);
  double mean(double value);
  /// Of a tensor with one element, a loss say.
  double mean(const at::Tensor& value);
  /// NaN where any rank's is.
  double max(double value);
  bool any(bool value);
  /// Returns when all ranks have come here.
  void barrier();

  /// The root's text, on every rank.
  std::string broadcast_text(const std::string& text, int64_t root = 0);

  /// Runs `work` on this rank, and throws on all ranks where it throws on one:
  /// what `work` threw there, c10::Error that names the rank elsewhere. So no
  /// rank goes on to wait for one that has given up. Throws as attempt() does.
  void together(const std::function<void()>& work);

  /// Runs `work` and returns what it threw, if anything, for
  /// RankShare::failure. Throws it where the others cannot be told: where it is
  /// a RankLostError, and where `work` had used this reduction before it threw.
  /// The ranks' exchanges do not match any more then; the rank gives up, and
  /// the others get RankLostError.
  std::exception_ptr attempt(const std::function<void()>& work);

  /// How many sums and broadcasts this rank has begun, for attempt(). A class
  /// that does not count says 0: what runs on it may not throw between two.
  virtual int64_t exchanges() const { return 0; }

  /// Another reduction of the same ranks, whose exchanges come in an order of
  /// their own and may lie between this one's. Null where the class cannot make
  /// one, as the default says.
  virtual std::shared_ptr<Reduction> duplicate();

  /// Ends this rank's part, so that others throw RankLostError instead of
  /// waiting. Every call after it throws. The default does nothing.
  virtual void give_up() {}

 protected:
  Reduction() = default;
  Reduction(const Reduction&) = default;
  Reduction& operator=(const Reduction&) = default;
};

}  // namespace stepsize
