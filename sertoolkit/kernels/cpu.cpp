// The steps of gated recurrent units on a CPU, in float32 and float64: that part of a layer in which a step waits for the
// one before.
//
// Weights are laid out in panels that stay in the cache; tiles of ROWS utterances times some lanes stay in registers.
// What the next step touches is fetched while this one is computed.

#include "cpu.hpp"

namespace {

#if defined(__AVX512F__)
constexpr int WIDTH = 64, ROWS = 8; // bytes of a register; utterances of a tile, so that 3 * ROWS + 4 registers do
#elif defined(__AVX2__)
constexpr int WIDTH = 32, ROWS = 4;
#else
constexpr int WIDTH = 16, ROWS = 4;
#endif
constexpr int64_t ROWS_KEPT = 128; // of gradients, before they are multiplied into that of the weights

// sum (R, C lanes) += x (R, depth) * panel (depth, C lanes); value (r, k) of x stands at x[r * across + k * along]
template <class T, int V, int R, int C>
INLINE void multiply(typename Lanes<T, V>::type (&sum)[R][C], const T *x, int64_t across, int64_t along, const T *panel,
                     int64_t pitch, int64_t depth) {
  typedef Lanes<T, V> L;
  for (int64_t k = 0; k < depth; ++k, x += along, panel += pitch) {
    typename L::type columns[C];
    UNROLL for (int c = 0; c < C; ++c) columns[c] = L::load(panel + c * V);
    UNROLL for (int r = 0; r < R; ++r) {
      const T value = x[r * across];
      UNROLL for (int c = 0; c < C; ++c) sum[r][c] += value * columns[c];
    }
  }
}

// One layer forward.
template <class T> struct Forward {
  const Packing &packing;
  T *gates;        // (M, 2, N, 4H): what the input gives to reset, update and new, and room for one more; becomes these
                   // three after their functions, and the hidden part of new
  const T *weight; // (M, 2, 3H, H)
  const T *bias;   // (M, 2, 4H): of reset, update, new and its hidden part
  T *out;          // (M, N, 2, H): the states
  const int64_t H = packing.units;

  // One step of some units. Pointers are to utterance 0; `state` is null where the walk begins.
  struct Step {
    const T *panel, *bias, *state;
    T *gates, *out;
    int64_t unit, ahead;
  };

  template <int V, int R> void tile(const Step &step, int64_t utterance) const {
    typedef Lanes<T, V> L;
    typedef typename L::type Values;
    const T *bias = step.bias + step.unit, *state = step.state ? step.state + utterance * 2 * H : nullptr;
    T *gates = step.gates + utterance * 4 * H + step.unit, *out = step.out + utterance * 2 * H + step.unit;
    Values sum[R][3];
    UNROLL for (int r = 0; r < R; ++r) {
      sum[r][0] = L::load(bias), sum[r][1] = L::load(bias + H), sum[r][2] = L::load(bias + 3 * H);
    }
    if (state) multiply<T, V, R, 3>(sum, state, 2 * H, 1, step.panel, 3 * V, H);
    const Values bias_new = L::load(bias + 2 * H);
    for (int r = 0; r < R; ++r, gates += 4 * H, out += 2 * H) {
      for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(gates + (step.ahead * 4 + gate) * H, 1);
      __builtin_prefetch(out + step.ahead * 2 * H, 1);
      const Values reset = L::sigmoid(L::load(gates) + sum[r][0]), update = L::sigmoid(L::load(gates + H) + sum[r][1]);
      const Values fresh = L::tanh(L::load(gates + 2 * H) + bias_new + reset * sum[r][2]);
      const Values before = state ? L::load(state + r * 2 * H + step.unit) : Values{};
      L::store(gates, reset);
      L::store(gates + H, update);
      L::store(gates + 2 * H, fresh);
      L::store(gates + 3 * H, sum[r][2]);
      L::store(out, fresh + update * (before - fresh));
    }
  }

  template <int V, int R> void utterances(const Step &step, int64_t from, int64_t to) const {
    for (; from + R <= to; from += R) tile<V, R>(step, from);
    if constexpr (R > 1) utterances<V, R / 2>(step, from, to);
  }

  // All units from step.unit on: as many lanes at once as there are units left.
  template <int V> void all_units(Step step, int64_t first, int64_t kept, int64_t last) const {
    for (; step.unit + V <= H; step.unit += V, step.panel += 3 * V * H) {
      utterances<V, ROWS>(step, first, kept);
      Step begin = step;
      begin.state = nullptr;
      utterances<V, ROWS>(begin, kept, last);
    }
    if constexpr (V > 1) all_units<V / 2>(step, first, kept, last);
  }

  // (3H, H) as panels (H, 3 gates, V), in the order of `all_units`
  template <int V> void make_panels(T *panel, const T *weight, int64_t unit) const {
    for (; unit + V <= H; unit += V)
      for (int64_t k = 0; k < H; ++k)
        for (int gate = 0; gate < 3; ++gate)
          for (int v = 0; v < V; ++v) *panel++ = weight[(gate * H + unit + v) * H + k];
    if constexpr (V > 1) make_panels<V / 2>(panel, weight, unit);
  }

  void operator()(const Walk &walk, int64_t) const {
    constexpr int V = WIDTH / sizeof(T);
    Zeros<T> panels(3 * H * H);
    make_panels<V>(panels.data(), weight + walk.group() * 3 * H * H, 0);
    T *all_gates = gates + walk.group() * packing.rows * 4 * H;
    T *all_out = out + (walk.member * packing.rows * 2 + walk.direction) * H;
    const int64_t by = walk.direction ? -1 : 1;
    for (int64_t t = walk.direction ? packing.steps - 1 : 0; t >= 0 && t < packing.steps; t += by) {
      const int64_t count = walk.count(t), kept = std::min(count, walk.count(t - by)), row = packing.offsets[t];
      const T *state = kept > walk.first ? all_out + packing.offsets[t - by] * 2 * H : nullptr;
      T *here = all_out + row * 2 * H;
      all_units<V>({panels.data(), bias + walk.group() * 4 * H, state, all_gates + row * 4 * H, here, 0,
                    walk.distance(t, t + by)},
                   walk.first, kept, count);
      for (int64_t r = count; r < walk.rows(t); ++r) std::fill_n(here + r * 2 * H, H, T(0));
    }
  }
};

// One layer backward.
template <class T> struct Backward {
  const Packing &packing;
  const T *grad_out;    // (M, N, 2, H)
  const T *weight;      // (M, 2, 3H, H)
  const T *gates, *out; // as `Forward` left them
  T *grads;             // (M, 2, N, 4H): of the hidden part of new, of reset, update and new
  T *grad_weight;       // (S, M, 2, 3H, H), zero before: a sum for each of S ranges of utterances
  T *grad_bias;         // (S, M, 2, 4H), zero before
  const int64_t H = packing.units;

  // One utterance at one step.
  struct Row {
    const T *gates, *grad_out, *before; // `before` is null where the walk begins
    T *grads, *carried, *bias;
    int64_t ahead;
  };

  template <int V> void row(const Row &of, int64_t unit) const {
    typedef Lanes<T, V> L;
    typedef typename L::type Values;
    for (; unit + V <= H; unit += V) {
      const T *gates = of.gates + unit;
      T *grads = of.grads + unit, *bias = of.bias + unit;
      for (int gate = 0; gate < 4; ++gate) {
        __builtin_prefetch(gates + (of.ahead * 4 + gate) * H);
        __builtin_prefetch(grads + (of.ahead * 4 + gate) * H, 1);
      }
      __builtin_prefetch(of.grad_out + unit + of.ahead * 2 * H);
      const Values reset = L::load(gates), update = L::load(gates + H), fresh = L::load(gates + 2 * H);
      const Values grad = L::load(of.grad_out + unit) + L::load(of.carried + unit), rest = T(1) - update;
      const Values before = of.before ? L::load(of.before + unit) : Values{};
      const Values to_new = grad * rest * (T(1) - fresh * fresh), to_hidden = to_new * reset;
      const Values to_reset = to_hidden * L::load(gates + 3 * H) * (T(1) - reset);
      const Values to_update = grad * (before - fresh) * update * rest;
      L::store(grads, to_hidden), L::add(bias + 3 * H, to_hidden);
      L::store(grads + H, to_reset), L::add(bias, to_reset);
      L::store(grads + 2 * H, to_update), L::add(bias + H, to_update);
      L::store(grads + 3 * H, to_new), L::add(bias + 2 * H, to_new);
      L::store(of.carried + unit, grad * update);
    }
    if constexpr (V > 1) row<V / 2>(of, unit);
  }

  // Panels of the weights are (3H, C, V) for C V units: as many at once as there are units left.
  template <int V, int C> void make_panels(T *panel, const T *weight, int64_t unit) const {
    for (; unit + C * V <= H; unit += C * V)
      for (int gate : {2, 0, 1})
        for (int64_t k = 0; k < H; ++k, panel += C * V) std::copy_n(weight + (gate * H + k) * H + unit, C * V, panel);
    if constexpr (C > 1) make_panels<V, C - 1>(panel, weight, unit);
    else if constexpr (V > 1) make_panels<V / 2, 1>(panel, weight, unit);
  }

  // What the step before gets: carried (B, H) += grads (B, 3H) * weight.
  template <int V, int C, int R> void carry(T *carried, const T *grads, const T *panel, int64_t from, int64_t to) const {
    typedef Lanes<T, V> L;
    for (; from + R <= to; from += R) {
      typename L::type sum[R][C];
      T *at = carried + from * H;
      UNROLL for (int r = 0; r < R; ++r) UNROLL for (int c = 0; c < C; ++c) sum[r][c] = L::load(at + r * H + c * V);
      multiply<T, V, R, C>(sum, grads + from * 4 * H, 4 * H, 1, panel, C * V, 3 * H);
      UNROLL for (int r = 0; r < R; ++r) UNROLL for (int c = 0; c < C; ++c) L::store(at + r * H + c * V, sum[r][c]);
    }
    if constexpr (R > 1) carry<V, C, R / 2>(carried, grads, panel, from, to);
  }
  template <int V, int C>
  void carry_units(T *carried, const T *grads, const T *panel, int64_t unit, int64_t first, int64_t last) const {
    for (; unit + C * V <= H; unit += C * V, panel += 3 * H * C * V)
      carry<V, C, ROWS>(carried + unit, grads, panel, first, last);
    if constexpr (C > 1) carry_units<V, C - 1>(carried, grads, panel, unit, first, last);
    else if constexpr (V > 1) carry_units<V / 2, 1>(carried, grads, panel, unit, first, last);
  }

  // Utterances of a step that had a state before it.
  struct Kept {
    const T *grads, *state;
    int64_t count;
  };

  // Of one gate: grad_weight (H, H) += grads (rows, H)^T * states (rows, H), the rows of some steps
  template <int V, int C, int R>
  void weigh(T *grad_weight, const std::vector<Kept> &steps, int64_t gate, int64_t unit, int64_t value) const {
    typedef Lanes<T, V> L;
    for (; value + R <= H; value += R) {
      typename L::type sum[R][C] = {};
      T *at = grad_weight + value * H + unit;
      for (const Kept &step : steps)
        multiply<T, V, R, C>(sum, step.grads + gate * H + value, 1, 4 * H, step.state + unit, 2 * H, step.count);
      UNROLL for (int r = 0; r < R; ++r) UNROLL for (int c = 0; c < C; ++c) L::add(at + r * H + c * V, sum[r][c]);
    }
    if constexpr (R > 1) weigh<V, C, R / 2>(grad_weight, steps, gate, unit, value);
  }
  template <int V, int C> void weigh_units(T *grad_weight, const std::vector<Kept> &steps, int64_t unit) const {
    for (; unit + C * V <= H; unit += C * V) {
      weigh<V, C, ROWS>(grad_weight + 2 * H * H, steps, 0, unit, 0); // the hidden part of new stands last there
      weigh<V, C, ROWS>(grad_weight, steps, 1, unit, 0);
      weigh<V, C, ROWS>(grad_weight + H * H, steps, 2, unit, 0);
    }
    if constexpr (C > 1) weigh_units<V, C - 1>(grad_weight, steps, unit);
    else if constexpr (V > 1) weigh_units<V / 2, 1>(grad_weight, steps, unit);
  }

  void operator()(const Walk &walk, int64_t range) const {
    constexpr int V = WIDTH / sizeof(T), C = 3;
    Zeros<T> panels(3 * H * H), carried(packing.batch * H), bias(4 * H);
    make_panels<V, C>(panels.data(), weight + walk.group() * 3 * H * H, 0);
    const int64_t sums = range * packing.members * 2 + walk.group(), by = walk.direction ? 1 : -1;
    std::vector<Kept> steps;
    int64_t rows_kept = 0;
    // Sums of some steps first, then of these sums: the order costs less precision, and grads are still in the cache.
    const auto add_up = [&] {
      weigh_units<V, C>(grad_weight + sums * 3 * H * H, steps, 0);
      for (int64_t i = 0; i < 4 * H; ++i) grad_bias[sums * 4 * H + i] += bias.data()[i];
      std::fill_n(bias.data(), 4 * H, T(0));
      steps.clear(), rows_kept = 0;
    };
    for (int64_t t = walk.direction ? 0 : packing.steps - 1; t >= 0 && t < packing.steps; t += by) {
      const int64_t count = walk.count(t), kept = std::min(count, walk.count(t + by)), ahead = walk.distance(t, t + by);
      const int64_t at = (walk.group() * packing.rows + packing.offsets[t]) * 4 * H;
      const int64_t both = ((walk.member * packing.rows + packing.offsets[t]) * 2 + walk.direction) * H;
      const T *state = out + both + ahead * 2 * H;
      for (int64_t r = walk.first; r < count; ++r)
        row<V>({gates + at + r * 4 * H, grad_out + both + r * 2 * H, r < kept ? state + r * 2 * H : nullptr,
                grads + at + r * 4 * H, carried.data() + r * H, bias.data(), ahead},
               0);
      for (int64_t r = count; r < walk.rows(t); ++r) std::fill_n(grads + at + r * 4 * H, 4 * H, T(0));
      carry_units<V, C>(carried.data(), grads + at, panels.data(), 0, walk.first, kept);
      steps.push_back({grads + at + walk.first * 4 * H, state + walk.first * 2 * H, kept - walk.first});
      if ((rows_kept += count - walk.first) >= ROWS_KEPT) add_up();
    }
    add_up();
  }
};

} // namespace

#define EXPORT(T, name)                                                                                                \
  bool forward_##name(int64_t ranges, int64_t threads, Packing packing, T *gates, const T *weight, const T *bias,      \
                      T *out) {                                                                                        \
    return run(packing, Forward<T>{packing, gates, weight, bias, out}, ranges, threads);                               \
  }                                                                                                                    \
  bool backward_##name(int64_t ranges, int64_t threads, Packing packing, const T *grad_out, const T *weight,           \
                       const T *gates, const T *out, T *grads, T *grad_weight, T *grad_bias) {                         \
    return run(packing, Backward<T>{packing, grad_out, weight, gates, out, grads, grad_weight, grad_bias}, ranges,     \
               threads);                                                                                               \
  }

extern "C" {
int32_t source_checksum() { return SOURCE_CHECKSUM; }
EXPORT(float, float32)
EXPORT(double, float64)
}
