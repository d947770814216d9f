#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "csrc/distributed/channel.h"
#include "csrc/distributed/key_server.h"
#include "csrc/distributed/meeting.h"

namespace stepsize::detail {

/// With clone(), which LibTorch's store has in some versions only, so that
/// `override` is right in all.
class StoreWithClone : public c10d::Store {
 public:
  using c10d::Store::Store;
  virtual c10::intrusive_ptr<c10d::Store> clone() = 0;
};

/// The store in which the ranks of a meeting leave what their group needs, over
/// the connections that they have met by. It lives as long as the group.
/// Functions throw std::runtime_error where another rank has failed or left
/// before it had its group, and where the time is over. For several threads.
class MeetingStore : public StoreWithClone {
 public:
  /// `deadline`: of all that is done until finish(). `timeout`: of a question
  /// that names none, after it.
  MeetingStore(
      const Meeting& meeting,
      std::vector<Channel> channels,
      Deadline deadline,
      std::chrono::milliseconds timeout);

  using c10d::Store::compareSet;
  using c10d::Store::set;
  void set(const std::string& key, const std::vector<uint8_t>& value) override;
  std::vector<uint8_t> compareSet(
      const std::string& key,
      const std::vector<uint8_t>& expected,
      const std::vector<uint8_t>& desired) override;
  std::vector<uint8_t> get(const std::string& key) override;
  int64_t add(const std::string& key, int64_t value) override;
  bool deleteKey(const std::string& key) override;
  bool check(const std::vector<std::string>& keys) override;
  int64_t getNumKeys() override;
  void wait(const std::vector<std::string>& keys) override;
  void wait(
      const std::vector<std::string>& keys,
      const std::chrono::milliseconds& timeout) override;
  c10::intrusive_ptr<c10d::Store> clone() override;

  /// To be called when this rank has its group. Returns when all have theirs.
  void finish();
  /// To be called where this rank will not have one: tells the others why.
  void fail(const std::string& why) noexcept;

 private:
  Words ask(const Words& question);
  Words ask_master(const Words& question);
  // Asks until the answer is yes. Throws when the time is over.
  void wait_for_yes(const Words& question, Deadline until);
  Deadline last_moment(const std::chrono::milliseconds& timeout) const;

  // On rank 0.
  std::unique_ptr<KeyServer> server_;
  // Elsewhere.
  std::optional<Channel> master_;
  std::mutex mutex_;  // of master_
  mutable std::mutex deadline_mutex_;
  // None after finish().
  std::optional<Deadline> deadline_;
};

}  // namespace stepsize::detail
