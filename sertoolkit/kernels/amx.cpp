// The steps of gated recurrent units in bfloat16, on CPUs with matrix units (AMX): products of bfloat16 summed in
// float32. All else is computed in float32 as well; what is kept for the way back is bfloat16.
//
// A tile of the matrix units has 16 rows of 64 bytes: 16 rows of 32 bfloat16 times 32 rows of 16 bfloat16, in pairs of
// rows, give 16 rows of 16 float32. What is multiplied stands padded with zeros to whole tiles. A row of a product
// depends on no other, so rows without an utterance may hold anything that is finite.

#include "cpu.hpp"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

typedef uint16_t bfloat16;
typedef uint32_t Pair; // bfloat16 of two rows, one below the other
typedef Lanes<float, 16> L;
typedef L::type Values;
typedef bfloat16 Rounded __attribute__((vector_size(32)));
typedef Pair Pairs __attribute__((vector_size(64)));

constexpr int64_t TILE = 16, DEPTH = 32; // rows, and columns of float32; columns of bfloat16
constexpr int64_t ABREAST = 3;           // tiles that are summed at once
constexpr int64_t ROWS_KEPT = 256;       // of gradients, before they are multiplied into that of the weights

constexpr int64_t round_up(int64_t count, int64_t to) { return (count + to - 1) / to * to; }

// Up to TILE values of a row of `size`, from the one at `first` on.
struct Part {
  __mmask16 mask;
  Part(int64_t first, int64_t size) : mask(size - first < TILE ? (1 << (size - first)) - 1 : 0xFFFF) {}

  INLINE Rounded load_rounded(const bfloat16 *from) const { return (Rounded)_mm256_maskz_loadu_epi16(mask, from); }
  INLINE Values load(const bfloat16 *from) const {
    return (Values)(__builtin_convertvector(load_rounded(from), Pairs) << 16);
  }
  INLINE void store(bfloat16 *to, Rounded x) const { _mm256_mask_storeu_epi16(to, mask, (__m256i)x); }
};

INLINE Rounded rounded(Values x) { return (Rounded)_mm512_cvtneps_pbh((__m512)x); }

// bfloat16 has eight digits: four terms and a reciprocal of fourteen digits do.
constexpr int TERMS = 4;
INLINE Values inverse(Values x) { return (Values)_mm512_maskz_rcp14_ps(0xFFFF, (__m512)x); }
INLINE Values exp(Values x) {
  const L::Exp e = L::exp<TERMS>(x);
  return e.scale + e.scale * e.rest;
}
INLINE Values sigmoid(Values x) { return inverse(1.f + exp(-x)); }
INLINE Values tanh(Values x) {
  const L::Exp e = L::exp<TERMS>(x + x);
  const Values less_one = (e.scale - 1.f) + e.scale * e.rest;
  return less_one * inverse(less_one + 2.f);
}

// An update gate as it is kept for the way back. Near 1 it is what lacks to 1 that counts, and bfloat16 has digits for
// that only where it is kept instead of the gate, with a minus. Not `< 0`: it may be -0.
INLINE Values kept_gate(Values gate, Values x) { return x > 0.f ? -(exp(-x) * gate) : gate; }
struct Update {
  Values gate, rest; // rest = 1 - gate
  INLINE explicit Update(Values kept)
      : gate((L::bits)kept < 0 ? 1.f + kept : kept), rest((L::bits)kept < 0 ? -kept : 1.f - kept) {}
};

// GCC (12) does not know how much memory the matrix units read: before that, all has to be written.
INLINE void write_all(const void *written) { __asm__ volatile("" : : "r"(written) : "memory"); }

// The matrix units as this file uses them, all tiles whole. Whoever else uses them sets them up anew, as callers must.
struct MatrixUnits {
  MatrixUnits() {
    alignas(64) uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; ++tile) config[16 + 2 * tile] = 64, config[48 + tile] = TILE;
    write_all(config);
    _tile_loadconfig(config);
  }
  ~MatrixUnits() { _tile_release(); }
};

// Tiles of a product: `pitch` bytes from row to row, `next` from tile to tile of the other columns, `along` to the next
// that is summed over.
struct Product {
  float *first;
  int64_t pitch, next;
};
struct Left {
  const void *first;
  int64_t pitch, along;
};
struct Right {
  const void *first;
  int64_t pitch, next, along;
};

