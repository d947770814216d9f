#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/trainer/data/byte_file.h"

namespace stepsize::trainer {

/// A regular file in a tar archive.
struct TarMember {
  std::string name;        ///< with its folders: "cifar-10-batches-bin/a.bin"
  std::size_t offset = 0;  ///< of its first byte in the archive
  std::size_t size = 0;
};

/// The regular files of a tar archive (ustar, GNU or pax, which is unpacked
/// already), in its order. Nothing is written anywhere, links and folders are
/// passed over, and the longer names that some headers bring are not looked at:
/// no data set needs them.
///
/// Throws std::runtime_error naming the file and the rule it breaks: a header
/// whose checksum is wrong (a foreign or damaged file), a size that is no
/// octal number, a member that ends beyond the file, no block of zeros at the
/// end (a file cut short), or more than 10,000 entries.
std::vector<TarMember> tar_members(const FileBytes& archive);

/// The bytes of a member; messages speak of it as "ARCHIVE:NAME".
FileBytes extract(const FileBytes& archive, const TarMember& member);

}  // namespace stepsize::trainer
