#include <event.pb.h>
#include <stepsize/tensorboard/event_writer.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <system_error>

#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

#include "csrc/tensorboard/record.h"
#include "csrc/tensorboard/svg_png.h"

namespace stepsize {
namespace {

namespace fs = std::filesystem;

constexpr char kPrefix[] = "events.out.tfevents.";
constexpr int kMostTries = 10000;

[[noreturn]] void fail(
    const std::string& what, const std::string& path, int error) {
  throw std::runtime_error(
      "EventWriter: cannot " + what + " \"" + path +
      "\": " + std::generic_category().message(error));
}

double seconds_now() {
  const std::chrono::duration<double> passed =
      std::chrono::system_clock::now().time_since_epoch();
  return passed.count();
}

std::int64_t process_number() {
#ifdef _WIN32
  return _getpid();
#else
  return static_cast<std::int64_t>(::getpid());
#endif
}

// Readers take the files of a folder by name. So a run that goes on within a
// second needs a later time than it has.
std::int64_t time_of_name(const std::string& folder) {
  auto time = static_cast<std::int64_t>(seconds_now());
  std::error_code ignored;
  for (fs::directory_iterator it(folder, ignored), end; it != end;
       it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    if (name.rfind(kPrefix, 0) != 0) continue;
    // Ten digits; a name of another kind is no number or ends earlier.
    const std::string digits = name.substr(sizeof kPrefix - 1, 10);
    if (digits.find_first_not_of("0123456789") != std::string::npos) continue;
    time = std::max<std::int64_t>(
        time, std::strtoll(digits.c_str(), nullptr, 10) + 1);
  }
  return time;
}

bool is_continuation(unsigned char byte) { return (byte & 0xc0U) == 0x80U; }

// The bytes of the character of UTF-8 that begins at `i`; 0 where none does.
std::size_t character_size(const std::string& text, std::size_t i) {
  const auto first = static_cast<unsigned char>(text[i]);
  const std::size_t size = first < 0x80   ? 1
                           : first < 0xc2 ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size == 0 || i + size > text.size()) return 0;
  for (std::size_t k = 1; k < size; ++k) {
    if (!is_continuation(static_cast<unsigned char>(text[i + k]))) return 0;
  }
  const auto second = static_cast<unsigned char>(size > 1 ? text[i + 1] : 0);
  // Longer than need be, halves of a pair, and beyond the last character.
  const bool is_wrong =
      (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return is_wrong ? 0 : size;
}

// With U+FFFD in place of each byte that is of no character: readers give a tag
// up for one such byte in its text.
std::string as_utf8(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = character_size(text, i);
    result += size == 0 ? "\xef\xbf\xbd" : text.substr(i, size);
    i += std::max<std::size_t>(size, 1);
  }
  return result;
}

events::Event event_at(std::int64_t step) {
  events::Event event;
  event.set_wall_time(seconds_now());
  event.set_step(step);
  return event;
}

// An event with one value, which is yet to be set.
events::Summary::Value& add_value(
    events::Event& event, const std::string& tag) {
  // One that is not would make the whole event one that cannot be read.
  if (tag.empty() || as_utf8(tag) != tag) {
    throw std::invalid_argument(
        "EventWriter: tag must be UTF-8 and not empty, got '" + tag + "'");
  }
  if (event.step() < 0) {
    throw std::invalid_argument(
        "EventWriter: step must be >= 0, got " + std::to_string(event.step()));
  }
  events::Summary::Value& value = *event.mutable_summary()->add_value();
  value.set_tag(tag);
  return value;
}

std::uint32_t big_endian(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value = value << 8U | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

// By the type of colour in a PNG's header.
int channels_of(char type) {
  switch (type) {
    case 0:
      return 1;  // gray
    case 4:
      return 2;
    case 6:
      return 4;
    default:
      return 3;  // RGB, and a palette of it
  }
}

}  // namespace

EventWriter::EventWriter(
    const std::string& folder, std::optional<std::int64_t> purge_step) {
  if (folder.empty()) {
    throw std::invalid_argument("EventWriter: folder must not be empty");
  }
  if (purge_step && *purge_step < 0) {
    throw std::invalid_argument(
        "EventWriter: purge_step must be >= 0, got " +
        std::to_string(*purge_step));
  }
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) fail("make", folder, failure.value());
  std::string time = std::to_string(time_of_name(folder));
  if (time.size() < 10) time.insert(0, 10 - time.size(), '0');
  for (int number = 0; number < kMostTries && file_ == nullptr; ++number) {
    const std::string name = kPrefix + time + ".stepsize." +
                             std::to_string(process_number()) + "." +
                             std::to_string(number);
    path_ = (fs::path(folder) / name).string();
    errno = 0;
    file_.reset(std::fopen(path_.c_str(), "wbx"));
    if (file_ == nullptr && errno != EEXIST) break;
  }
  // Only a file opened for appending writes at its end again after an event
  // that did not fit was cut off.
  if (file_ != nullptr) file_.reset(std::fopen(path_.c_str(), "ab"));
  if (file_ == nullptr) fail("open", path_, errno);
  // Whole events are handed over at once, so a buffer would only delay them.
  std::setvbuf(file_.get(), nullptr, _IONBF, 0);
  try {
    begin(purge_step);
  } catch (...) {
    file_.reset();
    fs::remove(path_, failure);
    throw;
  }
}