INLINE const char *at(const void *first, int64_t bytes) { return static_cast<const char *>(first) + bytes; }

// product (1, 3) = or += left (1, depth) * right (depth, 3), all counted in tiles
template <bool from_zero> INLINE void multiply(Product product, Left left, Right right, int64_t depth) {
  write_all(left.first);
  float *const second = product.first + product.next / 4, *const third = second + product.next / 4;
  if (from_zero) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
  } else {
    _tile_loadd(0, product.first, product.pitch);
    _tile_loadd(1, second, product.pitch);
    _tile_loadd(2, third, product.pitch);
  }
  for (int64_t k = 0; k < depth; ++k) {
    const char *const columns = at(right.first, k * right.along);
    _tile_loadd(3, at(left.first, k * left.along), left.pitch);
    _tile_loadd(4, columns, right.pitch);
    _tile_dpbf16ps(0, 3, 4);
    _tile_loadd(5, columns + right.next, right.pitch);
    _tile_dpbf16ps(1, 3, 5);
    _tile_loadd(6, columns + 2 * right.next, right.pitch);
    _tile_dpbf16ps(2, 3, 6);
  }
  _tile_stored(0, product.first, product.pitch);
  _tile_stored(1, second, product.pitch);
  _tile_stored(2, third, product.pitch);
}

// Tile (depth, 16 columns) of weights, in pairs of rows; `value(k, c)` gives them.
template <class Value> void make_tile(bfloat16 *tile, const Value &value) {
  for (int64_t k = 0; k < DEPTH; k += 2)
    for (int64_t c = 0; c < TILE; ++c, tile += 2) tile[0] = value(k, c), tile[1] = value(k + 1, c);
}
constexpr int64_t TILE_VALUES = TILE * DEPTH, TILE_BYTES = 2 * TILE_VALUES;

// One layer forward; arguments as those of `Forward` in cpu.cpp, but that update gates become `kept_gate`.
struct Forward {
  const Packing &packing;
  bfloat16 *gates;
  const bfloat16 *weight, *bias;
  bfloat16 *out;
  const int64_t H = packing.units, width = round_up(H, TILE), depth = round_up(H, DEPTH);

  // (3H, H) as tiles [16 units][32 of the state][gate]
  void make_panels(bfloat16 *panel, const bfloat16 *weight) const {
    for (int64_t unit = 0; unit < width; unit += TILE)
      for (int64_t k = 0; k < depth; k += DEPTH)
        for (int64_t gate = 0; gate < 3; ++gate, panel += TILE_VALUES)
          make_tile(panel, [&](int64_t row, int64_t column) -> bfloat16 {
            const int64_t to = unit + column, from = k + row;
            return to < H && from < H ? weight[(gate * H + to) * H + from] : 0;
          });
  }

  // Some units of one utterance after another, the first of a tile first.
  struct Rows {
    bfloat16 *gates, *out, *state; // `state` is what the next step multiplies,
    float *exact;                  // `exact` the same unrounded
    int64_t ahead, count;
  };

  // From products with the state (3 tiles) to the states.
  void finish(Rows at, const float *product, const float *bias, Part part) const {
    const Values bias_reset = L::load(bias), bias_update = L::load(bias + width);
    const Values bias_new = L::load(bias + 2 * width), bias_hidden = L::load(bias + 3 * width);
    for (; at.count; --at.count, product += TILE) {
      for (int gate = 0; gate < 4; ++gate) __builtin_prefetch(at.gates + (at.ahead * 4 + gate) * H, 1);
      __builtin_prefetch(at.out + at.ahead * 2 * H, 1);
      const Values reset = sigmoid(part.load(at.gates) + bias_reset + L::load(product));
      const Values to_update = part.load(at.gates + H) + bias_update + L::load(product + TILE * TILE);
      const Values update = sigmoid(to_update);
      const Values hidden = L::load(product + 2 * TILE * TILE) + bias_hidden;
      const Values fresh = tanh(part.load(at.gates + 2 * H) + bias_new + reset * hidden);
      const Values state = fresh + update * (L::load(at.exact) - fresh);
      part.store(at.gates, rounded(reset)), part.store(at.gates + H, rounded(kept_gate(update, to_update)));
      part.store(at.gates + 2 * H, rounded(fresh)), part.store(at.gates + 3 * H, rounded(hidden));
      part.store(at.out, rounded(state)), part.store(at.state, rounded(state));
      L::store(at.exact, state);
      at.gates += 4 * H, at.out += 2 * H, at.state += depth, at.exact += width;
    }
  }

