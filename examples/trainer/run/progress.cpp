#include "examples/trainer/run/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {

std::size_t terminal_columns() {
  winsize size{};
  const bool known =
      ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col : 80;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(std::max(seconds, 0.0)));
  const long long hours = whole / 3600;
  const long long minutes = whole / 60 % 60;
  return hours > 0 ? format("%lld:%02lld:%02lld", hours, minutes, whole % 60)
                   : format("%lld:%02lld", minutes, whole % 60);
}

std::string progress_line(
    const std::string& start,
    const std::string& bar,
    const std::string& end,
    std::size_t columns) {
  // A line that the terminal wraps could not be taken away again.
  const std::size_t room = columns - 1;
  const bool fits = start.size() + bar.size() + end.size() <= room;
  return (start + (fits ? bar : "") + end).substr(0, room);
}

Progress::Progress(std::ostream& out, bool bar, const ProgressPlan& plan)
    : out_(out),
      bar_(bar),
      plan_(plan),
      images_done_(plan.images_done),
      tested_(plan.tests_done * plan.test_images),
      last_(Clock::now()),
      drawn_(last_) {
  out_ << "epoch   step       rate  train loss  accuracy   test loss  accuracy"
          "  images/s\n"
       << std::flush;
}

double Progress::seconds_since_last() {
  const auto before = std::exchange(last_, Clock::now());
  return std::chrono::duration<double>(last_ - before).count();
}

bool Progress::is_due() {
  constexpr auto kBetweenFrames = std::chrono::milliseconds(100);
  if (!bar_ || last_ - drawn_ < kBetweenFrames) {
    return false;
  }
  drawn_ = last_;
  return true;
}

std::string Progress::cells() {
  constexpr std::int64_t kCells = 20;
  const double done = estimate_.work(images_done_, tested_);
  const double all =
      estimate_.work(plan_.images, plan_.epochs * plan_.test_images);
  // What a test takes is a guess at first: a bar does not go back.
  full_cells_ = std::clamp(
      static_cast<std::int64_t>(kCells * done / all), full_cells_, kCells);
  const auto full = static_cast<std::size_t>(full_cells_);
  return '[' + std::string(full, '#') + std::string(kCells - full, '.') + "] ";
}

std::string Progress::time_left() const {
  return clock_text(estimate_.seconds(
             plan_.images - images_done_,
             plan_.epochs * plan_.test_images - tested_)) +
         " left";
}

void Progress::draw(const std::string& start, const std::string& end) {
  out_ << '\r' << progress_line(start, cells(), end, terminal_columns())
       << "\x1b[K" << std::flush;
}

void Progress::add(const StepResult& result) {
  images_done_ += result.batch;
  estimate_.add_training(result.batch, seconds_since_last());
  if (!is_due()) {
    return;
  }
  draw(
      format(
          "epoch %lld/%lld ",
          static_cast<long long>(result.epoch),
          static_cast<long long>(plan_.epochs)),
      format(
          "%lld/%lld  loss %.3g  %.0f/s  ",
          static_cast<long long>(result.step),
          static_cast<long long>(plan_.steps),
          result.loss,
          estimate_.training_rate()) +
          time_left());
}

void Progress::add_test(std::int64_t epoch, std::int64_t images) {
  const std::int64_t more = images - std::exchange(tested_in_epoch_, images);
  tested_ += more;
  estimate_.add_test(more, seconds_since_last());
  if (!is_due()) {
    return;
  }
  draw(
      format(
          "epoch %lld/%lld ",
          static_cast<long long>(epoch),
          static_cast<long long>(plan_.epochs)),
      format(
          "test %lld/%lld  ",
          static_cast<long long>(images),
          static_cast<long long>(plan_.test_images)) +
          time_left());
}

void Progress::add(const EpochResult& result) {
  constexpr double kPercent = 100;
  clear();
  tested_in_epoch_ = 0;
  tested_ = result.epoch * plan_.test_images;
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
