#include "csrc/optim/fused_step.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

namespace stepsize::detail {

std::vector<Operands> checked_operands(
    const Signature& signature,
    const std::vector<ParameterUpdate>& updates,
    bool may_be_compact) {
  std::vector<Operands> operands;
  operands.reserve(updates.size());
  for (const ParameterUpdate& update : updates) {
    Operands& own = operands.emplace_back(
        Operands{{&update.parameter, &update.gradient}, 2});
    TORCH_INTERNAL_ASSERT(update.state.size() + 2 <= std::size_t{kMaxOperands});
    for (const at::Tensor& state : update.state) {
      own.tensors[own.count++] = &state;
    }
  }
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (i + kTensorsAhead < operands.size()) {
      prefetch_operands(operands[i + kTensorsAhead]);
    }
    if (may_be_compact && compact_form_of(operands[i], true)) {
      check_compact_operands(signature, static_cast<int64_t>(i), operands[i]);
    } else {
      check_operands(signature, static_cast<int64_t>(i), operands[i]);
    }
  }
  return operands;
}

void add_rows(
    const std::vector<std::pair<std::size_t, at::Tensor>>& rows,
    std::size_t count,
    std::vector<double>& totals) {
  if (rows.empty()) return;
  std::vector<at::Tensor> there;
  there.reserve(rows.size());
  for (const auto& row : rows) {
    there.push_back(row.second.to(rows.front().second.device()));
  }
  const at::Tensor host = at::stack(there).cpu().contiguous();
  const double* const values = host.data_ptr<double>();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t i = 0; i < count; ++i) {
      totals[rows[r].first * count + i] += values[r * count + i];
    }
  }
}

}  // namespace stepsize::detail
