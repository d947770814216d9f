#include <stepsize/optim/autocast.h>

#include <ATen/autocast_mode.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

namespace stepsize {
namespace {

// The type is set first: a version may refuse it, and nothing is to be on then.

// Functions that take the device; before them there was one for each device, by
// name, which are deprecated since.
#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)

bool autocast_has(at::DeviceType device) {
  return at::autocast::is_autocast_available(device);
}

bool autocast_is_on(at::DeviceType device) {
  return at::autocast::is_autocast_enabled(device);
}

at::ScalarType autocast_type(at::DeviceType device) {
  return at::autocast::get_autocast_dtype(device);
}

void set_autocast(at::DeviceType device, bool on, at::ScalarType type) {
  at::autocast::set_autocast_dtype(device, type);
  at::autocast::set_autocast_enabled(device, on);
}

#else

bool autocast_has(at::DeviceType device) {
  return device == at::kCPU || device == at::kCUDA || device == at::kXPU;
}

bool autocast_is_on(at::DeviceType device) {
  switch (device) {
    case at::kCPU:
      return at::autocast::is_cpu_enabled();
    case at::kXPU:
      return at::autocast::is_xpu_enabled();
    default:
      return at::autocast::is_enabled();
  }
}

at::ScalarType autocast_type(at::DeviceType device) {
  switch (device) {
    case at::kCPU:
      return at::autocast::get_autocast_cpu_dtype();
    case at::kXPU:
      return at::autocast::get_autocast_xpu_dtype();
    default:
      return at::autocast::get_autocast_gpu_dtype();
  }
}

void set_autocast(at::DeviceType device, bool on, at::ScalarType type) {
  switch (device) {
    case at::kCPU:
      at::autocast::set_autocast_cpu_dtype(type);
      at::autocast::set_cpu_enabled(on);
      break;
    case at::kXPU:
      at::autocast::set_autocast_xpu_dtype(type);
      at::autocast::set_xpu_enabled(on);
      break;
    default:
      at::autocast::set_autocast_gpu_dtype(type);
      at::autocast::set_enabled(on);
  }
}

#endif

bool checked_autocast_is_on(
    at::DeviceType device, const AutocastOptions& options) {
  TORCH_CHECK(
      autocast_has(device),
      "Autocast: device must be one that LibTorch has autocast for, got ",
      device);
  TORCH_CHECK(
      !options.dtype() || *options.dtype() == at::kBFloat16 ||
          *options.dtype() == at::kHalf,
      "Autocast: dtype must be bfloat16 or float16, got ",
      *options.dtype());
  TORCH_CHECK(
      TORCH_VERSION_MAJOR > 1 || device != at::kCPU ||
          options.dtype() != at::kHalf,
      "Autocast: dtype must be bfloat16 on a CPU with LibTorch 1, got Half");
  return autocast_is_on(device);
}

}  // namespace

Autocast::Autocast(at::Device device, const AutocastOptions& options)
    : device_(device.type()),
      enabled_before_(checked_autocast_is_on(device_, options)),
      dtype_before_(autocast_type(device_)),
      cache_before_(at::autocast::is_autocast_cache_enabled()) {
  set_autocast(
      device_, options.enabled(), options.dtype().value_or(dtype_before_));
  at::autocast::set_autocast_cache_enabled(options.cache_enabled());
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  // Before anything is put back: what is cached belongs to the guards alone.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  set_autocast(device_, enabled_before_, dtype_before_);
  at::autocast::set_autocast_cache_enabled(cache_before_);
}

}  // namespace stepsize