void EventWriter::begin(std::optional<std::int64_t> purge_step) {
  events::Event version = event_at(0);
  version.set_file_version("brain.Event:2");
  write(version.SerializeAsString());
  if (!purge_step) return;
  events::Event start = event_at(*purge_step);
  start.mutable_session_log()->set_status(events::SessionLog::START);
  // Twice: the first that TensorBoard sees of a folder purges nothing.
  write(start.SerializeAsString());
  write(start.SerializeAsString());
}

void EventWriter::scalar(
    const std::string& tag, std::int64_t step, double value) {
  events::Event event = event_at(step);
  add_value(event, tag).set_simple_value(static_cast<float>(value));
  write(event.SerializeAsString());
}

void EventWriter::text(
    const std::string& tag, std::int64_t step, const std::string& text) {
  events::Event event = event_at(step);
  events::Summary::Value& value = add_value(event, tag);
  value.mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  events::Tensor& tensor = *value.mutable_tensor();
  tensor.set_dtype(events::Tensor::DT_STRING);
  tensor.mutable_tensor_shape();
  tensor.add_string_val(as_utf8(text));
  write(event.SerializeAsString());
}

void EventWriter::png(
    const std::string& tag, std::int64_t step, const std::string& bytes) {
  // The signature, and the first chunk: 13 bytes with width and height in
  // front.
  const std::string start("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  constexpr std::size_t kHeader = 33;
  constexpr std::uint32_t kMostSide = 0x7fffffff;
  const bool has_header =
      bytes.size() >= kHeader && bytes.compare(0, start.size(), start) == 0;
  const std::uint32_t width = has_header ? big_endian(bytes, 16) : 0;
  const std::uint32_t height = has_header ? big_endian(bytes, 20) : 0;
  if (width == 0 || height == 0 || width > kMostSide || height > kMostSide) {
    throw std::invalid_argument(
        "EventWriter: png: the bytes must be those of a PNG file");
  }
  events::Event event = event_at(step);
  events::Summary::Image& image = *add_value(event, tag).mutable_image();
  image.set_width(static_cast<std::int32_t>(width));
  image.set_height(static_cast<std::int32_t>(height));
  image.set_colorspace(channels_of(bytes[25]));
  image.set_encoded_image_string(bytes);
  write(event.SerializeAsString());
}

bool EventWriter::draws_svg() { return tensorboard::draws_svg(); }

void EventWriter::svg(
    const std::string& tag, std::int64_t step, const std::string& text) {
  png(tag, step, tensorboard::png_of_svg(text));
}

void EventWriter::write(const std::string& event) {
  const std::string record = tensorboard::record_of(event);
  std::error_code no_size;
  const auto size = fs::file_size(path_, no_size);
  // As where the folder was removed: a write would still go through, to
  // nowhere.
  if (no_size) fail("write to", path_, no_size.value());
  errno = 0;
  const std::size_t written =
      std::fwrite(record.data(), 1, record.size(), file_.get());
  if (written == record.size()) return;
  const int error = errno;
  std::clearerr(file_.get());
  std::error_code ignored;
  fs::resize_file(path_, size, ignored);
  fail("write to", path_, error);
}

}  // namespace stepsize
