#include <stepsize/adaptive/averaged_model.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <stepsize/adaptive/renew_batch_norm.h>
#include <torch/nn/module.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "csrc/adaptive/weights.h"
#include "csrc/core/archive.h"
#include "csrc/core/tensors.h"
#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/prefetch.h"
#include "csrc/optim/operand_checks.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr char kAveragedModel[] = "AveragedModel";
constexpr char kAveragedFormatKey[] = "stepsize_averaged_model_format";

bool averaged_has_tail_of(
    const AveragedModelOptions& own, const AveragedModelOptions& other) {
  return own.mode() == other.mode() &&
         (own.mode() != AveragingMode::kTail ||
          (own.tail_fraction() == other.tail_fraction() &&
           own.tail_updates() == other.tail_updates()));
}

std::vector<std::string> averaged_differences(
    const AveragedModelOptions& of_file, const AveragedModelOptions& here) {
  const auto& list = AveragedModelOptions::option_list();
  const auto saved = list.numbers(of_file);
  const auto present = list.numbers(here);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < saved.size(); ++i) {
    if (saved[i].second == present[i].second) continue;
    texts.push_back(
        saved[i].first + " is " + detail::number_text(saved[i].second) +
        " in the file, " + detail::number_text(present[i].second) + " here");
  }
  return texts;
}

bool averaged_has_loop(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.layout() == at::kStrided &&
         tensor.is_contiguous() && detail::is_plain(tensor) &&
         detail::element_type(tensor.scalar_type()) != detail::kFormatCount;
}

// LibTorch refuses to write to tensors of inference mode outside of it, which a
// loop of ours would not notice.
void check_averages_writable(const std::vector<at::Tensor>& averages) {
  if (c10::InferenceMode::is_enabled()) return;
  for (std::size_t i = 0; i < averages.size(); ++i) {
    TORCH_CHECK(
        !averages[i].is_inference(),
        kAveragedModel,
        ": average ",
        i,
        " was made in inference mode, and can be updated there alone");
  }
}

// What is read from an archive has its memory.
std::vector<at::Tensor> averaged_copies(
    const std::vector<at::Tensor>& kept,
    const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  TORCH_CHECK(
      kept.size() == tensors.size(),
      kAveragedModel,
      ": the archive has ",
      kept.size(),
      " averages, the model ",
      tensors.size(),
      " weights");
  for (std::size_t i = 0; i < kept.size(); ++i) {
    TORCH_CHECK(
        kept[i].defined() && kept[i].sizes() == tensors[i].sizes() &&
            kept[i].scalar_type() == detail::state_type(tensors[i]),
        kAveragedModel,
        ": average ",
        i,
        " of the archive does not fit its weight, a ",
        detail::type_and_shape(tensors[i]));
    copies.push_back(detail::copy_like(kept[i], tensors[i]));
  }
  return copies;
}

}  // namespace

const OptionList<AveragedModelOptions>& AveragedModelOptions::option_list() {
  static const auto list =
      OptionList<AveragedModelOptions>(kAveragedModel)
          .choice(STEPSIZE_OPTION(mode), {"kMean", "kExponential", "kTail"})
          .option(STEPSIZE_OPTION(decay))
          .share()
          .option(STEPSIZE_OPTION(warm_up_decay))
          .option(STEPSIZE_OPTION(tail_fraction))
          .must_be(
              "in (0, 1]", [](double value) { return value > 0 && value <= 1; })
          .option(STEPSIZE_OPTION(tail_updates))
          .at_least(0)
          .option(STEPSIZE_OPTION(update_every))
          .at_least(1)
          .option(STEPSIZE_OPTION(average_buffers));
  return list;
}

void AveragedModel::check_not_null(bool there) {
  TORCH_CHECK(there, kAveragedModel, ": the module is null");
}

AveragedModel::AveragedModel(
    const std::vector<at::Tensor>& tensors, const AveragedModelOptions& options)
    : AveragedModel(detail::weights_of(tensors, kAveragedModel), options) {}

AveragedModel::AveragedModel(
    const torch::nn::Module& module, const AveragedModelOptions& options)
    : AveragedModel(detail::weights_of(module, kAveragedModel), options) {}

