#include <iosfwd>
#include <stdexcept>

#include "examples/trainer/run/tensorboard_log.h"

// In place of tensorboard_log.cpp where stepsize::tensorboard is not there.
namespace stepsize::trainer {

void check_tensorboard(
    const std::filesystem::path& folder,
    bool /*takes_over*/,
    std::ostream& /*err*/) {
  if (!folder.empty()) {
    throw std::runtime_error(
        "--tensorboard " + folder.string() +
        ": this program was built without stepsize::tensorboard; build it with "
        "-DSTEPSIZE_TENSORBOARD=ON, which takes protobuf");
  }
}

TensorBoardLog::TensorBoardLog(
    const std::filesystem::path& /*folder*/,
    const OptionValues& /*options*/,
    std::int64_t /*steps*/) {}

void TensorBoardLog::add(const StepResult& /*result*/) {}

void TensorBoardLog::add(const EpochResult& /*result*/) {}

void TensorBoardLog::add(const CurvatureMeasurement& /*row*/) {}

void TensorBoardLog::add_pictures(
    const std::filesystem::path& /*run_folder*/, std::int64_t /*step*/) {}

}  // namespace stepsize::trainer
