#include "progress.h"

#include <algorithm>
#include <cmath>

#include "text.h"

namespace stepsize::trainer {
std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(std::max(seconds, 0.0)));
  const long long hours = whole / 3600;
  const long long minutes = whole / 60 % 60;
  return hours > 0 ? format("%lld:%02lld:%02lld", hours, minutes, whole % 60)
                   : format("%lld:%02lld", minutes, whole % 60);
}

Progress::Progress(
    std::ostream& out,
    bool bar,
    std::int64_t epochs,
    std::int64_t steps,
    std::int64_t images,
    std::int64_t images_done)
    : out_(out),
      bar_(bar),
      epochs_(epochs),
      steps_(steps),
      images_(images),
      images_before_(images_done),
      images_done_(images_done),
      start_(Clock::now()),
      drawn_(start_) {
  out_ << "epoch   step       rate  train loss  accuracy   test loss  accuracy"
          "  images/s\n"
       << std::flush;
}

void Progress::add(const StepResult& result) {
  images_done_ += result.batch;
  constexpr auto kBetweenFrames = std::chrono::milliseconds(100);
  const auto now = Clock::now();
  if (!bar_ || now - drawn_ < kBetweenFrames) {
    return;
  }
  drawn_ = now;
  // Tests are part of the time so far, and so of the time that is left.
  const double passed = std::chrono::duration<double>(now - start_).count();
  const auto done = static_cast<double>(images_done_ - images_before_);
  const auto to_do = static_cast<double>(images_ - images_done_);
  const double left = passed / done * to_do;
  constexpr std::int64_t kCells = 20;
  const auto full = static_cast<std::size_t>(kCells * images_done_ / images_);
  const std::string cells =
      '[' + std::string(full, '#') + std::string(kCells - full, '.') + "] ";
  const std::string epoch = format(
      "epoch %lld/%lld ",
      static_cast<long long>(result.epoch),
      static_cast<long long>(epochs_));
  const std::string rest = format(
      "%lld/%lld  loss %.3g  %.0f/s  %s left",
      static_cast<long long>(result.step),
      static_cast<long long>(steps_),
      result.loss,
      done / passed,
      clock_text(left).c_str());
  // A line that the terminal wraps could not be taken away again.
  constexpr std::size_t kColumns = 79;
  const bool fits = epoch.size() + cells.size() + rest.size() <= kColumns;
  out_ << '\r' << epoch << (fits ? cells : "") << rest << "\x1b[K"
       << std::flush;
}

void Progress::add(const EpochResult& result) {
  constexpr double kPercent = 100;
  clear();
  // A loss of so many digits has left the table anyway.
  constexpr double kWide = 1e5;
  const auto loss = [](double value) {
    return format(value < kWide ? "%11.4f" : "%11.4g", value);
  };
  out_ << format(
              "%5lld %6lld %10.4g %s %8.2f%% %s %8.2f%% %9.0f\n",
              static_cast<long long>(result.epoch),
              static_cast<long long>(result.step),
              result.lr,
              loss(result.train_loss).c_str(),
              kPercent * result.train_accuracy,
              loss(result.test_loss).c_str(),
              kPercent * result.test_accuracy,
              result.images_per_second)
       << std::flush;
}

void Progress::clear() {
  if (bar_) {
    out_ << "\r\x1b[K" << std::flush;
  }
}

}  // namespace stepsize::trainer
