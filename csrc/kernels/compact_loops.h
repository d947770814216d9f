#pragma once

// Steps of optimizers whose state is kept in fewer bytes: read, used and
// written again in registers, a block at a time. See lanes.h for what may be
// used here.

#include "csrc/kernels/block_code.h"
#include "csrc/kernels/update_rules.h"

namespace stepsize::detail {

constexpr int kMostCompactStates = 3;

/// The ways to keep a state in fewer bytes.
enum CompactForm {
  kCompactBFloat16,
  kCompact8Bit,
};
constexpr int kCompactFormCount = 2;

/// Where the factors of blocks begin behind the codes of so many elements.
constexpr int64_t code_bytes(int64_t elements) {
  constexpr int64_t kAlignment = 64;  // as many as are read at once
  return (elements + kAlignment - 1) / kAlignment * kAlignment;
}
constexpr int64_t code_blocks(int64_t elements) {
  return (elements + kCodeBlock - 1) / kCodeBlock;
}

/// A parameter, its gradient, both of type `type`, and its state. `seed` is of
/// parameter and step, and decides how state is rounded.
struct CompactArrays {
  void* param;
  const void* grad;
  void* states[kMostCompactStates];
  int64_t elements;
  Format type;
  uint32_t seed;
};

/// A loop over the elements [begin, end); `begin` is a multiple of kCodeBlock,
/// and `end` too, or all elements.
template <typename Numbers>
using CompactLoop = void (*)(
    const CompactArrays& arrays,
    int64_t begin,
    int64_t end,
    const Numbers& numbers);
using CompactCountLoop = int64_t (*)(
    const CompactArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers);

/// The loops of one instruction set.
struct CompactTable {
  CompactLoop<SGDNumbers> compact_sgd[kCompactFormCount][kMomentumModeCount];
  /// [..][coupled decay][amsgrad][cautious]
  CompactLoop<AdamNumbers> compact_adam[kCompactFormCount][2][2][2];
  CompactCountLoop compact_adam_count[kCompactFormCount];
  CompactLoop<LionNumbers> compact_lion[kCompactFormCount];
};

namespace {

/// Numbers that look random (the finalizer of MurmurHash3, which is in the
/// public domain).
inline uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

/// The seed of one kind of state in a step.
inline uint32_t seed_of_state(uint32_t seed, int state) {
  return seed + static_cast<uint32_t>(state) * 0x9e3779b1u;
}

inline uint32_t block_seed(uint32_t seed, int64_t block) {
  return mixed(seed + static_cast<uint32_t>(block) * 0x85ebca77u);
}

/// By which elements of a block are rounded up or down: a Weyl sequence from
/// the block's seed on.
class RoundingChance {
 public:
  inline RoundingChance(uint32_t seed, int state, int64_t begin)
      : start_(
            unsigned_of(lane_numbers()) * kWeyl +
            block_seed(seed_of_state(seed, state), begin / kCodeBlock)) {}

  /// 32 bits for each lane from this element of the block on.
  inline UInts bits(int i) const {
    return start_ + static_cast<uint32_t>(i) * kWeyl;
  }
  /// The same as numbers in [1, 2).
  inline Floats in_1_to_2(int i) const {
    constexpr int kExponentBits = 9;
    constexpr uint32_t kOne = 0x3f800000u;
    return floats_of(signed_of((bits(i) >> kExponentBits) | kOne));
  }

  static constexpr uint32_t kWeyl = 0x9e3779b1u;

 private:
  UInts start_;
};

/// What a block of a state needs besides registers. It is no member of the
/// blocks, which a compiler keeps in registers without it.
struct BlockScratch {
  alignas(64) float numbers[kCodeBlock];
  uint16_t codes[kCodeBlock];
};

/// The upper halves of floats, rounded up with the probability that keeps the
/// mean: to the nearest one, a mean of which a step changes less than its last
/// digit would never change.
template <bool kSigned>
class BFloat16Block {
 public:
  inline BFloat16Block(
      const CompactArrays& arrays,
      int state,
      int64_t begin,
      int count,
      BlockScratch& scratch)
      : codes_(static_cast<uint16_t*>(arrays.states[state]) + begin),
        chance_(arrays.seed, state, begin) {
    const int64_t left = arrays.elements - begin;
    if (left >= count) return;
    // The lanes of a last block go beyond its end.
    bytes_ = static_cast<size_t>(left) * sizeof *codes_;
    memset(scratch.codes, 0, sizeof scratch.codes);
    memcpy(scratch.codes, codes_, bytes_);
    there_ = codes_;
    codes_ = scratch.codes;
  }

  inline Floats get(int i) const {
    return floats_of(signed_of(unsigned_of(load_lanes(codes_ + i)) << kHalf));
  }

  inline void put(int i, Floats number) {
    const UInts up = chance_.bits(i) >> kHalf;
    const Ints rounded =
        signed_of((unsigned_of(ints_of(number)) + up) >> kHalf);
    store_lanes(codes_ + i, select(number != number, splat_int(kNaN), rounded));
  }

  inline void finish() {
    if (there_ != nullptr) memcpy(there_, codes_, bytes_);
  }

