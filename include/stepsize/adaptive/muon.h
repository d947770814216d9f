#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/optim/param_groups.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

namespace stepsize {

/// How Muon's rate goes by the shape of a matrix, rows x columns; named as by
/// Python's torch.optim.Muon.
enum class AdjustLR : std::uint8_t {
  kOriginal,       ///< times sqrt(max(1, rows / columns)): Jordan et al.
  kMatchRMSAdamW,  ///< times 0.2 sqrt(max(rows, columns)): Liu et al.
};

/// What Muon's matrices are multiplied in.
enum class MuonPrecision : std::uint8_t {
  kByDevice,  ///< bfloat16 on accelerators, save for float64; else kFull
  kFull,      ///< float32, and float64 for float64 parameters
  kBFloat16,
};

/// Options of Muon, preset as in the authors' SingleDeviceMuonWithAuxAdam.
class MuonOptions : public ListedOptions<MuonOptions> {
 public:
  /// `lr`: step size, finite and >= 0. Of the groups of AdamW some 3e-4; with
  /// kMatchRMSAdamW AdamW's rate in all groups.
  MuonOptions(double lr = 0.02);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Whether the group's parameters are matrices to be orthogonalized. AdamW
  /// steps those of the other groups.
  TORCH_ARG(bool, use_muon) = true;
  /// Decoupled, in all groups; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;

  /// Share of the mean that stays; in [0, 1).
  TORCH_ARG(double, momentum) = 0.95;
  TORCH_ARG(bool, nesterov) = true;
  TORCH_ARG(AdjustLR, adjust_lr) = AdjustLR::kOriginal;
  /// Newton-Schulz iterations; in [1, 99].
  TORCH_ARG(int64_t, ns_steps) = 5;
  /// Added to the length that a matrix is divided by; finite and >= 0.
  TORCH_ARG(double, ns_eps) = 1e-7;
  TORCH_ARG(MuonPrecision, ns_precision) = MuonPrecision::kByDevice;

  /// AdamW's, as in ClippedAdamWOptions.
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.95);
  TORCH_ARG(double, eps) = 1e-10;

 public:
  static const OptionList<MuonOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Muon (Jordan et al., Muon: An optimizer for hidden layers in neural
/// networks, 2024), with AdamW for what it is not made for. For each matrix W
/// of a group with use_muon, gradient G and mean M, 0 at first:
///
///   M = momentum M + (1 - momentum) G
///   U = (1 - momentum) G + momentum M       (M itself without nesterov)
///   W = W - lr (weight_decay W + s NS(U))   (s: see AdjustLR)
///
/// NS moves all singular values close to 1, by ns_steps quintic Newton-Schulz
/// iterations. A tensor of more than two dimensions counts as size(0) rows.
///
/// Matrices of one shape are multiplied as a batch, on a CPU with AVX-512 each
/// by a thread; with other ranks each orthogonalizes a share of them. Cost a
/// step of a matrix m x n, m <= n: about 20 m^2 n + 10 m^3 operations; one
/// buffer, and two of those of AdamW.
class Muon : public IndexedOptimizer {
 public:
  /// Throws c10::Error where an option is out of range, and where a parameter
  /// of a group with use_muon has fewer than two dimensions.
  Muon(std::vector<at::Tensor> parameters, const MuonOptions& options = {});
  Muon(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const MuonOptions& defaults = {});

  /// Two groups of a module: `hidden`, the hidden matrices, with the options
  /// `muon`; `others`, with the options `adamw`. Not hidden are
  ///
  /// - embeddings: LibTorch's, and what has "embed" in its name or its class's,
  /// - the head: the weight of the last Linear,
  /// - biases, the parameters of norms, and all with one dimension at most,
  /// - what one of the patterns matches; they are those of ParamGroups.
  ///
  ///     auto optimizer = Muon::groups(*model, MuonOptions(0.02),
  ///         MuonOptions(3e-4)).make_optimizer<Muon>();
  ///
  /// Throws c10::Error where nothing is hidden, and where a pattern matches
  /// nothing.
  static ParamGroups<MuonOptions> groups(
      const torch::nn::Module& module,
      const MuonOptions& muon,
      const MuonOptions& adamw,
      const std::vector<std::string>& no_muon = {});
  /// The same with one rate for all: throws c10::Error unless the options have
  /// kMatchRMSAdamW.
  static ParamGroups<MuonOptions> groups(
      const torch::nn::Module& module,
      const MuonOptions& options,
      const std::vector<std::string>& no_muon = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range, a
  /// gradient does not fit its parameter or a parameter of a group with
  /// use_muon is no matrix; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

 protected:
  bool has_state(std::size_t group, std::size_t slot) const override;

 private:
  class Matrices;

  const MuonOptions& options_of(std::size_t group) const;
  void check_matrices() const;
  void step_by_adamw(const std::vector<ParameterUpdate>& updates) const;
};

}  // namespace stepsize
