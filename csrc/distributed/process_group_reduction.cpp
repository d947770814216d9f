#include <stepsize/distributed/process_group_reduction.h>

#include <c10/util/Exception.h>
#include <stepsize/distributed/agree.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <exception>
#include <sstream>
#include <utility>
#include <vector>

#include "csrc/distributed/failure.h"
#include "csrc/distributed/guarded_sum.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kProcessGroupReduction[] = "ProcessGroupReduction";

// The first line, without the place in a source file that it may start with.
std::string short_text(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  const auto end = line.find("] ");
  if (line.rfind('[', 0) == 0 && end != std::string::npos) {
    line.erase(0, end + 2);
  }
  return line;
}

void check_dense(const at::Tensor& tensor, const char* what, bool right_type) {
  TORCH_CHECK(
      tensor.defined() && tensor.layout() == at::kStrided &&
          tensor.is_contiguous() && right_type,
      kProcessGroupReduction,
      ": the tensor must be contiguous and ",
      what);
}

void check_summable(const at::Tensor& tensor) {
  const bool right_type =
      tensor.defined() && (tensor.scalar_type() == at::kFloat ||
                           tensor.scalar_type() == at::kDouble);
  check_dense(tensor, "of float32 or float64", right_type);
}

RankLostError lost(const std::string& message) {
  constexpr c10::SourceLocation kHere{
      "ProcessGroupReduction", "process_group_reduction.cpp", 0};
  return {kHere, message};
}

}  // namespace

ProcessGroupReduction::ProcessGroupReduction(
    c10::intrusive_ptr<c10d::ProcessGroup> group,
    const at::Device& device,
    double timeout_seconds)
    : group_(std::move(group)),
      device_(device),
      timeout_seconds_(timeout_seconds) {
  TORCH_CHECK(
      group_, kProcessGroupReduction, ": the process group must not be empty");
  rank_ = group_->getRank();
  world_size_ = group_->getSize();
}

ProcessGroupReduction::~ProcessGroupReduction() = default;

int64_t ProcessGroupReduction::rank() const { return rank_; }

int64_t ProcessGroupReduction::world_size() const { return world_size_; }

void ProcessGroupReduction::give_up() {
  if (!failure_.empty()) return;
  failure_ = std::string(kProcessGroupReduction) + ": rank " +
             std::to_string(rank_) + " of " + std::to_string(world_size_) +
             " has left the others after an exception between two exchanges";
  group_.reset();
}

std::string ProcessGroupReduction::others() const {
  if (world_size() == 2) return "rank " + std::to_string(1 - rank());
  return "another rank";
}

template <typename Operation>
void ProcessGroupReduction::guarded(
    const char* what, const Operation& operation) {
  if (!failure_.empty()) throw lost(failure_ + " (the group was given up)");
  try {
    operation();
  } catch (...) {
    failure_ = std::string(kProcessGroupReduction) + ": rank " +
               std::to_string(rank()) + " of " + std::to_string(world_size()) +
               " has lost " + others() + " in a " + what + ": " +
               short_text(detail::text_of(std::current_exception()));
    if (timeout_seconds_ > 0) {
      failure_ +=
          "; the time-out is " + detail::number_text(timeout_seconds_) + " s";
    }
    throw lost(failure_);
  }
}

// The tensor, or a copy where the group takes it.
at::Tensor ProcessGroupReduction::there(const at::Tensor& tensor) const {
  return tensor.device().type() == device_.type() ? tensor : tensor.to(device_);
}

void ProcessGroupReduction::sum(at::Tensor& tensor) {
  check_summable(tensor);
  // Of a GPU's group the numbers would have to come back to be looked at.
  if (world_size_ == 1 || !device_.is_cpu()) return start_sum(tensor)();
  const auto plain_sum = [this](at::Tensor part) { start_sum(part)(); };
  if (detail::guarded_sum(
          tensor, static_cast<double>(world_size_), plain_sum)) {
    return;
  }
  std::ostringstream own;
  own << tensor.numel() << " elements of " << tensor.scalar_type();
  agree({{"the tensor to sum", own.str()}}, *this, kProcessGroupReduction);
  // Words that are the same do not make it a sum.
  TORCH_CHECK(
      false,
      kProcessGroupReduction,
      ": what the ranks say of the tensor to sum does not add up, though all "
      "have ",
      own.str());
}

std::function<void()> ProcessGroupReduction::start_sum(at::Tensor tensor) {
  c10::intrusive_ptr<c10d::Work> work;
  check_summable(tensor);
  std::vector<at::Tensor> tensors{there(tensor)};
  guarded("sum", [&] {
    ++exchanges_;
    work = group_->allreduce(tensors);
  });
  return [this, work, tensor, at_group = tensors.front()] {
    guarded("sum", [&] {
      work->wait();
      // A GPU tells of a failure where its memory is read.
      if (!at_group.is_same(tensor)) tensor.copy_(at_group);
    });
  };
}

void ProcessGroupReduction::broadcast(at::Tensor& bytes, int64_t root) {
  detail::check_root(kProcessGroupReduction, *this, root);
  check_dense(
      bytes, "of bytes", bytes.defined() && bytes.scalar_type() == at::kByte);
  std::vector<at::Tensor> tensors{there(bytes)};
  c10d::BroadcastOptions options;
  options.rootRank = root;
  guarded("broadcast", [&] {
    ++exchanges_;
    group_->broadcast(tensors, options)->wait();
    if (!tensors.front().is_same(bytes)) bytes.copy_(tensors.front());
  });
}

}  // namespace stepsize
