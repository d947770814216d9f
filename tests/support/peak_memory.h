#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>

// After a header of the library, which is what defines __GLIBC__.
#if defined(__linux__) && defined(__GLIBC__)
#include <malloc.h>
#endif

namespace stepsize::test {

/// The most memory that a piece of work has held at once, as the system counts
/// it: all of the process, its pages in memory. Linux with glibc; elsewhere,
/// and with sanitizers, whose allocator keeps what is freed, there is none.
class PeakMemory {
 public:
  PeakMemory() {
#if defined(__linux__) && defined(__GLIBC__)
    // What is freed goes back to the system at once, and a tensor that is not
    // written costs nothing.
    mallopt(M_MMAP_THRESHOLD, 1 << 16);
    mallopt(M_TRIM_THRESHOLD, 1 << 16);
#endif
  }

  static bool there() {
    return kMayBeThere && reset() && kilobytes("VmHWM:") > 0;
  }

  /// Bytes of the peak of `work` beyond what there was before it.
  static double during(const std::function<void()>& work) {
    reset();
    const double before = resident();
    work();
    return 1024 * static_cast<double>(kilobytes("VmHWM:")) - before;
  }

  /// Bytes that there are now.
  static double resident() {
    return 1024 * static_cast<double>(kilobytes("VmRSS:"));
  }

 private:
#if !defined(__linux__) || !defined(__GLIBC__) || \
    defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr bool kMayBeThere = false;
#elif defined(__has_feature)
  // Clang's way to say it.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
  static constexpr bool kMayBeThere = false;
#else
  static constexpr bool kMayBeThere = true;
#endif
#else
  static constexpr bool kMayBeThere = true;
#endif

  static bool reset() {
    std::ofstream file("/proc/self/clear_refs");
    file << "5" << std::flush;
    return file.good();
  }

  static int64_t kilobytes(const std::string& name) {
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
      if (line.rfind(name, 0) != 0) continue;
      int64_t value = 0;
      std::istringstream(line.substr(name.size())) >> value;
      return value;
    }
    return 0;
  }
};

}  // namespace stepsize::test
