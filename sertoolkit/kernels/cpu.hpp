// What the steps of gated recurrent units on a CPU share, whatever they compute in: values side by side, packed frames,
// and the walks through them.
//
// M members, each a bidirectional layer of H units, on N packed frames: row offsets[t] + r is frame t of utterance r,
// there while t < lengths[r]; utterances stand from long to short. Direction 1 walks from the last frame to the first.
// What a member, a direction and a range of utterances need is a walk. Walks share nothing, so threads never wait, and a
// state is made by the same operations in the same order whatever stands beside it. So are gradients, but for those of
// weights and biases: they are summed range by range, and their last bits follow the number of ranges.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <numeric>
#include <thread>
#include <vector>

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

namespace {

template <class T> struct Bits;
template <> struct Bits<float> {
  typedef int32_t type;
  static constexpr type mantissa = 23, one = 0x3F800000;
  static constexpr int terms = 7;
  static constexpr float rounder = 12582912.f, limit = 87.f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
};
template <> struct Bits<double> {
  typedef int64_t type;
  static constexpr type mantissa = 52, one = 0x3FF0000000000000;
  static constexpr int terms = 13;
  static constexpr double rounder = 6755399441055744., limit = 708., ln2_high = 6.93145751953125e-1,
                          ln2_low = 1.42860682030941723212e-6;
};

// V values side by side.
template <class T, int V> struct Lanes {
  typedef T type __attribute__((vector_size(V * sizeof(T))));
  typedef typename Bits<T>::type bits __attribute__((vector_size(V * sizeof(T))));

  static INLINE type load(const T *from) {
    type x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  static INLINE void store(T *to, type x) { std::memcpy(to, &x, sizeof x); }
  static INLINE void add(T *to, type x) { store(to, load(to) + x); }

  // exp(x) = scale * (1 + rest), where scale is a power of two and rest a short series; NaN stays NaN
  struct Exp {
    type scale, rest;
  };
  template <int terms = Bits<T>::terms> static INLINE Exp exp(type x) {
    typedef Bits<T> B;
    x = x < -B::limit ? type{} - B::limit : x;
    x = x > B::limit ? type{} + B::limit : x;
    const type shifted = x * T(1.4426950408889634) + B::rounder; // the power now stands in the lowest bits
    const type power = shifted - B::rounder;
    const type rest = x - power * B::ln2_high - power * B::ln2_low;
    type sum = type{} + T(1);
    UNROLL for (int term = terms; term > 1; --term) sum = T(1) + sum * rest * T(1. / term);
    return {(type)(((bits)shifted << B::mantissa) + B::one), sum * rest};
  }
  static INLINE type sigmoid(type x) {
    const Exp e = exp(-x);
    return T(1) / (T(1) + (e.scale + e.scale * e.rest));
  }
  // by exp(2x) - 1, which keeps all digits of a small x
  static INLINE type tanh(type x) {
    const Exp e = exp(x + x);
    const type less_one = (e.scale - T(1)) + e.scale * e.rest;
    return less_one / (less_one + T(2));
  }
};

// Zeros, the first at the start of a cache line.
template <class T> class Zeros {
public:
  explicit Zeros(int64_t size) : memory(size + 64 / sizeof(T)) {
    const uintptr_t past = reinterpret_cast<uintptr_t>(memory.data()) % 64;
    first = memory.data() + (past ? (64 - past) / sizeof(T) : 0);
  }
  T *data() { return first; }

private:
  std::vector<T> memory;
  T *first;
};

struct Packing {
  int64_t members, rows, batch, units, steps;
  const int64_t *offsets, *lengths; // (T,), (M, B)
};

// One direction of some utterances of one member.
struct Walk {
  const Packing &packing;
  int64_t member, direction, first, last; // utterances first to last - 1

  int64_t group() const { return member * 2 + direction; }
  // Utterances first to count(t) - 1 have a frame t.
  int64_t count(int64_t t) const {
    if (t < 0 || t >= packing.steps) return first;
    const int64_t *lengths = packing.lengths + member * packing.batch;
    return std::partition_point(lengths + first, lengths + last, [t](int64_t length) { return length > t; }) - lengths;
  }
  // Rows of a step; a member may have fewer, as others have longer utterances.
  int64_t rows(int64_t t) const {
    const int64_t end = t + 1 < packing.steps ? packing.offsets[t + 1] : packing.rows;
    return std::min(end - packing.offsets[t], last);
  }
  // From the rows of step t to those of another, zero if that is none.
  int64_t distance(int64_t t, int64_t other) const {
    return other < 0 || other >= packing.steps ? 0 : packing.offsets[other] - packing.offsets[t];
  }
};

// First utterance of a range; ranges hold about as many frames each.
int64_t first_of(const Packing &packing, int64_t member, int64_t range, int64_t ranges) {
  if (range == ranges) return packing.batch;
  const int64_t *lengths = packing.lengths + member * packing.batch;
  const int64_t frames = std::accumulate(lengths, lengths + packing.batch, int64_t(0));
  int64_t utterance = 0;
  for (int64_t before = 0; before * ranges < frames * range; ++utterance) before += lengths[utterance];
  return utterance;
}

// All walks of a layer: the utterances of each member and direction in `ranges` parts, threads take one after another.
// False if there was not enough memory.
template <class Pass> bool run(const Packing &packing, const Pass &pass, int64_t ranges, int64_t threads) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> enough{true};
  const int64_t walks = packing.members * 2 * ranges;
  const auto work = [&] {
    for (int64_t walk; (walk = next++) < walks;) {
      const int64_t group = walk / ranges, range = walk % ranges;
      const int64_t member = group / 2, first = first_of(packing, member, range, ranges);
      try {
        pass({packing, member, group % 2, first, first_of(packing, member, range + 1, ranges)}, range);
      } catch (const std::bad_alloc &) {
        enough = false;
      }
    }
  };
  std::vector<std::thread> others;
  try {
    others.reserve(walks);
    while (int64_t(others.size()) + 1 < std::min(threads, walks)) others.emplace_back(work);
  } catch (const std::exception &) { // no more threads to be had: those that there are take all walks
  }
  work();
  for (std::thread &other : others) other.join();
  return enough;
}

} // namespace