  void operator()(const Walk &walk, int64_t) const {
    const MatrixUnits units;
    const int64_t rows = round_up(walk.last - walk.first, TILE), by = walk.direction ? -1 : 1;
    Zeros<bfloat16> panels(3 * width * depth), states(2 * rows * depth);
    Zeros<float> exact(rows * width), biases(4 * width), product(ABREAST * TILE * TILE);
    make_panels(panels.data(), weight + walk.group() * 3 * H * H);
    for (int64_t gate = 0; gate < 4; ++gate)
      for (int64_t unit = 0; unit < H; unit += TILE)
        L::store(biases.data() + gate * width + unit, Part(unit, H).load(bias + (walk.group() * 4 + gate) * H + unit));
    bfloat16 *before = states.data(), *after = before + rows * depth; // zero until an utterance begins
    for (int64_t t = walk.direction ? packing.steps - 1 : 0; t >= 0 && t < packing.steps; t += by) {
      const int64_t count = walk.count(t);
      bfloat16 *all_gates = gates + (walk.group() * packing.rows + packing.offsets[t]) * 4 * H;
      bfloat16 *all_out = out + ((walk.member * packing.rows + packing.offsets[t]) * 2 + walk.direction) * H;
      for (int64_t unit = 0; unit < width; unit += TILE)
        for (int64_t first = walk.first; first < count; first += TILE) {
          const int64_t place = first - walk.first;
          multiply<true>({product.data(), 64, TILE * TILE * 4}, {before + place * depth, depth * 2, DEPTH * 2},
                         {panels.data() + 3 * unit * depth, 64, TILE_BYTES, 3 * TILE_BYTES}, depth / DEPTH);
          finish({all_gates + first * 4 * H + unit, all_out + first * 2 * H + unit, after + place * depth + unit,
                  exact.data() + place * width + unit, walk.distance(t, t + by), std::min(TILE, count - first)},
                 product.data(), biases.data() + unit, Part(unit, H));
        }
      for (int64_t r = count; r < walk.rows(t); ++r) std::fill_n(all_out + r * 2 * H, H, bfloat16(0));
      std::swap(before, after);
    }
  }
};

// Pairs (16, 16) turned: value (row, column) goes to (column, row).
void transpose(Pair *to, const Pair *from, int64_t pitch) {
  typedef Pair Row __attribute__((vector_size(64)));
  Row x[TILE];
  for (int i = 0; i < TILE; ++i) std::memcpy(&x[i], from + i * pitch, sizeof(Row));
  const Row lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  UNROLL for (Pair half = 8; half; half /= 2) {
    const Row upper = (lane & half) / half; // lanes of the upper half come from the other row
    const Row low = lane + upper * (16 - half), high = low + half;
    _Pragma("GCC unroll 16") for (Pair i = 0; i < TILE; ++i) if (!(i & half)) {
      const Row a = x[i], b = x[i + half];
      x[i] = (Row)_mm512_permutex2var_epi32((__m512i)a, (__m512i)low, (__m512i)b);
      x[i + half] = (Row)_mm512_permutex2var_epi32((__m512i)a, (__m512i)high, (__m512i)b);
    }
  }
  std::memcpy(to, x, sizeof x);
}

// Rows of values that come one after another, in pairs of rows.
struct KeptRows {
  const int64_t size; // of a row
  Zeros<Pair> pairs;
  KeptRows(int64_t most, int64_t size) : size(size), pairs(most / 2 * size) {}

  INLINE void put(int64_t row, int64_t first, Rounded values) {
    Pair *to = pairs.data() + row / 2 * size + first;
    Pairs both = __builtin_convertvector(values, Pairs), before;
    if (row % 2) std::memcpy(&before, to, sizeof before), both = before | both << 16;
    std::memcpy(to, &both, sizeof both);
  }
  // Zeros in the rows that fill up the last tile.
  void fill(int64_t rows) {
    const int64_t used = (rows + 1) / 2 * size;
    std::fill_n(pairs.data() + used, round_up(rows, DEPTH) / 2 * size - used, 0);
  }
};

