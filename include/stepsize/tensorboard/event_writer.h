#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace stepsize {

/// Writes what TensorBoard shows of a run to a file of its own in a folder:
///
///     EventWriter events("runs/first");
///     events.scalar("loss/train", step, loss);
///     events.svg("rate", step, to_svg(plot));
///
/// The target stepsize::tensorboard, a component of the package by itself; the
/// header stepsize.h does not include this one. An event is in the file when
/// its call returns; one that does not fit on the disk is taken back. Tags are
/// paths. Give each tag's steps in ascending order: TensorBoard drops what it
/// has of a tag from a lower or equal step on. Not safe for several threads.
///
/// All functions throw std::invalid_argument for a tag that is empty or no
/// UTF-8, or a step < 0, and std::runtime_error, which names the path and the
/// reason, where the file cannot be written.
class EventWriter {
 public:
  /// Makes the folder and a file events.out.tfevents.TIME.stepsize.PID.N in it,
  /// whose name is later than those that are there; no host stands in it. For a
  /// run that goes on, `purge_step` is its first step from here on. TensorBoard
  /// with --load_fast=false then forgets what earlier files of the folder have
  /// of that step and later ones; by default it does so tag by tag, with the
  /// first event that a tag gets here.
  explicit EventWriter(
      const std::string& folder,
      std::optional<std::int64_t> purge_step = std::nullopt);

  /// A point of a curve. TensorBoard has it as a float, NaN and infinities too.
  void scalar(const std::string& tag, std::int64_t step, double value);
  /// Shown as Markdown. Bytes that are no UTF-8 become U+FFFD.
  void text(const std::string& tag, std::int64_t step, const std::string& text);
  /// Of a whole PNG file, its bytes. Throws std::invalid_argument for others.
  void png(const std::string& tag, std::int64_t step, const std::string& bytes);
  /// Of an SVG document, drawn in its own size: TensorBoard takes no SVG.
  /// Throws std::invalid_argument where librsvg cannot read it, and
  /// std::runtime_error where draws_svg() is false.
  void svg(const std::string& tag, std::int64_t step, const std::string& text);

  /// Whether this was built with librsvg.
  static bool draws_svg();

  const std::string& path() const { return path_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  void begin(std::optional<std::int64_t> purge_step);
  void write(const std::string& event);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace stepsize