AveragedModel::AveragedModel(
    const detail::Weights& weights, const AveragedModelOptions& options)
    : options_(options),
      tensors_(weights.tensors),
      forms_(detail::forms_of(tensors_)) {
  AveragedModelOptions::option_list().check(options_);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const bool wanted = i < weights.parameters || options_.average_buffers();
    is_averaged_.push_back(
        wanted &&
        (tensors_[i].is_floating_point() || tensors_[i].is_complex()));
  }
}

void AveragedModel::check_weights() const {
  TORCH_CHECK(
      !is_swapped_,
      kAveragedModel,
      ": the module holds its averages; end the AveragedWeights first");
  detail::check_forms(tensors_, forms_, kAveragedModel);
}

void AveragedModel::check_ready() const {
  TORCH_CHECK(
      updates_ > 0,
      kAveragedModel,
      ": there is no average before the first update()");
  check_weights();
}

// Of update number updates_ + 1.
double AveragedModel::share_of_new() const {
  const auto n = static_cast<double>(updates_);
  if (updates_ == 0) return 1;
  if (options_.mode() != AveragingMode::kExponential) {
    return 1 / static_cast<double>(covered_ + 1);
  }
  const double decay = options_.warm_up_decay()
                           ? std::min(options_.decay(), (1 + n) / (10 + n))
                           : options_.decay();
  return 1 - decay;
}

int64_t AveragedModel::tail_wanted(int64_t updates) const {
  if (options_.tail_updates() > 0) return options_.tail_updates();
  const double share = options_.tail_fraction() * static_cast<double>(updates);
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(share)));
}

// A new average is made apart, so that nothing has changed where there is no
// memory for it.
void AveragedModel::take(
    std::vector<at::Tensor>& averages, double share) const {
  if (averages.empty()) {
    std::vector<at::Tensor> fresh;
    for (const at::Tensor& tensor : tensors_) {
      const at::Tensor plain = tensor.detach();
      fresh.push_back(plain.to(
          plain.options().dtype(detail::state_type(plain)),
          /*non_blocking=*/false,
          /*copy=*/true));
    }
    averages = std::move(fresh);
    return;
  }
  const detail::LoopTable& loops = detail::loops();
  detail::CpuWork<detail::StepLoop<detail::AverageNumbers>> cpu(
      tensors_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    detail::prefetch_tensor(tensors_, i);
    detail::prefetch_tensor(averages, i);
    const at::Tensor& weight = tensors_[i];
    at::Tensor& average = averages[i];
    if (!is_averaged_[i] || share == 1) {
      average.copy_(weight.detach());
    } else if (averaged_has_loop(weight) && averaged_has_loop(average)) {
      const detail::Operands own = {{&weight, &weight, &average}, 3};
      cpu.add(own, i, loops.average[detail::format_of(own)]);
    } else {
      average.lerp_(weight.detach().to(average.scalar_type()), share);
    }
  }
  if (cpu.empty()) return;
  cpu.run(
      [share](
          const auto& loop,
          std::size_t /*index*/,
          void* const* arrays,
          int64_t begin,
          int64_t end) { loop(arrays, begin, end, {share}); },
      // What is written.
      [&averages](std::size_t i) {
        return detail::Operands{{&averages[i]}, 1};
      });
}

bool AveragedModel::update() {
  check_weights();
  if ((calls_ + 1) % options_.update_every() != 0) {
    ++calls_;
    return false;
  }
  check_averages_writable(averages_);
  check_averages_writable(later_);
  const c10::AutoGradMode no_grad(false);
  const bool has_tail = options_.mode() == AveragingMode::kTail;
  if (has_tail && later_.empty()) take(later_, 1);
  take(averages_, share_of_new());
  ++calls_;
  ++updates_;
  ++covered_;
  if (!has_tail) return true;
  ++later_covered_;
  take(later_, 1 / static_cast<double>(later_covered_));
  if (later_covered_ >= tail_wanted(updates_)) {
    averages_.swap(later_);
    covered_ = later_covered_;
    later_covered_ = 0;
  }
  return true;
}

void AveragedModel::write_to_model() const {
  check_ready();
  detail::write_weights(tensors_, averages_);
}

void AveragedModel::renew_batch_norm(
    torch::nn::Module& module, const std::function<void()>& forward_all) {
  std::vector<std::size_t> places;
  for (const at::Tensor& buffer : module.buffers()) {
    if (!buffer.defined()) continue;
    std::size_t place = 0;
    while (place < tensors_.size() && !tensors_[place].is_same(buffer)) ++place;
    TORCH_CHECK(
        place < tensors_.size(),
        kAveragedModel,
        ": renew_batch_norm() is of another module, or of buffers that are not "
        "kept");
    places.push_back(place);
  }
  const AveragedWeights guard(*this);
  stepsize::renew_batch_norm(module, forward_all);
  const c10::AutoGradMode no_grad(false);
  for (const std::size_t place : places) {
    averages_[place].copy_(tensors_[place]);
  }
}