// One layer backward; arguments as those of `Backward` in cpu.cpp.
struct Backward {
  const Packing &packing;
  const bfloat16 *grad_out, *weight, *gates, *out;
  bfloat16 *grads;
  float *grad_weight, *grad_bias;
  const int64_t H = packing.units, width = round_up(H, TILE), wide = round_up(H, ABREAST * TILE);
  const int64_t depth = round_up(3 * H, DEPTH);

  // (3H, H), new first, as tiles [48 units][32 gates][3 x 16 units]
  void make_panels(bfloat16 *panel, const bfloat16 *weight) const {
    for (int64_t unit = 0; unit < wide; unit += ABREAST * TILE)
      for (int64_t k = 0; k < depth; k += DEPTH)
        for (int64_t tile = 0; tile < ABREAST; ++tile, panel += TILE_VALUES)
          make_tile(panel, [&](int64_t row, int64_t column) -> bfloat16 {
            const int64_t to = unit + tile * TILE + column, from = k + row;
            if (to >= H || from >= 3 * H) return 0;
            return weight[(from < H ? from + 2 * H : from - H) * H + to];
          });
  }

  // What a walk has made so far, gates in the order of `grads`.
  struct Sums {
    Zeros<float> weight, bias; // (3 width, wide), (4 width)
    KeptRows grads, states;    // not yet in that of the weight
    int64_t rows = 0;          // of these
    Zeros<Pair> turned;        // grads of 16 units
    Sums(int64_t most, int64_t width, int64_t wide)
        : weight(3 * width * wide), bias(4 * width), grads(most, 3 * width), states(most, wide),
          turned(most / 2 * TILE) {}
  };

  // grad_weight += grads^T * states, of the rows that were kept
  void weigh(Sums &sums) const {
    sums.grads.fill(sums.rows), sums.states.fill(sums.rows);
    const int64_t blocks = round_up(sums.rows, DEPTH) / DEPTH;
    for (int64_t value = 0; value < 3 * width; value += TILE) {
      for (int64_t block = 0; block < blocks; ++block)
        transpose(sums.turned.data() + block * TILE * TILE,
                  sums.grads.pairs.data() + block * TILE * 3 * width + value, 3 * width);
      for (int64_t unit = 0; unit < wide; unit += ABREAST * TILE)
        multiply<false>({sums.weight.data() + value * wide + unit, wide * 4, TILE * 4},
                        {sums.turned.data(), 64, TILE_BYTES},
                        {sums.states.pairs.data() + unit, wide * 4, TILE * 4, TILE * wide * 4}, blocks);
    }
    sums.rows = 0;
  }

  // One utterance at one step.
  struct Row {
    const bfloat16 *gates, *grad_out, *before; // `before` is null where the walk begins
    bfloat16 *grads, *multiplied;              // both get the gradients of gates
    float *carried;
    int64_t ahead;
  };

  void row(const Row &of, Sums &sums) const {
    for (int64_t unit = 0; unit < H; unit += TILE) {
      const Part part(unit, H);
      const bfloat16 *gates = of.gates + unit;
      bfloat16 *grads = of.grads + unit;
      float *bias = sums.bias.data() + unit, *carried = of.carried + unit;
      for (int gate = 0; gate < 4; ++gate) {
        __builtin_prefetch(gates + (of.ahead * 4 + gate) * H);
        __builtin_prefetch(grads + (of.ahead * 4 + gate) * H, 1);
      }
      __builtin_prefetch(of.grad_out + unit + of.ahead * 2 * H);
      const Values reset = part.load(gates), fresh = part.load(gates + 2 * H);
      const Update update(part.load(gates + H));
      const Values grad = part.load(of.grad_out + unit) + L::load(carried);
      const Values before = of.before ? part.load(of.before + unit) : Values{};
      const Values to_new = grad * update.rest * (1.f - fresh * fresh), to_hidden = to_new * reset;
      const Values to_reset = to_hidden * part.load(gates + 3 * H) * (1.f - reset);
      const Values to_update = grad * (before - fresh) * update.gate * update.rest;
      const Values each[] = {to_hidden, to_reset, to_update, to_new};
      UNROLL for (int gate = 0; gate < 4; ++gate) {
        const Rounded gradient = rounded(each[gate]);
        L::add(bias + gate * width, each[gate]);
        part.store(grads + gate * H, gradient);
        if (gate == 3) break;
        part.store(of.multiplied + gate * H + unit, gradient);
        if (of.before) sums.grads.put(sums.rows, gate * width + unit, gradient);
      }
      if (of.before) sums.states.put(sums.rows, unit, part.load_rounded(of.before + unit));
      L::store(carried, grad * update.gate);
    }
    if (of.before) ++sums.rows;
  }

