// Ranks that meet, ranks that do not fit together, and strangers.

#include <gmock/gmock.h>
#include <netdb.h>
#include <stepsize/distributed/connect.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <torch/types.h>

#include <array>
#include <future>
#include <thread>

#include "csrc/distributed/channel.h"
#include "csrc/distributed/hello.h"
#include "csrc/distributed/key_server.h"
#include "csrc/distributed/master_address.h"
#include "csrc/distributed/meeting.h"
#include "csrc/distributed/meeting_store.h"
#include "tests/support/error_text.h"
#include "tests/support/listener.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::Listener;
using test::message_of;
using test::Visitor;
using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kNoRun[] = "what listens there is no stepsize run";

ConnectOptions rank_of_two(const std::string& master, int64_t rank) {
  return ConnectOptions(master).world_size(2).rank(rank).timeout_seconds(20);
}

std::string said_to(const ConnectOptions& options) {
  return message_of([&] { connect(options); });
}

std::string said_to_meeting(const detail::Meeting& meeting) {
  try {
    detail::meet(meeting);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

detail::Meeting meeting_of(int64_t rank, int64_t world_size) {
  detail::Meeting meeting;
  meeting.rank = rank;
  meeting.world_size = world_size;
  meeting.deadline = detail::Clock::now() + std::chrono::seconds(20);
  return meeting;
}

detail::Meeting one_of_three(int64_t rank, const std::string& master) {
  auto meeting = meeting_of(rank, 3);
  meeting.master = detail::checked_master({master});
  return meeting;
}

// Rank 1 of 2 where such a listener is.
std::string said_at(const Listener& listener) {
  return said_to(rank_of_two(listener.place(), 1));
}

// The message "welcome" and another one, as they travel.
std::string welcome_frame() {
  return {"stepsize\x0b\0\0\0\7\0\0\0welcome", 23};
}
std::string odd_frame() { return {"stepsize\7\0\0\0\3\0\0\0abc", 19}; }

// More than the system keeps for a reader.
std::string many(const std::string& frame) {
  std::string all;
  constexpr std::size_t kBytes = std::size_t{1} << 24;
  while (all.size() < kBytes) all += frame;
  return all;
}

// What connect() says in each of several processes, all at once.
std::vector<std::string> said_to_each(const std::vector<ConnectOptions>& all) {
  std::vector<std::future<std::string>> running;
  for (const ConnectOptions& options : all) {
    running.push_back(std::async(std::launch::async, said_to, options));
  }
  std::vector<std::string> texts;
  for (auto& one : running) texts.push_back(one.get());
  return texts;
}

bool say(int connection, const std::string& text) {
  return send(connection, text.data(), text.size(), MSG_NOSIGNAL) > 0;
}

TEST(Meeting, KnowsAStrangerByWhatItSays) {
  for (const std::string text :
       {"220 mail.example ESMTP\r\n",
        "s",  // and then "tepsizf", below
        "HTTP/1.1 400 Bad Request\r\n\r\n"}) {
    const Listener stranger([&](int connection) {
      say(connection, text);
      if (text == "s") say(connection, "tepsizf");
      return true;
    });
    EXPECT_EQ(
        said_to(rank_of_two(stranger.place(), 1)),
        "connect: " + stranger.place() + ": " + kNoRun)
        << text;
  }
}

TEST(Meeting, KnowsAStrangerWhoseMessageHasNoEnd) {
  const Listener stranger([](int connection) {
    return say(connection, std::string("stepsize\xff\xff\xff\xff", 12));
  });
  EXPECT_EQ(
      said_to(rank_of_two(stranger.place(), 1)),
      "connect: " + stranger.place() + ": " + kNoRun);
}

TEST(Meeting, KnowsAStrangerThatSpeaksInFrames) {
  for (const std::string& frame : {welcome_frame(), odd_frame()}) {
    const Listener stranger(
        [&](int connection) { return say(connection, many(frame)); });
    EXPECT_EQ(
        said_at(stranger), "connect: " + stranger.place() + ": " + kNoRun);
    EXPECT_EQ(stranger.visitors(), 1);
  }
}

TEST(Meeting, KnowsAStrangerThatRepeatsWhatItHears) {
  const auto repeat = [](int connection) {
    std::string heard(4096, ' ');
    const auto count = recv(connection, heard.data(), heard.size(), 0);
    return count > 0 &&
           say(connection, heard.substr(0, static_cast<std::size_t>(count)));
  };
  const Listener echo(repeat);
  EXPECT_EQ(said_at(echo), "connect: " + echo.place() + ": " + kNoRun);
  EXPECT_EQ(
      said_to(rank_of_two(echo.place(), 0)),
      "connect: " + echo.place() + " is in use: " + kNoRun);
}

TEST(Channel, WaitsNoLongerThanTheDeadlineThoughMessagesAreThere) {
  const Listener talker(
      [](int connection) { return say(connection, welcome_frame()); });
  detail::Channel channel(
      detail::Descriptor(Visitor(talker.place()).release()));
  EXPECT_FALSE(channel.wait_for_message(detail::Clock::now()));
  EXPECT_TRUE(channel.wait_for_message(meeting_of(1, 2).deadline));
}

TEST(Channel, KeepsNoMoreThanItsLimit) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const detail::Descriptor other(ends[1]);
  detail::Channel channel((detail::Descriptor(ends[0])));
  channel.set_most_bytes(11);
  const auto left_in_the_system = [&] {
    int bytes = 0;
    ioctl(ends[0], FIONREAD, &bytes);
    return bytes;
  };
  std::string frames;
  for (int i = 0; i < 1000; ++i) frames += welcome_frame();
  ASSERT_TRUE(say(ends[1], frames));
  for (int i = 0; i < 1000; ++i) channel.read();
  EXPECT_GT(left_in_the_system(), 0);
  int messages = 0;
  do {
    while (channel.next()) ++messages;
    channel.read();
  } while (left_in_the_system() > 0);
  while (channel.next()) ++messages;
  EXPECT_EQ(messages, 1000);
  ASSERT_TRUE(say(ends[1], std::string("stepsize\x0c\0\0\0", 12)));
  EXPECT_EQ(channel.read(), detail::Channel::State::kStranger);
}

TEST(Meeting, WaitsNoLongerThanTheTimeOutForAStrangerThatIsSilent) {
  // Half of what a rank would say is as good as nothing.
  for (const std::string text : {"", "steps"}) {
    const Listener stranger([&](int connection) {
      say(connection, text);
      return true;
    });
    EXPECT_EQ(
        said_to(rank_of_two(stranger.place(), 1).timeout_seconds(0.5)),
        "connect: rank 1 of 2 has not met the others at " + stranger.place() +
            " within 0.5 s: " + kNoRun + ": it does not answer");
    EXPECT_EQ(stranger.visitors(), 1);
  }
}

TEST(Meeting, WaitsNoLongerThanTheTimeOutForAStrangerThatDrips) {
  std::promise<void> told;
  const auto is_told = told.get_future();
  const Listener stranger([&](int connection) {
    const std::string slow("stepsize\0\0\1\0", 12);
    for (std::size_t i = 0; i < 1000; ++i) {
      say(connection, i < slow.size() ? slow.substr(i, 1) : "x");
      if (is_told.wait_for(std::chrono::milliseconds(20)) ==
          std::future_status::ready) {
        break;
      }
    }
    return true;
  });
  EXPECT_THAT(
      said_to(rank_of_two(stranger.place(), 1).timeout_seconds(0.5)),
      HasSubstr("within 0.5 s: "));
  told.set_value();
}

TEST(Meeting, ComesAgainToOneThatClosesAtOnce) {
  const Listener stranger([](int connection) {
    close(connection);
    return false;
  });
  EXPECT_THAT(
      said_to(rank_of_two(stranger.place(), 1).timeout_seconds(0.5)),
      AllOf(
          StartsWith("connect: rank 1 of 2 has not met the others at "),
          HasSubstr(kNoRun),
          HasSubstr("closes the connection without an answer")));
  EXPECT_GT(stranger.visitors(), 1);
}

TEST(Meeting, SaysThatThePortOfRankZeroIsInUse) {
  const Listener talker(
      [](int connection) { return say(connection, "220 ready\r\n"); });
  EXPECT_EQ(
      said_to(rank_of_two(talker.place(), 0)),
      "connect: " + talker.place() + " is in use: " + kNoRun);
  const Listener silent([](int /*connection*/) { return true; });
  EXPECT_EQ(
      said_to(rank_of_two(silent.place(), 0).timeout_seconds(0.5)),
      "connect: " + silent.place() + " is in use by another program");
}

TEST(Meeting, RefusesTwoThatSayTheyAreRankZero) {
  const std::string master = test::free_master();
  EXPECT_THAT(
      said_to_each({rank_of_two(master, 0), rank_of_two(master, 0)}),
      testing::Each("connect: two processes say they are rank 0"));
  // Of two runs, perhaps.
  EXPECT_THAT(
      said_to_each(
          {rank_of_two(master, 0), rank_of_two(master, 0).world_size(3)}),
      testing::Each("connect: two processes say they are rank 0"));
}

TEST(Meeting, RefusesTwoThatSayTheyAreTheSameRank) {
  const std::string master = test::free_master();
  const auto of_three = [&](int64_t rank) {
    return rank_of_two(master, rank).world_size(3);
  };
  EXPECT_THAT(
      said_to_each({of_three(0), of_three(1), of_three(1)}),
      testing::Each("connect: two processes say they are rank 1"));
}

TEST(Meeting, RefusesWorldSizesThatDiffer) {
  const std::string master = test::free_master();
  EXPECT_THAT(
      said_to_each(
          {rank_of_two(master, 0), rank_of_two(master, 1).world_size(3)}),
      testing::Each("connect: rank 1 says world size 3, rank 0 says 2"));
}

TEST(Meeting, RefusesAnotherVersionOnBothSides) {
  detail::Meeting first = meeting_of(0, 2);
  first.master = detail::checked_master({test::free_master()});
  first.facts = {{"stepsize", "0.1.0"}, {"backend", "Gloo"}};
  detail::Meeting second = meeting_of(1, 2);
  second.master = first.master;
  second.facts = {{"stepsize", "7.0.0"}, {"backend", "NCCL"}};
  auto one = std::async(std::launch::async, said_to_meeting, second);
  const std::string text = "rank 1 says stepsize 7.0.0, rank 0 says 0.1.0";
  EXPECT_EQ(said_to_meeting(first), text);
  EXPECT_EQ(one.get(), text);
  // A fact that one does not know of.
  second.facts = {{"stepsize", "0.1.0"}};
  auto other = std::async(std::launch::async, said_to_meeting, second);
  EXPECT_EQ(
      said_to_meeting(first), "rank 1 says backend none, rank 0 says Gloo");
  EXPECT_EQ(other.get(), "rank 1 says backend none, rank 0 says Gloo");
}

TEST(Meeting, SaysWhoHasNotCome) {
  const std::string master = test::free_master();
  const auto of_four = [&](int64_t rank) {
    return rank_of_two(master, rank).world_size(4);
  };
  const auto texts = said_to_each(
      {of_four(0).timeout_seconds(4), of_four(2).timeout_seconds(60)});
  EXPECT_THAT(
      texts,
      testing::Each(
          "connect: ranks 1, 3 of 4 have not come to " + master +
          " within 4 s"));
  // One that welcomes whoever comes, and does not let them go on.
  const Listener first(
      [](int connection) { return say(connection, welcome_frame()); });
  EXPECT_EQ(
      said_to(rank_of_two(first.place(), 1).timeout_seconds(2)),
      "connect: rank 1 of 2 has not met the others at " + first.place() +
          " within 2 s: rank 0 is there, and waits for others");
}

TEST(Meeting, LetsStrangersAtItsPortNotDisturbIt) {
  const std::string master = test::free_master();
  auto first = std::async(std::launch::async, [&] {
    const auto ranks = connect(rank_of_two(master, 0));
    return ranks->mean(1);
  });
  const Visitor silent(master);
  { const Visitor scanner(master); }
  const Visitor browser(master);
  browser.say("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  EXPECT_EQ(browser.hear_all(), "");
  const Visitor endless(master);
  endless.say(std::string("stepsize\xff\xff\xff\x7f", 12));
  EXPECT_EQ(endless.hear_all(), "");
  const Visitor half(master);
  half.say("stepsi");
  // A message that is none, in the right frame.
  const Visitor odd(master);
  odd.say(std::string("stepsize\x8\0\0\0\xff\0\0\0abcd", 20));
  EXPECT_EQ(odd.hear_all(), "");
  const Visitor lost(master);
  lost.say(odd_frame());
  EXPECT_EQ(lost.hear_all(), "");
  const Visitor streams(master);
  streams.say(many(odd_frame()));
  EXPECT_EQ(streams.hear_all(), "");
  // A message that would be a rank's, were it not so long.
  const Visitor lengthy(master);
  lengthy.say(std::string("stepsize\1\0\1\0", 12));
  EXPECT_EQ(lengthy.hear_all(), "");
  // More than rank 0 keeps.
  std::vector<std::unique_ptr<Visitor>> crowd;
  for (int i = 0; i < 100; ++i) {
    crowd.push_back(std::make_unique<Visitor>(master));
  }
  const auto ranks = connect(rank_of_two(master, 1));
  EXPECT_EQ(ranks->mean(3), 2);
  EXPECT_EQ(first.get(), 2);
}

TEST(Meeting, TakesARankThatComesAgain) {
  const std::string master = test::free_master();
  const auto rank = [&](int64_t number) {
    return one_of_three(number, master);
  };
  auto first = std::async(std::launch::async, said_to_meeting, rank(0));
  {
    detail::Channel early(detail::Descriptor(Visitor(master).release()));
    early.send(detail::hello_of(rank(1)));
    const auto answer = early.wait_for_message(rank(1).deadline);
    ASSERT_TRUE(answer);
    EXPECT_THAT(*answer, ElementsAre("welcome"));
  }
  auto again = std::async(std::launch::async, said_to_meeting, rank(1));
  EXPECT_EQ(said_to_meeting(rank(2)), "nothing was thrown");
  EXPECT_EQ(again.get(), "nothing was thrown");
  EXPECT_EQ(first.get(), "nothing was thrown");
}

TEST(Meeting, SendsOneAwayThatSaysItIsARankAndThenSpeaksOn) {
  const std::string master = test::free_master();
  const auto rank = [&](int64_t number) {
    return one_of_three(number, master);
  };
  auto first = std::async(std::launch::async, said_to_meeting, rank(0));
  detail::Channel false_one(detail::Descriptor(Visitor(master).release()));
  false_one.send(detail::hello_of(rank(2)));
  const auto answer = false_one.wait_for_message(rank(2).deadline);
  ASSERT_TRUE(answer);
  EXPECT_THAT(*answer, ElementsAre("welcome"));
  false_one.send(detail::hello_of(rank(2)));
  EXPECT_FALSE(false_one.wait_for_message(rank(2).deadline));
  EXPECT_EQ(false_one.state(), detail::Channel::State::kClosed);
  auto second = std::async(std::launch::async, said_to_meeting, rank(2));
  EXPECT_EQ(said_to_meeting(rank(1)), "nothing was thrown");
  EXPECT_EQ(second.get(), "nothing was thrown");
  EXPECT_EQ(first.get(), "nothing was thrown");
}

TEST(Meeting, ListensAtLoopbackAloneWhereTheMasterIsThere) {
  for (const char* host : {"localhost", "127.0.0.1", "::1"}) {
    const auto addresses =
        detail::listening_addresses({host, 29500}, meeting_of(0, 2).deadline);
    EXPECT_FALSE(addresses.empty());
    for (const auto& address : addresses) {
      std::array<char, NI_MAXHOST> text{};
      ASSERT_EQ(
          getnameinfo(
              address.get(),
              address.length,
              text.data(),
              text.size(),
              nullptr,
              0,
              NI_NUMERICHOST),
          0);
      EXPECT_THAT(
          std::string(text.data()),
          AnyOf(StartsWith("127."), testing::Eq("::1")))
          << host;
    }
  }
}

TEST(MeetingStore, HasTheTimeOutOfTheRun) {
  const auto meeting = meeting_of(0, 1);
  const auto store = c10::make_intrusive<detail::MeetingStore>(
      meeting,
      std::vector<detail::Channel>(),
      meeting.deadline,
      std::chrono::milliseconds(1234));
  EXPECT_EQ(store->getTimeout(), std::chrono::milliseconds(1234));
  EXPECT_EQ(store->clone().get(), store.get());
}

TEST(KeyServer, IsReadyWhenAllAre) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  std::vector<detail::Channel> others;
  others.emplace_back(detail::Descriptor(ends[0]));
  detail::Channel other((detail::Descriptor(ends[1])));
  detail::KeyServer server(std::move(others));
  const auto deadline = meeting_of(0, 2).deadline;
  const auto asks = [&] {
    other.send({detail::kReady});
    const auto answer = other.wait_for_message(deadline);
    return answer ? answer->front() : "nothing";
  };
  EXPECT_EQ(asks(), detail::kNo);
  auto first = std::async(
      std::launch::async, [&] { server.wait_until_ready(deadline); });
  while (asks() == detail::kNo) {
  }
  EXPECT_NO_THROW(first.get());
}

TEST(Meeting, WaitsForRankZero) {
  const std::string master = test::free_master();
  auto other = std::async(std::launch::async, [&] {
    return connect(rank_of_two(master, 1))->mean(3);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(connect(rank_of_two(master, 0))->mean(1), 2);
  EXPECT_EQ(other.get(), 2);
}

TEST(Meeting, TakesNamesAndAddressesOfBothKinds) {
  for (const std::string host : {"localhost", "[::1]"}) {
    const std::string port = test::free_master().substr(sizeof("127.0.0.1"));
    const std::string master = host + ":" + port;
    const auto texts =
        said_to_each({rank_of_two(master, 0), rank_of_two(master, 1)});
    if (texts[0].find("cannot listen") != std::string::npos) {
      GTEST_SKIP() << "there is no " << host << " here";
    }
    EXPECT_THAT(texts, testing::Each("nothing was thrown")) << host;
  }
}

TEST(Meeting, TellsAllOfARankThatCannotMakeItsGroup) {
  const std::string master = test::free_master();
  const auto texts = said_to_each(
      {rank_of_two(master, 0),
       rank_of_two(master, 1).address("no.such.host.invalid")});
  EXPECT_THAT(
      texts[0],
      AllOf(
          StartsWith("connect: rank 0 of 2 has met the others, and cannot get "
                     "through to them: "),
          AnyOf(HasSubstr("rank 1 failed: "), HasSubstr("rank 1 has left"))));
  EXPECT_THAT(texts[1], StartsWith("connect: rank 1 of 2 has met the others"));
}

TEST(Meeting, LeavesThePortToTheNextRun) {
  const std::string master = test::free_master();
  const auto both = [&] {
    auto first = std::async(
        std::launch::async, [&] { return connect(rank_of_two(master, 0)); });
    auto second = connect(rank_of_two(master, 1));
    return std::make_pair(first.get(), second);
  };
  const auto one = both();
  const auto two = both();
  EXPECT_NE(one.first, two.first);
}

}  // namespace
}  // namespace stepsize
