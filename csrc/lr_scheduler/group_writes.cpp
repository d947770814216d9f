#include "csrc/lr_scheduler/group_writes.h"

namespace stepsize::detail {

GroupWrites::~GroupWrites() {
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
    auto& options = optimizer_.param_groups()[undo->group].options();
    try {
      if (undo->access != nullptr) {
        undo->access->set(options, undo->value);
      } else {
        options.set_lr(undo->value);
      }
    } catch (...) {  // NOLINT: the first error is already on its way
    }
  }
}

void GroupWrites::set_momentum(
    const MomentumAccess& access, std::size_t group, double momentum) {
  auto& options = optimizer_.param_groups()[group].options();
  const auto before = access.get(options);
  if (before) undo_.push_back({group, &access, *before});
  access.set(options, momentum);
}

void GroupWrites::set_lrs(const std::vector<double>& lrs) {
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    auto& options = optimizer_.param_groups()[i].options();
    undo_.push_back({i, nullptr, options.get_lr()});
    options.set_lr(lrs[i]);
  }
}

}  // namespace stepsize::detail
