#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>
#include <stepsize/distributed/reduction.h>

#include <cstdint>
#include <functional>
#include <string>

namespace c10d {
class ProcessGroup;
}  // namespace c10d

namespace stepsize {

/// A Reduction over a process group of LibTorch: Gloo, NCCL, MPI or another.
/// connect() makes group and reduction in one.
///
/// Throws RankLostError where another rank is lost or does not come within the
/// group's time-out; it says which rank threw, in which operation and what the
/// group said. The group is of no more use then, and every call after it throws
/// at once. (With NCCL only where the group waits on the host, as those of
/// connect() do: TORCH_NCCL_BLOCKING_WAIT=1, before LibTorch 2.2
/// NCCL_BLOCKING_WAIT=1. Else the GPU waits, and NCCL's own watch ends the
/// process.) A tensor or root that does not fit is refused before anything is
/// sent. On a CPU, sum() throws c10::Error on all ranks where they bring
/// tensors of other lengths or types; start_sum() and broadcast() do not look.
///
/// Where LibTorch was built without c10d the class is declared and not defined;
/// `stepsize_HAS_C10D` of the CMake package says so.
class ProcessGroupReduction : public Reduction {
 public:
  /// `device`: where the group takes tensors: the CPU, or a GPU for NCCL. Those
  /// that lie elsewhere travel there and back. `timeout_seconds`: the group's,
  /// which it does not tell; 0 where it is not known. It only serves messages.
  explicit ProcessGroupReduction(
      c10::intrusive_ptr<c10d::ProcessGroup> group,
      const at::Device& device = at::kCPU,
      double timeout_seconds = 0);
  ~ProcessGroupReduction() override;
  ProcessGroupReduction(const ProcessGroupReduction&) = delete;
  ProcessGroupReduction& operator=(const ProcessGroupReduction&) = delete;

  int64_t rank() const override;
  int64_t world_size() const override;
  void sum(at::Tensor& tensor) override;
  std::function<void()> start_sum(at::Tensor tensor) override;
  void broadcast(at::Tensor& bytes, int64_t root) override;
  int64_t exchanges() const override { return exchanges_; }
  /// Lets go of the group, which ends with its last owner: its connections
  /// close, and the others hear of it at once. Where you hold it too, they wait
  /// for their time-out.
  void give_up() override;

 private:
  template <typename Operation>
  void guarded(const char* what, const Operation& operation);
  at::Tensor there(const at::Tensor& tensor) const;
  std::string others() const;

  c10::intrusive_ptr<c10d::ProcessGroup> group_;
  int64_t rank_;
  int64_t world_size_;
  at::Device device_;
  double timeout_seconds_;
  int64_t exchanges_ = 0;
  // What ended the group.
  std::string failure_;
};

}  // namespace stepsize
