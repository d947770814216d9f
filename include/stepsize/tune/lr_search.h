#pragma once

#include <stepsize/tune/lr_search_result.h>
#include <stepsize/tune/search_space.h>
#include <stepsize/tune/trial.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <string>

namespace stepsize {

/// Trains with a trial's numbers, tells the losses on the way to
/// Trial::report() and returns the last one.
using TrialClosure = std::function<double(Trial&)>;

/// Called after each trial that this process has run. False ends the search.
using SearchProgress = std::function<bool(const SearchedTrial&)>;

/// Options of lr_search.
class LRSearchOptions {
 public:
  /// The range of the rate, searched in its logarithm, which is the number
  /// "lr"; 0 < low < high, finite.
  LRSearchOptions(double low = 1e-5, double high = 10)
      : low_(low), high_(high) {}

  TORCH_ARG(double, low);
  TORCH_ARG(double, high);
  /// Other numbers to search for, and a schedule whose text has some. None may
  /// have the name of another column of LRSearchResult::write_csv().
  TORCH_ARG(SearchSpace, numbers);
  /// Trials in all, those of a journal and of other processes too; >= 1, or 0
  /// for 15, and ten more for each number besides the rate.
  TORCH_ARG(int64_t, trials) = 0;
  /// Trials at quasi-random places before the model is asked; >= 1, or 0 for
  /// 1 + 2 a number.
  TORCH_ARG(int64_t, startup) = 0;
  /// Seeds that each trial is run with; >= 1. Its loss is their mean.
  TORCH_ARG(int64_t, repeats) = 1;
  /// A trial that tells its losses is stopped at a third and at a ninth (1 /
  /// halving and its square) of the longest run's steps, unless its loss is
  /// among the best third (1 / halving) there; > 1, infinity turns it off.
  TORCH_ARG(double, halving) = 3;
  /// Of the quasi-random places, the proposals and the trials' seeds; any.
  TORCH_ARG(int64_t, seed) = 0;
  /// A file that keeps all trials: a search that was killed goes on from it,
  /// and several processes that have the same one share the trials. "": none.
  TORCH_ARG(std::string, journal);
  /// What is trained, in words (UTF-8) that change with it: a journal with
  /// another label is refused.
  TORCH_ARG(std::string, label);
  /// Watches, and may end the search.
  TORCH_ARG(SearchProgress, progress) = nullptr;
};

/// Bayesian search for a learning rate and the numbers that go with it.
///
///     auto result = lr_search(
///         train,
///         LRSearchOptions(1e-5, 10)
///             .numbers("momentum:0.5..0.99 log1m")
///             .trials(25)
///             .journal("search.jsonl"));
///     result.best("lr");
///
/// The first trials lie at quasi-random places (scrambled Halton points). From
/// then on a Gaussian process, Matern 5/2 with a length a number, models the
/// loss, or its logarithm where all losses are > 0, and the next trial is where
/// the improvement to be expected is largest (Jones, Schonlau, Welch, Efficient
/// global optimization of expensive black-box functions, 1998). A loss that is
/// not finite counts as a bad one.
///
/// With a journal the search may be killed at any time: called again it goes on
/// with the trial that was under way, from its start, and ends as it would have
/// ended, if `train` depends on the trial alone. Processes that run the same
/// search with one journal share its trials, each taking the next one; those
/// that run count as if they had come out as expected. All return the same
/// result, when the last trial has ended; a trial of a process that has died is
/// taken over. The journal must lie where fcntl() locks work, on one machine
/// or a file system that has them.
///
/// The ranks of a data-parallel run must not each call it: they would train
/// different trials. Search on one rank, and send the others its numbers.
///
/// Before each run torch::manual_seed() is called; the random state of the CPU
/// and of CUDA devices is put back at the end. What `train` throws, other than
/// TrialDiverged, passes through, and its trial is still to be done.
///
/// Cost beside the trials: some tenths of a second a proposal, growing with the
/// cube of the trials. The journal is locked meanwhile: who reports or takes a
/// trial waits for it.
///
/// Throws c10::Error where an option is out of range, the journal is that of
/// another search (space, context of its schedule, label, seed or repeats) or
/// of the one that calls this one in a trial, and std::runtime_error where it
/// cannot be read or written.
LRSearchResult lr_search(
    const TrialClosure& train, const LRSearchOptions& options = {});

}  // namespace stepsize
