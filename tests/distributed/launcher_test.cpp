#include "csrc/distributed/launcher.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::AllOf;
using testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

std::optional<ConnectOptions> options_of(const Variables& variables) {
  return detail::launched_options([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

Variables with(Variables variables, const std::string& name, std::string text) {
  variables[name] = std::move(text);
  return variables;
}

// As `torchrun --nnodes 2 --nproc-per-node 2` of PyTorch sets them.
Variables torchrun() {
  return {
      {"RANK", "3"},
      {"WORLD_SIZE", "4"},
      {"LOCAL_RANK", "1"},
      {"LOCAL_WORLD_SIZE", "2"},
      {"MASTER_ADDR", "10.0.0.7"},
      {"MASTER_PORT", "29500"},
      {"TORCHELASTIC_USE_AGENT_STORE", "False"}};
}

// As `mpirun -n 2` of Open MPI 4.1 sets them.
Variables mpirun() {
  return {
      {"OMPI_COMM_WORLD_RANK", "1"},
      {"OMPI_COMM_WORLD_SIZE", "2"},
      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
      {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
      {"PMIX_NAMESPACE", "2217607169"}};
}

// As `srun -N 3 -n 6` sets them, which srun(1) lists.
Variables srun() {
  return {
      {"SLURM_JOB_ID", "4711"},
      {"SLURM_STEP_ID", "0"},
      {"SLURM_PROCID", "5"},
      {"SLURM_NTASKS", "6"},
      {"SLURM_STEP_NUM_TASKS", "6"},
      {"SLURM_STEP_NUM_NODES", "3"},
      {"SLURM_STEP_NODELIST", "node[007-009]"},
      {"SLURM_LOCALID", "1"}};
}

TEST(Launcher, IsNoneWhereNothingIsSet) {
  EXPECT_FALSE(options_of({}));
  EXPECT_FALSE(options_of({{"MASTER_ADDR", "host"}, {"MASTER_PORT", "1"}}));
}

TEST(Launcher, ReadsTorchrun) {
  const auto options = options_of(torchrun());
  ASSERT_TRUE(options);
  EXPECT_EQ(options->master(), "10.0.0.7:29500");
  EXPECT_EQ(options->world_size(), 4);
  EXPECT_EQ(options->rank(), 3);
  EXPECT_EQ(options->local_rank(), 1);
}

TEST(Launcher, LeavesTorchrunThePortAtWhichItListensItself) {
  const auto with_store =
      with(torchrun(), "TORCHELASTIC_USE_AGENT_STORE", "True");
  EXPECT_EQ(options_of(with_store)->master(), "10.0.0.7:29501");
  EXPECT_EQ(
      options_of(with(with_store, "MASTER_PORT", "65535"))->master(),
      "10.0.0.7:65534");
}

TEST(Launcher, PutsAnAddressOfIPv6InBrackets) {
  for (const char* address : {"fe80::1", "[fe80::1]"}) {
    EXPECT_EQ(
        options_of(with(torchrun(), "MASTER_ADDR", address))->master(),
        "[fe80::1]:29500");
  }
}

TEST(Launcher, MeetsOnThisMachineWhereMpirunStartedAllHere) {
  const auto options = options_of(mpirun());
  ASSERT_TRUE(options);
  EXPECT_THAT(options->master(), testing::MatchesRegex("127.0.0.1:2[0-9]{4}"));
  EXPECT_EQ(options->world_size(), 2);
  EXPECT_EQ(options->rank(), 1);
  EXPECT_EQ(options->local_rank(), 1);
  // The ranks of a job agree, those of another meet elsewhere.
  auto other_rank = with(mpirun(), "OMPI_COMM_WORLD_RANK", "0");
  EXPECT_EQ(options_of(other_rank)->master(), options->master());
  auto other_job = with(mpirun(), "PMIX_NAMESPACE", "2217607170");
  EXPECT_NE(options_of(other_job)->master(), options->master());
}

TEST(Launcher, AsksForTheHostWhereMpirunUsesSeveral) {
  const auto several = with(mpirun(), "OMPI_COMM_WORLD_LOCAL_SIZE", "1");
  EXPECT_THAT(
      message_of([&] { options_of(several); }),
      AllOf(HasSubstr("MASTER_ADDR"), HasSubstr("mpirun -x")));
  auto named = with(several, "MASTER_ADDR", "node7");
  named = with(named, "MASTER_PORT", "1234");
  EXPECT_EQ(options_of(named)->master(), "node7:1234");
}

TEST(Launcher, MeetsAtTheFirstHostOfAStepOfSlurm) {
  const auto options = options_of(srun());
  ASSERT_TRUE(options);
  EXPECT_THAT(options->master(), testing::StartsWith("node007:2"));
  EXPECT_EQ(options->world_size(), 6);
  EXPECT_EQ(options->rank(), 5);
  EXPECT_EQ(options->local_rank(), 1);
  const auto one = options_of(with(srun(), "SLURM_STEP_NUM_NODES", "1"));
  EXPECT_THAT(one->master(), testing::StartsWith("127.0.0.1:2"));
}

// As `mpiexec -n 2` of MPICH 4 sets them.
TEST(Launcher, AsksMpichForThePlace) {
  const Variables mpich{
      {"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}};
  EXPECT_THAT(
      message_of([&] { options_of(mpich); }),
      HasSubstr("PMI_RANK is set and MASTER_ADDR, the host of rank 0, is not"));
  auto placed = with(mpich, "MASTER_ADDR", "127.0.0.1");
  placed = with(placed, "MASTER_PORT", "1234");
  const auto options = options_of(placed);
  EXPECT_EQ(options->master(), "127.0.0.1:1234");
  EXPECT_EQ(options->world_size(), 2);
  EXPECT_EQ(options->rank(), 1);
  EXPECT_EQ(options->local_rank(), 1);
  // `srun --mpi=pmi2` sets both.
  auto both = srun();
  both.insert({{"PMI_RANK", "5"}, {"PMI_SIZE", "6"}});
  EXPECT_EQ(options_of(both)->master(), options_of(srun())->master());
  EXPECT_EQ(options_of(both)->rank(), 5);
}

// srun runs mpirun's helpers, each of which starts several ranks.
TEST(Launcher, TakesTheInnermost) {
  auto both = srun();
  both.merge(mpirun());
  EXPECT_EQ(options_of(both)->world_size(), 2);
  both.merge(torchrun());
  EXPECT_EQ(options_of(both)->world_size(), 4);
}

// A batch script is one process, however many tasks its job may start.
TEST(Launcher, IsNoneInABatchScriptOfSlurm) {
  auto batch = srun();
  batch.erase("SLURM_STEP_NUM_TASKS");
  batch["SLURM_PROCID"] = "0";
  EXPECT_FALSE(options_of(batch));
}

TEST(Launcher, SaysWhatIsMissing) {
  const auto without = [](Variables variables, const std::string& name) {
    variables.erase(name);
    return message_of([&] { options_of(variables); });
  };
  EXPECT_THAT(
      without(torchrun(), "RANK"),
      HasSubstr("from_environment: WORLD_SIZE is set and RANK is not"));
  EXPECT_THAT(
      without(torchrun(), "WORLD_SIZE"),
      HasSubstr("RANK is set and WORLD_SIZE is not"));
  EXPECT_THAT(
      without(mpirun(), "OMPI_COMM_WORLD_SIZE"),
      HasSubstr("OMPI_COMM_WORLD_SIZE is not"));
  EXPECT_THAT(
      without(torchrun(), "MASTER_ADDR"),
      HasSubstr("MASTER_ADDR, the host of rank 0, is not"));
  EXPECT_THAT(
      without(torchrun(), "MASTER_PORT"),
      HasSubstr("MASTER_PORT, where rank 0 listens, is not"));
}

TEST(Launcher, SaysWhatIsNoNumber) {
  const auto wrong = [](const char* name, const char* text) {
    return message_of([&] { options_of(with(torchrun(), name, text)); });
  };
  EXPECT_THAT(
      wrong("RANK", "4"),
      HasSubstr("RANK must be a whole number in [0, 4), got '4'"));
  EXPECT_THAT(wrong("RANK", "-1"), HasSubstr("got '-1'"));
  EXPECT_THAT(wrong("RANK", "1.5"), HasSubstr("got '1.5'"));
  EXPECT_THAT(wrong("LOCAL_RANK", "x"), HasSubstr("LOCAL_RANK must be"));
  EXPECT_THAT(
      wrong("WORLD_SIZE", "0"),
      HasSubstr("WORLD_SIZE must be a whole number >= 1, got '0'"));
  EXPECT_THAT(
      wrong("WORLD_SIZE", "99999999999999999999"), HasSubstr("WORLD_SIZE"));
  EXPECT_THAT(
      wrong("MASTER_PORT", "65536"),
      HasSubstr("MASTER_PORT must be a port in [1, 65535], got '65536'"));
}

// As SLURM writes lists of hosts, in scontrol(1).
TEST(Launcher, FindsTheFirstHostOfAList) {
  EXPECT_EQ(detail::first_host("alone"), "alone");
  EXPECT_EQ(detail::first_host("a1,a2"), "a1");
  EXPECT_EQ(detail::first_host("n[007-012,3],m1"), "n007");
  EXPECT_EQ(detail::first_host("n[9,12]"), "n9");
  EXPECT_EQ(detail::first_host("rack[0-3]-blade[05-16]"), "rack0-blade05");
  EXPECT_EQ(detail::first_host("n-[1-2].site"), "n-1.site");
  EXPECT_EQ(detail::first_host(""), "");
}

}  // namespace
}  // namespace stepsize
