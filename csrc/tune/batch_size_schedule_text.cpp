#include <c10/util/Exception.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <cstddef>
#include <sstream>

namespace stepsize {
namespace {

constexpr char kForm[] =
    "\"batch BASE to MOST [by MICRO] [multiple_of N] linear|sqrt of SCHEDULE\"";

// Reads the words before the schedule, and complains where one does not fit.
class Words {
 public:
  explicit Words(const std::string& text) : text_(text), words_(text) {}

  std::string next() {
    std::string word;
    words_ >> word;
    return word;
  }

  void expect(const char* word) {
    const std::string found = next();
    check(found == word, "'" + std::string(word) + "'", found);
  }

  int64_t count() {
    const std::string found = next();
    const bool is_count =
        !found.empty() && found.size() <= 10 &&
        found.find_first_not_of("0123456789") == std::string::npos;
    check(is_count, "a number of examples", found);
    return std::stoll(found);
  }

  void check(
      bool holds, const std::string& expected, const std::string& found) const {
    TORCH_CHECK(
        holds,
        "BatchSizeSchedule: the text must read ",
        kForm,
        "; expected ",
        expected,
        ", got '",
        found,
        "' in \"",
        text_,
        "\"");
  }

  std::string rest() {
    std::string line;
    std::getline(words_ >> std::ws, line, '\0');
    return line;
  }

 private:
  std::string text_;
  std::istringstream words_;
};

}  // namespace

std::string BatchSizeSchedule::to_string() const {
  const BatchSizeScheduleOptions& settings = options();
  std::string text = "batch " + std::to_string(settings.base_batch()) + " to " +
                     std::to_string(settings.max_batch());
  if (settings.max_micro_batch() > 0) {
    text += " by " + std::to_string(settings.max_micro_batch());
  }
  if (settings.multiple_of() > 1) {
    text += " multiple_of " + std::to_string(settings.multiple_of());
  }
  text += settings.exchange() == BatchExchange::kLinear ? " linear" : " sqrt";
  return text + " of " + schedule().to_string();
}

BatchSizeSchedule BatchSizeSchedule::parse(
    const std::string& text, const ParseContext& context) {
  Words words(text);
  words.expect("batch");
  const int64_t base = words.count();
  words.expect("to");
  BatchSizeScheduleOptions options(base, words.count());
  std::string word = words.next();
  if (word == "by") {
    options.max_micro_batch(words.count());
    word = words.next();
  }
  if (word == "multiple_of") {
    options.multiple_of(words.count());
    word = words.next();
  }
  words.check(word == "linear" || word == "sqrt", "'linear' or 'sqrt'", word);
  options.exchange(
      word == "linear" ? BatchExchange::kLinear : BatchExchange::kSquareRoot);
  words.expect("of");
  return BatchSizeSchedule(stepsize::parse(words.rest(), context), options);
}

}  // namespace stepsize
