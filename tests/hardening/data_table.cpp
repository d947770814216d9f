// Samplers.

#include <stepsize/data/resumable_sampler.h>

#include "tests/hardening/option_table.h"

namespace stepsize::test {

OptionTable data_table() {
  OptionTable table;
  using Options = ResumableSamplerOptions;
  const auto use = [](const Options& options) { ResumableSampler{options}; };
  OptionCases(table, "ResumableSamplerOptions", "ResumableSampler")
      .count(
          "size",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(v)); })
      .count(
          "size",
          {3},
          {4},
          [use](int64_t v) { use(Options(v).num_replicas(4).drop_last(true)); })
      .count(
          "num_replicas",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(8).num_replicas(v)); })
      .count("rank", {-1, INT64_MIN, 4, kMostCount}, {0, 3}, [use](int64_t v) {
        use(Options(8).num_replicas(4).rank(v));
      });
  const auto go_to = [](const SamplerPlace& place) {
    ResumableSampler sampler(Options(8));
    sampler.set_place(place);
    sampler.reset();
    sampler.next(3);
  };
  OptionCases(table, "SamplerPlace", "ResumableSampler")
      .count(
          "epoch",
          {-1, INT64_MIN, (int64_t{1} << 62) + 1, kMostCount},
          {0, int64_t{1} << 62},
          [go_to](int64_t v) {
            go_to({v, 0, 0});
          })
      .count(
          "examples",
          {-1, INT64_MIN, 9, kMostCount},
          {1, 8},
          [go_to](int64_t v) {
            go_to({0, 1, v});
          })
      .count(
          "batches",
          {-1, INT64_MIN, 0, 5, kMostCount},
          {1, 4},
          [go_to](int64_t v) {
            go_to({0, v, 4});
          });
  return table;
}

}  // namespace stepsize::test
