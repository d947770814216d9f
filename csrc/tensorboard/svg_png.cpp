#include "csrc/tensorboard/svg_png.h"

#include <cairo.h>
#include <librsvg/rsvg.h>

#include <cmath>
#include <memory>
#include <stdexcept>

namespace stepsize::tensorboard {
namespace {

// More would be a mistake, and cairo ends at twice as much.
constexpr double kMostPixels = 16384;

template <auto release>
struct Release {
  template <typename Object>
  void operator()(Object* object) const {
    release(object);
  }
};

// Throws unless `holds`; takes the error.
void check(bool holds, GError* error) {
  const std::unique_ptr<GError, Release<g_error_free>> owner(error);
  if (holds) return;
  std::string why = error == nullptr ? "its size is unknown" : error->message;
  // The parser's messages end in a line feed.
  why.erase(why.find_last_not_of(" \n") + 1);
  throw std::invalid_argument("EventWriter: the SVG cannot be drawn: " + why);
}

cairo_status_t append(
    void* bytes, const unsigned char* data, unsigned int size) {
  static_cast<std::string*>(bytes)->append(
      reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
}

}  // namespace

std::string png_of_svg(const std::string& svg) {
  GError* error = nullptr;
  const std::unique_ptr<RsvgHandle, Release<g_object_unref>> handle(
      rsvg_handle_new_from_data(
          reinterpret_cast<const guint8*>(svg.data()), svg.size(), &error));
  check(handle != nullptr, error);
  RsvgRectangle area{0, 0, 0, 0};
  rsvg_handle_get_intrinsic_size_in_pixels(
      handle.get(), &area.width, &area.height);
  check(area.width >= 1 && area.height >= 1, nullptr);
  if (area.width > kMostPixels || area.height > kMostPixels) {
    throw std::invalid_argument(
        "EventWriter: the SVG must have at most 16384 pixels a side");
  }
  const std::unique_ptr<cairo_surface_t, Release<cairo_surface_destroy>>
      surface(cairo_image_surface_create(
          CAIRO_FORMAT_ARGB32,
          static_cast<int>(std::ceil(area.width)),
          static_cast<int>(std::ceil(area.height))));
  const std::unique_ptr<cairo_t, Release<cairo_destroy>> context(
      cairo_create(surface.get()));
  const bool drawn = rsvg_handle_render_document(
                         handle.get(), context.get(), &area, &error) != 0;
  check(drawn, error);
  std::string png;
  const cairo_status_t status =
      cairo_surface_write_to_png_stream(surface.get(), append, &png);
  if (status != CAIRO_STATUS_SUCCESS) {
    throw std::runtime_error(
        std::string("EventWriter: the SVG cannot be drawn: ") +
        cairo_status_to_string(status));
  }
  return png;
}

bool draws_svg() { return true; }

}  // namespace stepsize::tensorboard
