#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <torch/serialize/archive.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "csrc/checkpoint/container.h"
#include "tests/checkpoint/folder_case.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

namespace fs = std::filesystem;

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kFirst[] = "checkpoint-0000000001.ckpt";
constexpr char kSecond[] = "checkpoint-0000000002.ckpt";
constexpr char kThird[] = "checkpoint-0000000003.ckpt";

// Which checkpoints of a folder belong to the run that saves in it.
class CheckpointCourse : public test::FolderCase {
 protected:
  std::string refused(const std::string& name) const {
    return "CheckpointFolder: " + path + ": has " + name +
           ", which this object has neither saved nor loaded: go on from it "
           "with load_latest() or load_best(), remove all with clear(), or "
           "take another folder";
  }

  // The file as another version of the format may have it, checksums right.
  void make_newer(const std::string& name) const {
    const std::string bytes = test::read_bytes(file(name));
    detail::CheckpointHead head;
    ASSERT_EQ(
        detail::read_checkpoint_head(
            bytes.data(), bytes.size(), bytes.size(), head),
        "");
    const std::size_t size = detail::checkpoint_head_size(head);
    ++head.format;
    fs::remove(file(name));
    test::write_bytes(
        file(name), detail::checkpoint_head_bytes(head) + bytes.substr(size));
  }
};

TEST_F(CheckpointCourse, ANewRunInAnOldFolderDestroysNothing) {
  {
    CheckpointFolder folder(path);
    save(folder, 100, 0.1);
  }
  CheckpointFolder folder(path);
  for (const int64_t at : {1, 100, 200}) {
    EXPECT_EQ(
        message_of([&] { save(folder, at, 0.2); }),
        refused("checkpoint-0000000100.ckpt"));
  }
  EXPECT_THAT(names(folder), ElementsAre("checkpoint-0000000100.ckpt"));
  EXPECT_EQ(verify_checkpoint(folder.best().value()).metric, 0.1);
  fs::remove(file("checkpoint-0000000100.ckpt"));
  EXPECT_EQ(message_of([&] { save(folder, 1); }), refused("best.ckpt"));
}

TEST_F(CheckpointCourse, AFolderThatIsClearedIsNew) {
  {
    CheckpointFolder folder(path);
    save(folder, 1, 0.1);
    save(folder, 2, 0.2);
  }
  test::write_bytes(file("notes.txt"), "mine");
  CheckpointFolder folder(path);
  folder.clear();
  EXPECT_TRUE(folder.paths().empty());
  EXPECT_FALSE(folder.best());
  EXPECT_TRUE(fs::exists(file("notes.txt")));
  save(folder, 1, 0.3);
  EXPECT_EQ(verify_checkpoint(folder.best().value()).metric, 0.3);
  // Of a folder that is not there, too.
  CheckpointFolder absent(base.file("absent"));
  absent.clear();
  save(absent, 1);
}

TEST_F(CheckpointCourse, ASaveOfAnEarlierStepNeedsALoad) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.1);
  save(folder, 5, 0.2);
  EXPECT_EQ(
      message_of([&] { save(folder, 3); }),
      "CheckpointFolder: " + path +
          ": has a checkpoint of step 5, which is later than 3: go on from it "
          "with load_latest(), or take another folder");
  EXPECT_TRUE(folder.load_best(checkpoint));
  save(folder, 3);
  EXPECT_THAT(names(folder), ElementsAre(kFirst, kThird));
  save(folder, 4);
  EXPECT_THAT(message_of([&] { save(folder, 2); }), HasSubstr("step 4"));
}

// Saves 1, the best, to 4; keeps the last two.
void save_four(CheckpointFolder& folder, Checkpoint& checkpoint, int64_t& at) {
  for (at = 1; at <= 4; ++at) {
    folder.save(at, checkpoint, static_cast<double>(at));
  }
}

TEST_F(CheckpointCourse, NothingOfTheCourseThatWasLeftStays) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(2));
  save_four(folder, checkpoint, step);
  EXPECT_EQ(folder.load_best(checkpoint).step, 1);
  // Not only what is later than the save: 3 was of the other course too.
  save(folder, 9);
  EXPECT_THAT(names(folder), ElementsAre(kFirst, "checkpoint-0000000009.ckpt"));
  EXPECT_TRUE(folder.load_latest(checkpoint));
  fs::remove(file("checkpoint-0000000009.ckpt"));
  EXPECT_EQ(folder.load_latest(checkpoint).step, 1);
}

// Cannot be saved.
struct Unsavable {
  void save(torch::serialize::OutputArchive& /*archive*/) const {
    throw std::runtime_error("no");
  }
  void load(torch::serialize::InputArchive& /*archive*/) {}
};

TEST_F(CheckpointCourse, ASaveThatFailsLeavesTheOtherCourse) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(2));
  save_four(folder, checkpoint, step);
  folder.load_best(checkpoint);
  Unsavable unsavable;
  Checkpoint more;
  more.state("unsavable", unsavable);
  EXPECT_THAT(message_of([&] { folder.save(2, more); }), HasSubstr(": no"));
  EXPECT_THAT(names(folder), ElementsAre(kThird, "checkpoint-0000000004.ckpt"));
  save(folder, 2);
  EXPECT_THAT(names(folder), ElementsAre(kFirst, kSecond));
}

