#pragma once

#include <ATen/Parallel.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

namespace stepsize::benchmarks {

/// LibTorch takes the cores of some virtual machines for hyperthreads, and uses
/// half of them.
inline void use_all_cores() {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    at::set_num_threads(static_cast<int>(std::thread::hardware_concurrency()));
  }
}

/// Calls work(begin, end) on as many threads as LibTorch uses.
template <typename Work>
void on_threads(int64_t count, const Work& work) {
  const int64_t threads = at::get_num_threads();
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < threads; ++i) {
    helpers.emplace_back(work, count * i / threads, count * (i + 1) / threads);
  }
  work(0, count / threads);
  for (std::thread& helper : helpers) helper.join();
}

struct Free {
  void operator()(float* data) const { std::free(data); }
};
using Floats = std::unique_ptr<float, Free>;

inline Floats make_floats(int64_t count, float value) {
  Floats floats(static_cast<float*>(
      std::aligned_alloc(64, static_cast<size_t>(count) * sizeof(float))));
  float* data = floats.get();
  on_threads(count, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) data[i] = value;
  });
  return floats;
}

/// a = b + s c. Each line of a is read before it is written: 16 bytes an
/// element go over the bus, of which the benchmark STREAM counts 12.
class Triad {
 public:
  explicit Triad(int64_t count)
      : count_(count),
        a_(make_floats(count, 0.0F)),
        b_(make_floats(count, 1.0F)),
        c_(make_floats(count, 2.0F)) {}

  void run() {
    float* to = a_.get();
    const float* from = b_.get();
    const float* factor = c_.get();
    on_threads(count_, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[i] + 3.0F * factor[i];
    });
  }

 private:
  int64_t count_;
  Floats a_;
  Floats b_;
  Floats c_;
};

}  // namespace stepsize::benchmarks
