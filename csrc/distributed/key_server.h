#pragma once

#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "csrc/distributed/channel.h"

namespace stepsize::detail {

// What a store can be asked, with the words that follow, and what it answers.
constexpr char kSet[] = "set";                 // key, value
constexpr char kGet[] = "get";                 // key
constexpr char kAdd[] = "add";                 // key, number; the sum
constexpr char kCompareSet[] = "compare set";  // key, expected, desired
constexpr char kHas[] = "has";                 // keys; whether all are there
constexpr char kDelete[] = "delete";           // key; whether it was there
constexpr char kCount[] = "count";             // number of keys
constexpr char kReady[] = "ready";             // this rank is ready; are all?
constexpr char kFailed[] = "failed";           // why this rank will not have it
constexpr char kYes[] = "yes";                 // and the answer
constexpr char kNo[] = "no";

/// Keys and values of all ranks, which rank 0 keeps, and a thread that answers
/// the others. They have met: nobody else can come.
class KeyServer {
 public:
  /// `others`: those of the ranks from 1 on.
  explicit KeyServer(std::vector<Channel> others);
  ~KeyServer();
  KeyServer(const KeyServer&) = delete;
  KeyServer& operator=(const KeyServer&) = delete;

  /// Answers a question of rank 0.
  Words answer(const Words& question);

  /// Returns when all others are ready and know that all are; from then on they
  /// may leave. Throws std::runtime_error where one has failed or left before,
  /// or is not ready at the deadline.
  void wait_until_ready(Deadline deadline);

  /// Tells the others that rank 0 has failed, and waits a moment until they
  /// know.
  void fail(const std::string& why);

 private:
  Words answer(std::size_t rank, const Words& question);
  void serve();
  void hear(std::size_t rank);
  // With the mutex held. The first reason stays.
  void give_up(const std::string& why);
  bool has(const std::string& key) const { return values_.count(key) > 0; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  // By rank. Those who have their group, those who know that all have, and
  // those who have gone; the last two say nothing of rank 0.
  std::vector<bool> ready_;
  std::vector<bool> told_;
  std::vector<bool> left_;
  // Why there will be no group.
  std::string failure_;

  // Of the thread alone.
  std::vector<Channel> others_;
  Descriptor wake_;
  Descriptor waker_;
  std::thread thread_;
};

}  // namespace stepsize::detail