OutputArchive& operator<<(
    OutputArchive& archive, const AveragedModel& averaged) {
  detail::write_int(archive, kAveragedFormatKey, 1);
  OutputArchive options(archive.compilation_unit());
  AveragedModelOptions::option_list().write(options, averaged.options_);
  archive.write("options", options);
  detail::write_int(archive, "calls", averaged.calls_);
  detail::write_int(archive, "updates", averaged.updates_);
  detail::write_int(archive, "covered", averaged.covered_);
  detail::write_int(archive, "later_covered", averaged.later_covered_);
  detail::write_tensors(
      archive,
      "averages",
      detail::storable(averaged.averages_, kAveragedModel));
  detail::write_tensors(
      archive, "later", detail::storable(averaged.later_, kAveragedModel));
  return archive;
}

InputArchive& operator>>(InputArchive& archive, AveragedModel& averaged) {
  averaged.load(archive);
  return archive;
}

std::function<void()> AveragedModel::keep_options() {
  return [this, options = options_] { options_ = options; };
}

std::vector<std::string> AveragedModel::load(
    InputArchive& archive, OptionsFrom from) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kAveragedFormatKey, format) && format.isInt() &&
          format.toInt() == 1,
      kAveragedModel,
      ": the archive holds no averaged model of this version of the format");
  check_weights();
  InputArchive saved;
  TORCH_CHECK(
      archive.try_read("options", saved),
      kAveragedModel,
      ": the archive has no 'options'");
  AveragedModelOptions of_file = options_;
  AveragedModelOptions::option_list().read(saved, of_file);
  auto differences = averaged_differences(of_file, options_);
  TORCH_CHECK(
      differences.empty() || from != OptionsFrom::kMustAgree,
      kAveragedModel,
      ": ",
      differences.empty() ? "" : differences.front());
  TORCH_CHECK(
      from != OptionsFrom::kProgram || averaged_has_tail_of(of_file, options_),
      kAveragedModel,
      ": the file's average is of another mode or tail");
  // What is a tensor's share in the average is known when it is made.
  TORCH_CHECK(
      of_file.average_buffers() == options_.average_buffers(),
      kAveragedModel,
      ": average_buffers is another in the file");
  const auto read = [&](const char* key, int64_t most) {
    return detail::read_int(archive, kAveragedModel, key, most);
  };
  const int64_t calls = read("calls", std::numeric_limits<int64_t>::max());
  const int64_t updates = read("updates", calls);
  const int64_t covered = read("covered", updates);
  const int64_t later_covered = read("later_covered", covered);
  const auto kept = detail::read_tensors(archive, kAveragedModel, "averages");
  const auto kept_later =
      detail::read_tensors(archive, kAveragedModel, "later");
  const bool has_tail = of_file.mode() == AveragingMode::kTail;
  TORCH_CHECK(
      kept.empty() == (updates == 0) &&
          kept_later.empty() == (updates == 0 || !has_tail) &&
          (covered > 0) == (updates > 0),
      kAveragedModel,
      ": the counts of the archive do not fit its averages");
  std::vector<at::Tensor> averages;
  std::vector<at::Tensor> later;
  if (!kept.empty()) averages = averaged_copies(kept, tensors_);
  if (!kept_later.empty()) later = averaged_copies(kept_later, tensors_);
  averages_ = std::move(averages);
  later_ = std::move(later);
  calls_ = calls;
  updates_ = updates;
  covered_ = covered;
  later_covered_ = later_covered;
  if (from == OptionsFrom::kFile) options_ = of_file;
  return differences;
}

AveragedWeights::AveragedWeights(AveragedModel& averaged)
    : averaged_(averaged) {
  averaged.check_ready();
  held_ = std::make_unique<detail::HeldWeights>(
      averaged.tensors_, "AveragedWeights");
  averaged.write_to_model();
  averaged.is_swapped_ = true;
}

AveragedWeights::~AveragedWeights() { averaged_.is_swapped_ = false; }

}  // namespace stepsize