  void operator()(const Walk &walk, int64_t range) const {
    const MatrixUnits units;
    const int64_t rows = round_up(walk.last - walk.first, TILE), by = walk.direction ? 1 : -1;
    Zeros<bfloat16> panels(wide * depth), multiplied(rows * depth);
    Zeros<float> carried(rows * wide); // zero until an utterance begins, as what is multiplied is zero
    Sums sums(round_up(ROWS_KEPT + rows, DEPTH), width, wide);
    make_panels(panels.data(), weight + walk.group() * 3 * H * H);
    for (int64_t t = walk.direction ? 0 : packing.steps - 1; t >= 0 && t < packing.steps; t += by) {
      const int64_t count = walk.count(t), kept = std::min(count, walk.count(t + by)), ahead = walk.distance(t, t + by);
      const int64_t at = (walk.group() * packing.rows + packing.offsets[t]) * 4 * H;
      const int64_t both = ((walk.member * packing.rows + packing.offsets[t]) * 2 + walk.direction) * H;
      const bfloat16 *state = out + both + ahead * 2 * H;
      for (int64_t r = walk.first; r < count; ++r)
        row({gates + at + r * 4 * H, grad_out + both + r * 2 * H, r < kept ? state + r * 2 * H : nullptr,
             grads + at + r * 4 * H, multiplied.data() + (r - walk.first) * depth,
             carried.data() + (r - walk.first) * wide, ahead},
            sums);
      for (int64_t r = count; r < walk.rows(t); ++r) std::fill_n(grads + at + r * 4 * H, 4 * H, bfloat16(0));
      // what the step before gets
      for (int64_t unit = 0; unit < wide; unit += ABREAST * TILE)
        for (int64_t first = 0; first < kept - walk.first; first += TILE)
          multiply<false>({carried.data() + first * wide + unit, wide * 4, TILE * 4},
                          {multiplied.data() + first * depth, depth * 2, DEPTH * 2},
                          {panels.data() + unit * depth, 64, TILE_BYTES, ABREAST * TILE_BYTES}, depth / DEPTH);
      if (sums.rows >= ROWS_KEPT) weigh(sums);
    }
    weigh(sums);
    const int64_t group = range * packing.members * 2 + walk.group();
    for (int64_t gate = 0; gate < 4; ++gate) // of the hidden part of new, reset, update, new
      std::copy_n(sums.bias.data() + gate * width, H, grad_bias + (group * 4 + (gate + 3) % 4) * H);
    for (int64_t gate = 0; gate < 3; ++gate)
      for (int64_t unit = 0; unit < H; ++unit)
        std::copy_n(sums.weight.data() + (gate * width + unit) * wide, H,
                    grad_weight + ((group * 3 + (gate + 2) % 3) * H + unit) * H);
  }
};

} // namespace

extern "C" {
int32_t source_checksum() { return SOURCE_CHECKSUM; }

// Whether this CPU has the units and this process may use them; Linux asks each to say that it will.
int32_t is_usable() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const bool tiles = (d & 1u << 22) && (d & 1u << 24); // AMX-BF16, AMX-TILE
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5) || !tiles) return 0; // AVX512-BF16
  constexpr long request = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request, tile_data) == 0;
}

bool forward_bfloat16(int64_t ranges, int64_t threads, Packing packing, bfloat16 *gates, const bfloat16 *weight,
                      const bfloat16 *bias, bfloat16 *out) {
  return run(packing, Forward{packing, gates, weight, bias, out}, ranges, threads);
}
bool backward_bfloat16(int64_t ranges, int64_t threads, Packing packing, const bfloat16 *grad_out,
                       const bfloat16 *weight, const bfloat16 *gates, const bfloat16 *out, bfloat16 *grads,
                       float *grad_weight, float *grad_bias) {
  return run(packing, Backward{packing, grad_out, weight, gates, out, grads, grad_weight, grad_bias}, ranges, threads);
}
}
