#include "csrc/distributed/launcher.h"

#include <c10/util/Exception.h>

#include <cstdint>
#include <cstdlib>
#include <limits>

#include "csrc/text/number.h"

namespace stepsize {
namespace detail {
namespace {

constexpr char kName[] = "ConnectOptions::from_environment";
constexpr int64_t kLastPort = 65535;

// A launcher's names for what each of its processes is.
struct Launcher {
  const char* rank;
  const char* world_size;
  const char* local_rank;
};
constexpr Launcher kTorchrun{"RANK", "WORLD_SIZE", "LOCAL_RANK"};
constexpr Launcher kOpenMpi{
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK"};
// MPICH, and what is made of it: Intel's MPI, MVAPICH.
constexpr Launcher kMpich{"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"};
// Not SLURM_NTASKS: a batch script has it too, and is alone.
constexpr Launcher kSlurm{
    "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"};

class Variables {
 public:
  explicit Variables(const Environment& environment)
      : environment_(environment) {}

  std::string operator[](const char* name) const { return environment_(name); }
  bool has(const char* name) const { return !environment_(name).empty(); }
  bool has(const Launcher& launcher) const {
    return has(launcher.rank) && has(launcher.world_size);
  }

  int64_t number(
      const char* name,
      int64_t least,
      int64_t most,
      const std::string& rule) const {
    const std::string text = environment_(name);
    const auto value = number_in<int64_t>(text);
    TORCH_CHECK(
        value && *value >= least && *value <= most,
        kName,
        ": ",
        name,
        " must be ",
        rule,
        ", got '",
        text,
        "'");
    return *value;
  }

 private:
  const Environment& environment_;
};

// A port that all processes of a job find alike and two jobs seldom share,
// below those that the system gives to connections.
std::string port_of_job(const std::string& job) {
  uint64_t hash = 14695981039346656037U;  // FNV-1a
  for (const char letter : job) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 1099511628211U;
  }
  return std::to_string(20000 + hash % 10000);
}

struct Place {
  std::string host;
  std::string port;
};

Place place_by_open_mpi(const Variables& variables) {
  Place place;
  if (variables["OMPI_COMM_WORLD_LOCAL_SIZE"] ==
      variables[kOpenMpi.world_size]) {
    place.host = "127.0.0.1";
  }
  place.port = port_of_job(variables["PMIX_NAMESPACE"]);
  return place;
}

Place place_by_slurm(const Variables& variables) {
  Place place;
  place.host = variables["SLURM_STEP_NUM_NODES"] == "1"
                   ? "127.0.0.1"
                   : first_host(variables["SLURM_STEP_NODELIST"]);
  place.port =
      port_of_job(variables["SLURM_JOB_ID"] + "." + variables["SLURM_STEP_ID"]);
  return place;
}

std::string master_of(const Variables& variables, const Launcher& launcher) {
  Place place;
  if (&launcher == &kOpenMpi) place = place_by_open_mpi(variables);
  // MPICH has no name of the job that all know alike; a step of SLURM may be
  // around it.
  const bool in_step = &launcher == &kMpich && variables.has(kSlurm);
  if (&launcher == &kSlurm || in_step) place = place_by_slurm(variables);
  if (variables.has("MASTER_ADDR")) place.host = variables["MASTER_ADDR"];
  if (variables.has("MASTER_PORT")) {
    int64_t port =
        variables.number("MASTER_PORT", 1, kLastPort, "a port in [1, 65535]");
    // torchrun itself listens there then.
    if (&launcher == &kTorchrun &&
        variables["TORCHELASTIC_USE_AGENT_STORE"] == "True") {
      port = port == kLastPort ? port - 1 : port + 1;
    }
    place.port = std::to_string(port);
  }
  TORCH_CHECK(
      !place.host.empty(),
      kName,
      ": ",
      launcher.rank,
      " is set and MASTER_ADDR, the host of rank 0, is not",
      &launcher == &kOpenMpi ? " (mpirun -x MASTER_ADDR=HOST)" : "");
  TORCH_CHECK(
      !place.port.empty(),
      kName,
      ": ",
      launcher.rank,
      " is set and MASTER_PORT, where rank 0 listens, is not");
  const bool is_bare_ipv6 =
      place.host.find(':') != std::string::npos && place.host.front() != '[';
  if (is_bare_ipv6) place.host = "[" + place.host + "]";
  return place.host + ":" + place.port;
}

const Launcher* launcher_of(const Variables& variables) {
  // mpirun may itself run within a step of SLURM, and either may hand on what
  // the user has set for torchrun's names.
  for (const Launcher* launcher : {&kTorchrun, &kOpenMpi, &kMpich, &kSlurm}) {
    if (variables.has(*launcher)) return launcher;
  }
  for (const Launcher* launcher : {&kTorchrun, &kOpenMpi, &kMpich}) {
    const bool has_rank = variables.has(launcher->rank);
    TORCH_CHECK(
        has_rank == variables.has(launcher->world_size),
        kName,
        ": ",
        has_rank ? launcher->rank : launcher->world_size,
        " is set and ",
        has_rank ? launcher->world_size : launcher->rank,
        " is not");
  }
  return nullptr;
}

}  // namespace

std::string first_host(const std::string& list) {
  std::string host;
  bool in_brackets = false;
  bool has_number = false;
  for (const char letter : list) {
    if (letter == '[') {
      in_brackets = true;
      has_number = false;
    } else if (letter == ']') {
      in_brackets = false;
    } else if (!in_brackets) {
      if (letter == ',') break;
      host += letter;
    } else if (letter == '-' || letter == ',') {
      has_number = true;
    } else if (!has_number) {
      host += letter;
    }
  }
  return host;
}

std::optional<ConnectOptions> launched_options(const Environment& environment) {
  const Variables variables(environment);
  const Launcher* const launcher = launcher_of(variables);
  if (launcher == nullptr) return std::nullopt;
  const int64_t world_size = variables.number(
      launcher->world_size,
      1,
      std::numeric_limits<int>::max(),
      "a whole number >= 1");
  const auto rank_of = [&](const char* name) {
    return variables.number(
        name,
        0,
        world_size - 1,
        "a whole number in [0, " + std::to_string(world_size) + ")");
  };
  ConnectOptions options(master_of(variables, *launcher));
  options.world_size(world_size).rank(rank_of(launcher->rank));
  if (variables.has(launcher->local_rank)) {
    options.local_rank(rank_of(launcher->local_rank));
  }
  return options;
}

}  // namespace detail

std::optional<ConnectOptions> ConnectOptions::from_environment() {
  return detail::launched_options([](const char* name) {
    const char* const value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  });
}

}  // namespace stepsize
