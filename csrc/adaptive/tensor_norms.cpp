#include "csrc/adaptive/tensor_norms.h"

#include <ATen/Functions.h>
#include <stepsize/kernels/grad_norm.h>

namespace stepsize::detail {

std::vector<double> tensor_norms(const std::vector<at::Tensor>& tensors) {
  std::vector<double> norms(tensors.size());
  std::vector<at::Tensor> there;
  std::vector<std::size_t> positions;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor norm = global_norm(tensors[i]);
    if (norm.is_cpu()) {
      norms[i] = norm.item<double>();
      continue;
    }
    there.push_back(norm.to(at::kDouble));
    positions.push_back(i);
  }
  if (!there.empty()) {
    const at::Tensor host = at::stack(there).cpu();
    for (std::size_t i = 0; i < positions.size(); ++i) {
      norms[positions[i]] = host.data_ptr<double>()[i];
    }
  }
  return norms;
}

}  // namespace stepsize::detail