 private:
  static constexpr int kHalf = 16;
  static constexpr int32_t kNaN = 0x7fc0;

  uint16_t* codes_;
  RoundingChance chance_;
  uint16_t* there_ = nullptr;
  size_t bytes_ = 0;
};

/// Codes of eight bits, and a factor behind the codes of all blocks.
template <bool kSigned>
class EightBitBlock {
 public:
  inline EightBitBlock(
      const CompactArrays& arrays,
      int state,
      int64_t begin,
      int count,
      BlockScratch& scratch)
      : codes_(static_cast<uint8_t*>(arrays.states[state]) + begin),
        factor_(
            static_cast<uint8_t*>(arrays.states[state]) +
            code_bytes(arrays.elements) +
            begin / kCodeBlock * static_cast<int64_t>(sizeof(float))),
        numbers_(scratch.numbers),
        count_(count),
        chance_(arrays.seed, state, begin) {
    float before;
    memcpy(&before, factor_, sizeof before);
    before_ = splat<Floats>(before);
  }

  inline Floats get(int i) const {
    return number_of_code<kSigned>(load_lanes(codes_ + i), before_);
  }

  inline void put(int i, Floats number) { store_lanes(numbers_ + i, number); }

  inline void finish() {
    const float largest = largest_magnitude();
    constexpr uint32_t kNaNBits = 0x7fc00000u;
    // Of Inf NaN: times it most codes would be Inf, and their updates 0.
    const float kept = largest * 0 == 0 ? largest : float_of(kNaNBits);
    memcpy(factor_, &kept, sizeof kept);
    // The inverse of the largest, and all products with it, are to be normal.
    constexpr float kFew = 0x1p-64F;
    constexpr float kMany = 0x1p64F;
    float unit = 1;
    if (!(largest >= kFew)) unit = kMany;
    if (largest > kMany) unit = kFew;
    if (unit != 1) {
      for (int i = 0; i < count_; ++i) numbers_[i] = numbers_[i] * unit;
    }
    const Floats factor =
        splat<Floats>(largest == 0 ? 0.0F : 1.0F / (largest * unit));
    const auto code = [&](int i) {
      return code_of_number<kSigned>(
          load_lanes(numbers_ + i), factor, chance_.in_1_to_2(i));
    };
    for (int i = 0; i < count_; i += 4 * kFloatLanes) {
      store_lanes(
          codes_ + i,
          code(i),
          code(i + kFloatLanes),
          code(i + 2 * kFloatLanes),
          code(i + 3 * kFloatLanes));
    }
  }

 private:
  inline float largest_magnitude() const {
    constexpr int32_t kMagnitude = 0x7fffffff;
    // As integers magnitudes are ordered as numbers, Inf and NaN above all.
    Ints largest = splat_int(0);
    for (int i = 0; i < count_; i += kFloatLanes) {
      const Ints bits = ints_of(load_lanes(numbers_ + i));
      largest = larger(largest, bits & kMagnitude);
    }
    return float_of(static_cast<uint32_t>(largest_of(largest)));
  }

  uint8_t* codes_;
  uint8_t* factor_;
  float* numbers_;
  int count_;
  RoundingChance chance_;
  Floats before_;
};

/// Lanes of a state that go back at the end of the expression.
template <typename Block>
class HeldLanes {
 public:
  inline HeldLanes(Block& block, int at)
      : block_(block), at_(at), numbers_(block.get(at)) {}
  inline ~HeldLanes() { block_.put(at_, numbers_); }
  HeldLanes(const HeldLanes&) = delete;
  HeldLanes& operator=(const HeldLanes&) = delete;

  inline Floats& numbers() { return numbers_; }

