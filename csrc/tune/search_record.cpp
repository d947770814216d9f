#include "csrc/tune/search_record.h"

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <map>
#include <system_error>

#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

std::string quoted_json(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (code < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", unsigned{code});
      quoted += escape;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// JSON has no word for NaN and infinity.
std::string loss_json(double loss) {
  const std::string text = number_text(loss);
  return std::isfinite(loss) ? text : quoted_json(text);
}

std::string values_json(const std::vector<double>& values) {
  std::string list = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    list += (i == 0 ? "" : ",") + number_text(values[i]);
  }
  return list + "]";
}

// A value of a flat object: a text, or numbers, of which one may stand alone.
struct JsonValue {
  bool is_text = false;
  bool is_list = false;
  std::string text;
  std::vector<double> numbers;
};

// Reads objects whose values are texts, numbers and lists of numbers. All that
// it does not know makes it fail: a line is whole or it is none.
class FlatJson {
 public:
  explicit FlatJson(const std::string& text) : text_(text) {}

  std::optional<std::map<std::string, JsonValue>> object() {
    std::map<std::string, JsonValue> members;
    if (!take('{')) return std::nullopt;
    do {
      std::string key;
      JsonValue value;
      if (!string(key) || !take(':') || !this->value(value)) {
        return std::nullopt;
      }
      if (!members.emplace(key, value).second) return std::nullopt;
    } while (take(','));
    if (!take('}') || at_ != text_.size()) return std::nullopt;
    return members;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    skip_blanks();
    return true;
  }
  void skip_blanks() {
    while (peek() == ' ') ++at_;
  }

  bool string(std::string& out) {
    if (!take('"')) return false;
    // take() has gone on behind blanks that belong to the text.
    while (text_[at_ - 1] == ' ') --at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_++];
      if (c == '\\') {
        if (at_ == text_.size()) return false;
        c = text_[at_++];
        if (c == 'u') {
          unsigned code = 0;
          const char* first = text_.data() + at_;
          if (text_.size() - at_ < 4) return false;
          const auto read = std::from_chars(first, first + 4, code, 16);
          if (read.ptr != first + 4 || code >= 0x80) return false;
          at_ += 4;
          c = static_cast<char>(code);
        } else if (c != '"' && c != '\\') {
          return false;
        }
      } else if (static_cast<unsigned char>(c) < 0x20) {
        return false;
      }
      out += c;
    }
    return take('"');
  }

  bool number(double& out) {
    skip_blanks();
    const char c = peek();
    if (c != '-' && (c < '0' || c > '9')) return false;  // no "inf", no "nan"
    const char* last = text_.data() + text_.size();
    const auto read = std::from_chars(text_.data() + at_, last, out);
    if (read.ec != std::errc() || !std::isfinite(out)) return false;
    at_ = static_cast<std::size_t>(read.ptr - text_.data());
    skip_blanks();
    return true;
  }

  bool value(JsonValue& out) {
    if (peek() == '"') {
      out.is_text = true;
      return string(out.text);
    }
    double one = 0;
    if (!take('[')) {
      out.numbers.resize(1);
      return number(out.numbers[0]);
    }
    out.is_list = true;
    if (take(']')) return true;
    do {
      if (!number(one)) return false;
      out.numbers.push_back(one);
    } while (take(','));
    return take(']');
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

class Members {
 public:
  explicit Members(const std::map<std::string, JsonValue>& members)
      : members_(members) {}

  bool has(const char* key) const { return members_.count(key) == 1; }
  bool has_only(std::size_t count) const { return members_.size() == count; }

  bool text(const char* key, std::string& out) const {
    const auto found = members_.find(key);
    if (found == members_.end() || !found->second.is_text) return false;
    out = found->second.text;
    return true;
  }
  bool list(const char* key, std::vector<double>& out) const {
    const auto found = members_.find(key);
    if (found == members_.end() || !found->second.is_list) return false;
    out = found->second.numbers;
    return true;
  }
  // At least 0.
  bool count(const char* key, int64_t& out) const {
    constexpr double kMost = 0x1p53;
    const auto found = members_.find(key);
    if (found == members_.end() || found->second.is_text ||
        found->second.is_list) {
      return false;
    }
    const double value = found->second.numbers[0];
    if (!(value >= 0 && value <= kMost && std::floor(value) == value)) {
      return false;
    }
    out = static_cast<int64_t>(value);
    return true;
  }
  bool loss(const char* key, double& out) const {
    const auto found = members_.find(key);
    if (found == members_.end() || found->second.is_list) return false;
    if (!found->second.is_text) {
      out = found->second.numbers[0];
      return true;
    }
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const std::string& word = found->second.text;
    if (word == "nan") out = std::numeric_limits<double>::quiet_NaN();
    if (word == "inf") out = kInfinity;
    if (word == "-inf") out = -kInfinity;
    return word == "nan" || word == "inf" || word == "-inf";
  }
  bool whole(const char* key, int64_t& out) const {
    std::string word;
    if (!text(key, word)) return false;
    const char* last = word.data() + word.size();
    const auto read = std::from_chars(word.data(), last, out);
    return read.ec == std::errc() && read.ptr == last;
  }

 private:
  const std::map<std::string, JsonValue>& members_;
};

}  // namespace

