#include "examples/trainer/data/tar_file.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

namespace stepsize::trainer {
namespace {

// Places and lengths of a header's fields (POSIX.1-1988, "ustar").
constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameLength = 100;
constexpr std::size_t kSizeAt = 124;
constexpr std::size_t kSizeLength = 12;
constexpr std::size_t kSumAt = 148;
constexpr std::size_t kSumLength = 8;
constexpr std::size_t kTypeAt = 156;
constexpr std::size_t kMagicAt = 257;
constexpr std::size_t kPrefixAt = 345;
constexpr std::size_t kPrefixLength = 155;

[[noreturn]] void fail(
    const FileBytes& archive, std::size_t offset, const std::string& why) {
  throw std::runtime_error(
      archive.path.string() + ": " + why + " (at byte " +
      std::to_string(offset) + ")");
}

std::string text_in(const std::uint8_t* field, std::size_t length) {
  const auto* end = std::find(field, field + length, std::uint8_t{0});
  return {field, end};
}

// Octal digits between blanks or zeros, as tar writes them.
std::uint64_t field_number(
    const FileBytes& archive,
    std::size_t offset,
    std::size_t length,
    const char* what) {
  const std::uint8_t* field = archive.bytes.data() + offset;
  std::string digits = text_in(field, length);
  digits.erase(0, digits.find_first_not_of(' '));
  digits.erase(digits.find_last_not_of(' ') + 1);
  if (digits.empty() ||
      digits.find_first_not_of("01234567") != std::string::npos) {
    fail(
        archive,
        offset,
        std::string("the ") + what + " in a tar header is no octal number");
  }
  std::uint64_t value = 0;
  // Twelve digits of three bits fit.
  for (const char digit : digits) {
    value = value * 8 + static_cast<std::uint64_t>(digit - '0');
  }
  return value;
}

bool is_end(const std::uint8_t* block) {
  return std::all_of(
      block, block + kBlock, [](std::uint8_t byte) { return byte == 0; });
}

void check_sum(const FileBytes& archive, std::size_t offset) {
  const std::uint8_t* header = archive.bytes.data() + offset;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const bool in_sum = i >= kSumAt && i < kSumAt + kSumLength;
    sum += in_sum ? std::uint8_t{' '} : header[i];
  }
  const auto said =
      field_number(archive, offset + kSumAt, kSumLength, "checksum");
  if (sum != said) {
    fail(
        archive,
        offset,
        "damaged, or not a tar archive: the checksum of a header is " +
            std::to_string(sum) + ", and it says " + std::to_string(said));
  }
}

std::string name_in(const std::uint8_t* header) {
  const std::string name = text_in(header, kNameLength);
  // GNU tar keeps times where ustar has the front of a long name.
  const bool is_ustar = std::string(header + kMagicAt, header + kMagicAt + 6) ==
                        std::string("ustar\0", 6);
  const std::string front =
      is_ustar ? text_in(header + kPrefixAt, kPrefixLength) : "";
  return front.empty() ? name : front + "/" + name;
}

}  // namespace

std::vector<TarMember> tar_members(const FileBytes& archive) {
  constexpr int kMostEntries = 10000;
  const std::size_t whole = archive.bytes.size();
  std::vector<TarMember> members;
  std::size_t offset = 0;
  for (int entries = 0;; ++entries) {
    if (whole - offset < kBlock) {
      fail(
          archive,
          offset,
          offset == 0 ? "not a tar archive: it is shorter than a header"
                      : "truncated: the end of the tar archive is missing");
    }
    const std::uint8_t* header = archive.bytes.data() + offset;
    if (is_end(header)) {
      return members;
    }
    if (entries == kMostEntries) {
      fail(archive, offset, "a tar archive of more than 10000 entries");
    }
    check_sum(archive, offset);
    const auto size =
        field_number(archive, offset + kSizeAt, kSizeLength, "size");
    const std::string name = name_in(header);
    const std::size_t start = offset + kBlock;
    if (size > whole - start) {
      fail(
          archive,
          offset,
          "truncated: " + name + " has " + std::to_string(size) +
              " bytes, and " + std::to_string(whole - start) + " are left");
    }
    const std::uint8_t type = header[kTypeAt];
    if (type == '0' || type == 0) {
      members.push_back({name, start, static_cast<std::size_t>(size)});
    }
    // Members fill whole blocks.
    const auto filled =
        (static_cast<std::size_t>(size) + kBlock - 1) / kBlock * kBlock;
    offset = start + std::min(filled, whole - start);
  }
}

FileBytes extract(const FileBytes& archive, const TarMember& member) {
  const auto start =
      archive.bytes.begin() + static_cast<std::ptrdiff_t>(member.offset);
  return {
      archive.path.string() + ":" + member.name,
      {start, start + static_cast<std::ptrdiff_t>(member.size)}};
}

}  // namespace stepsize::trainer