// What is seen when the process ends before the new file has its name: here
// since a folder has that name.
TEST_F(CheckpointCourse, TheOtherCourseGoesBeforeTheNameIsGiven) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(2));
  save_four(folder, checkpoint, step);
  folder.load_best(checkpoint);
  const std::string name = file("checkpoint-0000000000.ckpt");
  fs::create_directories(name);
  EXPECT_EQ(
      message_of([&] { save(folder, 0); }),
      "CheckpointFolder: " + name + ": cannot be replaced: Is a directory");
  fs::remove(name);
  EXPECT_THAT(names(folder), ElementsAre(kFirst));
  EXPECT_EQ(CheckpointFolder(path).load_latest(checkpoint).step, 1);
  EXPECT_EQ(step, 1);
  save(folder, 2);
  EXPECT_THAT(names(folder), ElementsAre(kFirst, kSecond));
}

TEST_F(CheckpointCourse, ASaveThatCouldNotTidyUpDoesNotHinderTheNext) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(2));
  save(folder, 1, 0.1);
  save(folder, 2, 0.2);
  save(folder, 3, 0.3);
  folder.load_best(checkpoint);
  fs::remove(file(kThird));
  fs::create_directories(file(kThird) + "/full");
  EXPECT_EQ(
      message_of([&] { save(folder, 2); }),
      "CheckpointFolder: " + file(kThird) +
          ": cannot be removed: Directory not empty");
  fs::remove_all(file(kThird));
  save(folder, 2);
  EXPECT_THAT(names(folder), ElementsAre(kFirst, kSecond));
  // Now after the name was given.
  fs::remove(file(kFirst));
  fs::create_directories(file(kFirst) + "/full");
  EXPECT_THAT(message_of([&] { save(folder, 3); }), HasSubstr(kFirst));
  fs::remove_all(file(kFirst));
  save(folder, 4);
  EXPECT_THAT(names(folder), ElementsAre(kThird, "checkpoint-0000000004.ckpt"));
}

TEST_F(CheckpointCourse, FindsWhatItWouldLoad) {
  CheckpointFolder folder(path);
  EXPECT_FALSE(folder.find_latest());
  save(folder, 1);
  save(folder, 2);
  EXPECT_EQ(folder.find_latest().step, 2);
  damage_in_place(kSecond);
  step = 17;
  const CheckpointLoadResult found = folder.find_latest();
  EXPECT_EQ(found.path, file(kFirst));
  ASSERT_EQ(found.passed_over.size(), 1U);
  EXPECT_THAT(found.passed_over[0].reason, HasSubstr("of its data is wrong"));
  EXPECT_EQ(step, 17);
  // It loads nothing, so that a new run may not save yet.
  CheckpointFolder other(path);
  other.find_latest();
  EXPECT_EQ(message_of([&] { save(other, 3); }), refused(kSecond));
  damage_in_place(kFirst);
  EXPECT_THAT(
      message_of([&] { folder.find_latest(); }),
      HasSubstr("none of its checkpoints can be loaded:\n"));
}

TEST_F(CheckpointCourse, DoesNotPassOverANewerFormat) {
  CheckpointFolder folder(path);
  save(folder, 1);
  save(folder, 2);
  make_newer(kSecond);
  const std::string wanted = "CheckpointFolder: " + file(kSecond) +
                             ": the file is of format 2, this version of "
                             "stepsize reads format 1";
  EXPECT_EQ(message_of([&] { folder.load_latest(checkpoint); }), wanted);
  EXPECT_EQ(message_of([&] { folder.find_latest(); }), wanted);
  EXPECT_EQ(names(folder).size(), 2U);
}

TEST_F(CheckpointCourse, DamageToTheNewestThatIsTheBestIsFound) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.3);
  save(folder, 2, 0.1);
  ASSERT_EQ(fs::hard_link_count(file("best.ckpt")), 2U);
  damage_in_place(kSecond);
  EXPECT_EQ(folder.load_latest(checkpoint).step, 1);
  save(folder, 2, 0.2);
  EXPECT_EQ(best_step(), 2);
  EXPECT_EQ(verify_checkpoint(file("best.ckpt")).metric, 0.2);
  // Also where only the metric could tell.
  save(folder, 3, 0.1);
  damage_in_place(kThird);
  save(folder, 4, 0.5);
  EXPECT_EQ(verify_checkpoint(file("best.ckpt")).metric, 0.5);
}

TEST_F(CheckpointCourse, AStepThatIsSavedAnewIsNoLongerTheBestOfItsOld) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.5);
  save(folder, 2, 0.1);
  save(folder, 2, 0.4);
  EXPECT_EQ(verify_checkpoint(file("best.ckpt")).metric, 0.4);
}

TEST_F(CheckpointCourse, ABestThatCannotBeReadStopsTheSaveBeforeItBegins) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.5);
  make_newer("best.ckpt");
  EXPECT_THAT(
      message_of([&] { save(folder, 2, 0.1); }), HasSubstr("is of format 2"));
  EXPECT_THAT(names(folder), ElementsAre(kFirst));
}

}  // namespace
}  // namespace stepsize
