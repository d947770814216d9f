#pragma once

#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/dog.h>
#include <stepsize/adaptive/hypergradient_adam.h>
#include <stepsize/adaptive/hypergradient_sgd.h>
#include <stepsize/adaptive/lamb.h>
#include <stepsize/adaptive/lars.h>
#include <stepsize/adaptive/muon.h>
#include <stepsize/adaptive/prodigy.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <stepsize/adaptive/sophia_h.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>

#include <torch/types.h>

#include <string>
#include <vector>

namespace stepsize::test {

/// An optimizer of this library in one of its forms.
template <typename OptimizerClass, typename OptionsClass>
struct OwnOptimizer {
  using Optimizer = OptimizerClass;
  using Options = OptionsClass;

  std::string name;  ///< the class, and what is special about the form
  Options options;
  /// Updates that suffice on a quadratic of curvature 40 and in Rosenbrock's
  /// valley, at a rate of 0.02.
  int quadratic_steps = 0;
  int rosenbrock_steps = 0;
  /// What the latter begins with: one that neither clips nor normalises needs a
  /// rate that the curvature at the start, 1330, allows.
  double rosenbrock_rate = 0.02;
  /// Whether it steps matrices alone: vectors of the tests are columns then.
  bool matrices = false;

  torch::Tensor fitted(const torch::Tensor& vector) const {
    return matrices ? vector.detach().reshape({-1, 1}).requires_grad_()
                    : vector;
  }
};

/// Calls visit(OwnOptimizer) for every class, in one form at least: what all
/// must do is tested of these, and a class that is not here fails a test.
template <typename Visit>
void for_each_own_optimizer(const Visit& visit) {
  visit(OwnOptimizer<ClippedSGD, ClippedSGDOptions>{
      "ClippedSGD", ClippedSGDOptions(0.02), 2000, 5000});
  visit(OwnOptimizer<ClippedSGD, ClippedSGDOptions>{
      "ClippedSGDHeavyBall",
      ClippedSGDOptions(0.02).momentum(0.9).dampening(0.1),
      2000,
      5000});
  visit(OwnOptimizer<ClippedSGD, ClippedSGDOptions>{
      "ClippedSGDNesterov",
      ClippedSGDOptions(0.02).momentum(0.9).nesterov(true).norm_type(
          NormType::kInfinity),
      2000,
      5000});
  visit(OwnOptimizer<ClippedAdamW, ClippedAdamWOptions>{
      "ClippedAdamW", ClippedAdamWOptions(0.02).weight_decay(0), 4000, 5000});
  visit(OwnOptimizer<ClippedAdamW, ClippedAdamWOptions>{
      "ClippedAdamWAmsgrad",
      ClippedAdamWOptions(0.02).weight_decay(0).amsgrad(true),
      4000,
      5000});
  visit(OwnOptimizer<Lion, LionOptions>{"Lion", LionOptions(0.02), 4000, 5000});
  // With late updates weighed more, or the start would stay in the mean for as
  // long as the run takes.
  visit(OwnOptimizer<ScheduleFreeAdamW, ScheduleFreeAdamWOptions>{
      "ScheduleFreeAdamW", ScheduleFreeAdamWOptions(0.02).r(3), 4000, 5000});
  visit(OwnOptimizer<ScheduleFreeSGD, ScheduleFreeSGDOptions>{
      "ScheduleFreeSGD", ScheduleFreeSGDOptions(0.02).r(3), 4000, 5000, 1e-3});
  visit(OwnOptimizer<Muon, MuonOptions>{
      "Muon", MuonOptions(0.02).use_muon(false), 4000, 5000});
  visit(OwnOptimizer<Muon, MuonOptions>{
      "MuonMatrices", MuonOptions(0.02), 4000, 5000, 0.02, true});
  // At a factor of 0.02 they begin with the rate 0.02.
  visit(OwnOptimizer<Prodigy, ProdigyOptions>{
      "Prodigy", ProdigyOptions(0.02).d0(1), 4000, 5000});
  visit(OwnOptimizer<Prodigy, ProdigyOptions>{
      "ProdigySliced", ProdigyOptions(0.02).d0(1).slice_p(2), 4000, 5000});
  visit(OwnOptimizer<DAdaptAdam, DAdaptAdamOptions>{
      "DAdaptAdam", DAdaptAdamOptions(0.02).d0(1), 4000, 5000});
  visit(OwnOptimizer<DoG, DoGOptions>{
      "DoG", DoGOptions(0.02).reps_rel(5), 4000, 5000});
  visit(OwnOptimizer<DoG, DoGOptions>{
      "DoGLayerWise",
      DoGOptions(0.02).reps_rel(5).layer_wise(true),
      4000,
      5000});
  visit(OwnOptimizer<HypergradientSGD, HypergradientSGDOptions>{
      "HypergradientSGD",
      HypergradientSGDOptions(0.02).momentum(0.5),
      4000,
      20000,
      5e-4});
  visit(OwnOptimizer<HypergradientSGD, HypergradientSGDOptions>{
      "HypergradientSGDNesterov",
      HypergradientSGDOptions(0.02)
          .momentum(0.5)
          .nesterov(true)
          .hypergrad_lr(1e-4)
          .form(HypergradientForm::kMultiplicative),
      4000,
      20000,
      5e-4});
  visit(OwnOptimizer<HypergradientAdam, HypergradientAdamOptions>{
      "HypergradientAdam",
      HypergradientAdamOptions(0.02).hypergrad_lr(1e-6),
      4000,
      5000});
  visit(OwnOptimizer<RollbackSGD, RollbackSGDOptions>{
      "RollbackSGD", RollbackSGDOptions(0.02).momentum(0.9), 2000, 5000});
  visit(OwnOptimizer<PowerMethodSGD, PowerMethodSGDOptions>{
      "PowerMethodSGD", PowerMethodSGDOptions().momentum(0.5)});
  visit(OwnOptimizer<AutoSGD, AutoSGDOptions>{
      "AutoSGD", AutoSGDOptions().momentum(0.5)});
  visit(OwnOptimizer<LARS, LARSOptions>{
      "LARS",
      LARSOptions(0.02).trust_coefficient(0.1).adapt_vectors(true),
      4000,
      5000});
  visit(
      OwnOptimizer<LAMB, LAMBOptions>{"LAMB", LAMBOptions(0.02), 12000, 5000});
  visit(OwnOptimizer<LAMB, LAMBOptions>{
      "LAMBOfVectors", LAMBOptions(0.02).adapt_vectors(true), 4000, 5000});
  visit(OwnOptimizer<AdaHessian, AdaHessianOptions>{
      "AdaHessian", AdaHessianOptions(0.02)});
  visit(OwnOptimizer<SophiaH, SophiaHOptions>{
      "SophiaH", SophiaHOptions(0.02).weight_decay(0)});
}

}  // namespace stepsize::test
