#include <gtest/gtest.h>
#include <stepsize/adaptive/muon.h>
#include <torch/torch.h>

#include <memory>
#include <vector>

#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

// Each rank orthogonalizes a share, and all have the same bits after it.
TEST(MuonRanks, StepAsOne) {
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const auto train = [type](const std::shared_ptr<Reduction>& ranks) {
      std::vector<torch::Tensor> parameters;
      for (int i = 0; i < 5; ++i) {
        parameters.push_back(
            torch::sin(torch::arange(12, torch::kFloat64) * (i + 1.3))
                .view({3, 4})
                .to(type)
                .requires_grad_());
      }
      parameters.push_back(torch::ones({8, 2}, type).requires_grad_());
      Muon muon(parameters, MuonOptions(0.05));
      muon.set_reduction(ranks);
      for (int step = 0; step < 6; ++step) {
        for (std::size_t i = 0; i < parameters.size(); ++i) {
          const double rank =
              ranks == nullptr ? 0 : static_cast<double>(ranks->rank()) - 0.5;
          parameters[i].mutable_grad() =
              (parameters[i].detach() * 3 + step).cos() + rank;
        }
        muon.step();
      }
      std::vector<torch::Tensor> flat;
      for (const auto& own : parameters) flat.push_back(own.detach().flatten());
      return torch::cat(flat);
    };
    const auto one = train(nullptr);
    const auto two = on_ranks<torch::Tensor>(2, train);
    EXPECT_TRUE(torch::equal(two[0], two[1]));
    EXPECT_LT(
        (two[0] - one).abs().max().item<double>(),
        type == torch::kFloat64 ? 1e-10 : 1e-4);
  }
}

}  // namespace
}  // namespace stepsize::test