 private:
  Block& block_;
  int at_;
  Floats numbers_;
};

template <typename Rule, typename... Blocks>
inline void step_block(
    const Rule& rule,
    float* params,
    const float* grads,
    int count,
    Blocks&... blocks) {
  for (int i = 0; i < count; i += kFloatLanes) {
    const Floats param = rule(
        load_lanes(params + i),
        load_lanes(grads + i),
        HeldLanes<Blocks>(blocks, i).numbers()...);
    store_lanes(params + i, param);
  }
  (blocks.finish(), ...);
}

template <typename T>
inline void widen(const void* from, int64_t begin, int count, float* to) {
  const T* values = static_cast<const T*>(from) + begin;
  for (int i = 0; i < count; ++i) to[i] = load(values[i]);
}

template <typename T>
inline void narrow(const float* from, int count, void* to, int64_t begin) {
  T* values = static_cast<T*>(to) + begin;
  for (int i = 0; i < count; ++i) store(values[i], from[i]);
}

inline void widen(
    const void* from, Format type, int64_t begin, int count, float* to) {
  if (type == kBFloat16) return widen<BFloat16Bits>(from, begin, count, to);
  if (type == kFloat16) return widen<Float16Bits>(from, begin, count, to);
  memcpy(
      to,
      static_cast<const float*>(from) + begin,
      static_cast<size_t>(count) * sizeof *to);
}

inline void narrow(
    const float* from, int count, void* to, Format type, int64_t begin) {
  if (type == kBFloat16) return narrow<BFloat16Bits>(from, count, to, begin);
  if (type == kFloat16) return narrow<Float16Bits>(from, count, to, begin);
  memcpy(
      static_cast<float*>(to) + begin,
      from,
      static_cast<size_t>(count) * sizeof *from);
}

/// Calls step(params, grads, begin, count) for each block: floats, and as many
/// as four times the lanes of any instruction set, zeros behind the last
/// element.
template <bool kWrites, typename Step>
inline void for_blocks(
    const CompactArrays& arrays, int64_t begin, int64_t end, const Step& step) {
  constexpr int kMostLanes = 64;
  alignas(64) float params[kCodeBlock];
  alignas(64) float grads[kCodeBlock];
  for (int64_t at = begin; at < end; at += kCodeBlock) {
    const int count =
        static_cast<int>(end - at < kCodeBlock ? end - at : kCodeBlock);
    const int padded = (count + kMostLanes - 1) / kMostLanes * kMostLanes;
    if (arrays.type == kFloat32 && padded == count) {
      step(
          static_cast<float*>(arrays.param) + at,
          static_cast<const float*>(arrays.grad) + at,
          at,
          count);
      continue;
    }
    for (int i = count; i < padded; ++i) params[i] = grads[i] = 0;
    widen(arrays.param, arrays.type, at, count, params);
    widen(arrays.grad, arrays.type, at, count, grads);
    step(params, grads, at, padded);
    if (kWrites) narrow(params, count, arrays.param, arrays.type, at);
  }
}

/// Of an optimizer with one mean.
template <template <bool> class Block, typename Rule, typename Numbers>
void compact_loop(
    const CompactArrays& arrays,
    int64_t begin,
    int64_t end,
    const Numbers& numbers) {
  const Rule rule(numbers);
  for_blocks<true>(
      arrays,
      begin,
      end,
      [&](float* params, const float* grads, int64_t at, int count) {
        BlockScratch scratch;
        Block<true> mean(arrays, 0, at, count, scratch);
        step_block(rule, params, grads, count, mean);
      });
}

template <
    template <bool>
    class Block,
    bool kCoupled,
    bool kAmsgrad,
    bool kCautious>
void compact_adam_loop(
    const CompactArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers) {
  const AdamRule<Floats, kCoupled, kAmsgrad, kCautious> rule(numbers);
  for_blocks<true>(
      arrays,
      begin,
      end,
      [&](float* params, const float* grads, int64_t at, int count) {
        BlockScratch scratch[2];
        Block<true> mean(arrays, 0, at, count, scratch[0]);
        Block<false> square(arrays, 1, at, count, scratch[1]);
        if constexpr (kAmsgrad) {
          BlockScratch more;
          Block<false> largest(arrays, 2, at, count, more);
          step_block(rule, params, grads, count, mean, square, largest);
        } else {
          step_block(rule, params, grads, count, mean, square);
        }
      });
}

template <template <bool> class Block>
int64_t compact_adam_count_loop(
    const CompactArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers) {
  const AdamRule<Floats, true, false, true> rule(numbers);
  int64_t moved = 0;
  for_blocks<false>(
      arrays,
      begin,
      end,
      [&](const float* params, const float* grads, int64_t at, int count) {
        BlockScratch scratch;
        const Block<true> means(arrays, 0, at, count, scratch);
        for (int i = 0; i < count; i += kFloatLanes) {
          const Floats grad = rule.coming_gradient(
              load_lanes(params + i), load_lanes(grads + i));
          const Floats mean = rule.coming_mean(grad, means.get(i));
          moved += count_of(mean * grad > splat<Floats>(0));
        }
      });
  return moved;
}

template <template <bool> class Block>
constexpr void set_compact(CompactTable& table, CompactForm form) {
  auto& sgd = table.compact_sgd[form];
  sgd[kFirst] = compact_loop<Block, SGDRule<Floats, kFirst, true>>;
  sgd[kNext] = compact_loop<Block, SGDRule<Floats, kNext, true>>;
  sgd[kFirstNesterov] =
      compact_loop<Block, SGDRule<Floats, kFirstNesterov, true>>;
  sgd[kNextNesterov] =
      compact_loop<Block, SGDRule<Floats, kNextNesterov, true>>;
  auto& adam = table.compact_adam[form];
  adam[0][0][0] = compact_adam_loop<Block, false, false, false>;
  adam[0][0][1] = compact_adam_loop<Block, false, false, true>;
  adam[0][1][0] = compact_adam_loop<Block, false, true, false>;
  adam[0][1][1] = compact_adam_loop<Block, false, true, true>;
  adam[1][0][0] = compact_adam_loop<Block, true, false, false>;
  adam[1][0][1] = compact_adam_loop<Block, true, false, true>;
  adam[1][1][0] = compact_adam_loop<Block, true, true, false>;
  adam[1][1][1] = compact_adam_loop<Block, true, true, true>;
  table.compact_adam_count[form] = compact_adam_count_loop<Block>;
  table.compact_lion[form] = compact_loop<Block, LionRule<Floats>>;
}

}  // namespace
}  // namespace stepsize::detail
