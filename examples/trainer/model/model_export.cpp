#include "examples/trainer/model/model_export.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot_export(const fs::path& path, const std::string& why) {
  throw std::runtime_error(
      "--export " + path.string() + ": cannot be written: " + why);
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// As Module::save(), of copies on the CPU: a machine without the device can
// read them.
void write_module(
    const torch::nn::Module& module, torch::serialize::OutputArchive& archive) {
  for (const auto& parameter : module.named_parameters(/*recurse=*/false)) {
    archive.write(parameter.key(), parameter.value().detach().cpu());
  }
  for (const auto& buffer : module.named_buffers(/*recurse=*/false)) {
    archive.write(
        buffer.key(), buffer.value().detach().cpu(), /*is_buffer=*/true);
  }
  for (const auto& child : module.named_children()) {
    if (child.value()->is_serializable()) {
      torch::serialize::OutputArchive part(archive.compilation_unit());
      write_module(*child.value(), part);
      archive.write(child.key(), part);
    }
  }
}

}  // namespace

ImageShape image_shape(const TrainTestSets& sets) {
  const auto& images = sets.train.images;
  return {images.size(1), images.size(2), images.size(3), sets.classes};
}

void check_export(const fs::path& path) {
  if (path.empty()) {
    return;
  }
  std::error_code error;
  if (fs::is_directory(path, error)) {
    cannot_export(path, "it is a folder");
  }
  const auto folder = folder_of(path);
  if (!fs::is_directory(folder, error)) {
    cannot_export(path, "there is no folder " + folder.string());
  }
  if (access(folder.c_str(), W_OK) != 0) {
    cannot_export(path, std::generic_category().message(errno));
  }
}

void export_weights(
    const ImageModel& model,
    const Normalization& normalization,
    const fs::path& path) {
  torch::serialize::OutputArchive archive;
  write_module(model, archive);
  archive.write(
      "input_scale", torch::tensor(normalization.scale), /*is_buffer=*/true);
  archive.write(
      "input_shift", torch::tensor(normalization.shift), /*is_buffer=*/true);
  const fs::path aside = path.string() + ".tmp-" + std::to_string(getpid());
  try {
    std::ofstream file(aside, std::ios::binary);
    // A stream, as a path would be written into the archive.
    archive.save_to(file);
    file.close();
    if (!file) {
      throw std::runtime_error("the disk may be full");
    }
    fs::rename(aside, path);
  } catch (const std::exception& error) {
    std::error_code not_there;
    fs::remove(aside, not_there);
    const auto* own = dynamic_cast<const c10::Error*>(&error);
    cannot_export(
        path, own != nullptr ? own->what_without_backtrace() : error.what());
  }
}

}  // namespace stepsize::trainer
