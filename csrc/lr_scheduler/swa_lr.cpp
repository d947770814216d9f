#include <stepsize/lr_scheduler/swa_lr.h>

#include <stepsize/schedule/ramp.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule SWALROptions::rule() const {
  const std::string kind = "SWALR";
  detail::check_rates(kind, "swa_lr", swa_lr_);
  detail::check_option(
      anneal_epochs_ >= 0, kind, "anneal_epochs", ">= 0", anneal_epochs_);
  const auto length = static_cast<double>(anneal_epochs_);
  const bool is_cosine = anneal_strategy_ == AnnealStrategy::kCosine;
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("swa_lr", swa_lr_)
           .add("anneal_epochs", anneal_epochs_, 10)
           .add("anneal_strategy", is_cosine ? "cos" : "linear", "cos")
           .list(),
       is_cosine ? cosine(length) : linear(length),
       detail::NamedPerGroup{"swa_lr", swa_lr_}});
}

SWALR::SWALR(torch::optim::Optimizer& optimizer, const SWALROptions& options)
    : RuleLR(optimizer, options.rule(), BaseRate::kAtFirstStep) {}

}  // namespace stepsize