std::string SearchRecord::to_line() const {
  switch (kind) {
    case Kind::kSearch:
      // Seeds reach beyond the whole numbers of JSON's readers.
      return "{\"lr_search\":1,\"space\":" + quoted_json(space) +
             ",\"context\":" + values_json(context) +
             ",\"label\":" + quoted_json(label) + ",\"seed\":\"" +
             std::to_string(seed) +
             "\",\"repeats\":" + std::to_string(repeats) + "}";
    case Kind::kStart:
      return "{\"start\":" + std::to_string(trial) +
             ",\"values\":" + values_json(values) + "}";
    case Kind::kReport:
      return "{\"report\":" + std::to_string(trial) +
             ",\"repeat\":" + std::to_string(repeat) +
             ",\"step\":" + std::to_string(step) +
             ",\"loss\":" + loss_json(loss) + "}";
    case Kind::kEnd:
      return "{\"end\":" + std::to_string(trial) +
             ",\"repeat\":" + std::to_string(repeat) +
             ",\"step\":" + std::to_string(step) +
             ",\"loss\":" + loss_json(loss) +
             ",\"status\":" + quoted_json(status) + "}";
  }
  return "";
}

std::optional<SearchRecord> SearchRecord::parse(const std::string& line) {
  const auto object = FlatJson(line).object();
  if (!object) return std::nullopt;
  const Members members(*object);
  SearchRecord record;
  bool whole = false;
  if (members.has("lr_search")) {
    int64_t version = 0;
    record.kind = Kind::kSearch;
    whole = members.has_only(6) && members.count("lr_search", version) &&
            version == 1 && members.text("space", record.space) &&
            members.list("context", record.context) &&
            members.text("label", record.label) &&
            members.whole("seed", record.seed) &&
            members.count("repeats", record.repeats);
  } else if (members.has("start")) {
    record.kind = Kind::kStart;
    whole = members.has_only(2) && members.count("start", record.trial) &&
            members.list("values", record.values);
  } else if (members.has("report")) {
    record.kind = Kind::kReport;
    whole = members.has_only(4) && members.count("report", record.trial) &&
            members.count("repeat", record.repeat) &&
            members.count("step", record.step) &&
            members.loss("loss", record.loss);
  } else if (members.has("end")) {
    record.kind = Kind::kEnd;
    whole = members.has_only(5) && members.count("end", record.trial) &&
            members.count("repeat", record.repeat) &&
            members.count("step", record.step) &&
            members.loss("loss", record.loss) &&
            members.text("status", record.status) &&
            (record.status == "finished" || record.status == "stopped" ||
             record.status == "diverged");
  }
  if (!whole) return std::nullopt;
  return record;
}

}  // namespace stepsize::detail
