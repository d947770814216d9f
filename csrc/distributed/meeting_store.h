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

/// The store in which the ranks of a meeting leave what their group needs, over
/// the connections that they have met by. It lives as long as the group.
/// Functions throw std::runtime_error where another rank has failed or left
/// before it had its group, and where the time is over. For several threads.
class MeetingStore : public c10d::Store {
 public:
  /// `deadline`: of all that is done until finish().
  MeetingStore(
      const Meeting& meeting, std::vector<Channel> channels, Deadline deadline);

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
  // Of LibTorch 2.7 and later, and so without `override`.
  c10::intrusive_ptr<c10d::Store> clone();

  /// To be called when this rank has its group. Rank 0 waits for the others,
  /// who may still want something of it.
  void finish();
  /// To be called where this rank will not have one: tells the others why.
  void fail(const std::string& why) noexcept;

 private:
  Words ask(const Words& question);
  Words ask_master(const Words& question);
  Deadline last_moment(const std::chrono::milliseconds& timeout) const;

  // On rank 0.
  std::unique_ptr<KeyServer> server_;
  // Elsewhere.
  std::optional<Channel> master_;
  std::mutex mutex_;
  // None after finish().
  std::optional<Deadline> deadline_;
};

}  // namespace stepsize::detail
