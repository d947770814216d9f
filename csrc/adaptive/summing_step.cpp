#include "csrc/adaptive/summing_step.h"

#include <ATen/Functions.h>
#include <stepsize/distributed/reduction.h>

namespace stepsize::detail {

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

void agree(Reduction* reduction, double* numbers, std::size_t count) {
  if (reduction == nullptr) return;
  at::Tensor all = at::empty({static_cast<int64_t>(count)}, at::kDouble);
  double* const values = all.data_ptr<double>();
  for (std::size_t i = 0; i < count; ++i) values[i] = numbers[i];
  reduction->sum(all);
  const auto ranks = static_cast<double>(reduction->world_size());
  const double* const sums = all.data_ptr<double>();
  for (std::size_t i = 0; i < count; ++i) numbers[i] = sums[i] / ranks;
}

}  // namespace stepsize::detail
