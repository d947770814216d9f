#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/serialize/archive.h>
#include <torch/version.h>

#include "csrc/checkpoint/container.h"
#include "csrc/checkpoint/durable_file.h"
#include "csrc/checkpoint/guarded.h"
#include "csrc/checkpoint/index.h"
#include "csrc/checkpoint/parts.h"
#include "csrc/checkpoint/random_items.h"
#include "csrc/checkpoint/save.h"

namespace stepsize {
namespace detail {
namespace {

using torch::serialize::OutputArchive;

// Fills the archive of the data and the description.
CheckpointInfo describe(
    const std::string& kind,
    const CheckpointParts& parts,
    OutputArchive& data) {
  CheckpointInfo info;
  for (std::size_t i = 0; i < parts.items.size(); ++i) {
    const CheckpointItem& item = *parts.items[i];
    guarded(kind + ": " + item.owner(), [&] {
      info.entries.push_back({item.name(), item.kind(), item.class_name()});
      OutputArchive entry(data.compilation_unit());
      item.save(entry, info);
      data.write("entry" + std::to_string(i), entry);
    });
  }
  info.random_state = parts.random_state;
  if (parts.random_state) {
    OutputArchive entry(data.compilation_unit());
    write_random_states(entry);
    data.write("random_state", entry);
  }
  info.values = parts.values;
  return info;
}

}  // namespace

void save(
    const std::string& kind,
    const std::string& path,
    const Checkpoint& checkpoint,
    std::optional<int64_t> step,
    std::optional<double> metric,
    const std::function<void()>& before_rename) {
  TORCH_CHECK(!path.empty(), kind, ": the path is empty");
  const c10::AutoGradMode no_grad(false);
  OutputArchive data;
  CheckpointInfo info = describe(kind, checkpoint.parts(), data);
  info.step = step;
  info.metric = metric;
  const std::string index = index_bytes(info);

  CheckpointHead head;
  head.format = kCheckpointFormat;
  head.torch_version = TORCH_VERSION;
  head.index_size = index.size();
  head.index_crc = checkpoint_crc(0, index.data(), index.size());
  DurableFile file(kind, path);
  // Its place; until the end it says that the file has no data.
  const std::string place(checkpoint_head_size(head), '\0');
  file.write(place.data(), place.size());
  file.write(index.data(), index.size());
  guarded(kind + ": " + path, [&] {
    data.save_to([&](const void* bytes, std::size_t size) {
      head.data_crc = checkpoint_crc(head.data_crc, bytes, size);
      head.data_size += size;
      file.write(bytes, size);
      // LibTorch's writer ends the process where it cannot write.
      return size;
    });
  });
  const std::string bytes = checkpoint_head_bytes(head);
  file.write_at_start(bytes.data(), bytes.size());
  file.flush();
  if (before_rename) before_rename();
  file.commit();
}

}  // namespace detail

void save_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  detail::save("save_checkpoint", path, checkpoint, std::nullopt, std::nullopt);
}

}  // namespace stepsize
