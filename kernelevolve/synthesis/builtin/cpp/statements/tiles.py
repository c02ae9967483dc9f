"""C++ functions on tiles in vector registers: matrix product and transposed copy."""

from __future__ import annotations

TILES: dict[str, tuple[tuple[str, ...], str]] = {
    "ke_vec": (
        (),
        "template <class T> struct Vec "
        "{ typedef T type __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias)); };\n",
    ),
    "ke_transpose": (
        ("ke_vec",),
        """\
// Each of log2(L) rounds interleaves the first half of the rows with the second; all rounds together transpose.
template <class T, int... J>
static inline __attribute__((always_inline)) void ke_square(
    const T* from, int64_t across, T* to, int64_t down, std::integer_sequence<int, J...>) {
  typedef typename Vec<T>::type V;
  typedef decltype(V{} < V{}) I;
  constexpr int L = sizeof...(J);
  const I low = {(J / 2 + J % 2 * L)...}, high = {(L / 2 + J / 2 + J % 2 * L)...};
  V rows[L], next[L];
  for (int i = 0; i < L; ++i) rows[i] = *(const V*)(from + i * across);
  for (int round = 1; round < L; round *= 2) {
    for (int i = 0; i < L / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + L / 2], low);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + L / 2], high);
    }
    for (int i = 0; i < L; ++i) rows[i] = next[i];
  }
  for (int i = 0; i < L; ++i) *(V*)(to + i * down) = rows[i];
}

// to[q * down + p] = from[p * across + q]; tiles at the edges overlap their neighbours.
template <class T>
static void ke_transpose(const T* from, int64_t across, T* to, int64_t down, int64_t P, int64_t Q) {
  constexpr int L = VECTOR_BYTES / sizeof(T);
  if (P < L || Q < L) {
    for (int64_t p = 0; p < P; ++p) for (int64_t q = 0; q < Q; ++q) to[q * down + p] = from[p * across + q];
    return;
  }
  for (int64_t i = 0; i < P; i += L) for (int64_t j = 0; j < Q; j += L) {
    const int64_t p = i < P - L ? i : P - L, q = j < Q - L ? j : Q - L;
    ke_square(from + p * across + q, across, to + q * down + p, down, std::make_integer_sequence<int, L>{});
  }
}
""",
    ),
    "ke_gemm": (
        ("ke_scratch", "ke_vec"),
        """\
// Sums of products may be fused, which is more accurate.
#if defined(__clang__)
#define KE_CONTRACT _Pragma("clang fp contract(fast)")
#else
#define KE_CONTRACT
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
#endif

// C[m, n] = sum over k0, k1, k2 of A[m, k] * B[k, n] for MR rows and NV vectors of columns, held in registers.
template <int MR, int NV, class T>
static inline __attribute__((always_inline)) void ke_tile(
    const T* __restrict A, int64_t am, const T* __restrict B, T* __restrict C, int64_t cm,
    int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  KE_CONTRACT
  typedef typename Vec<T>::type V;
  constexpr int L = VECTOR_BYTES / sizeof(T);
  V acc[MR][NV];
  for (int m = 0; m < MR; ++m) for (int v = 0; v < NV; ++v) acc[m][v] = V{} ;
  for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) {
    const T* a = A + i * ak[0] + j * ak[1];
    const T* b = B + i * bk[0] + j * bk[1];
    for (int64_t k = 0; k < K2; ++k, a += ak[2], b += bk[2]) {
      V bv[NV];
      for (int v = 0; v < NV; ++v) bv[v] = *(const V*)(b + v * L);
      for (int m = 0; m < MR; ++m) {
        const V av = a[m * am] - V{};
        for (int v = 0; v < NV; ++v) acc[m][v] += av * bv[v];
      }
    }
  }
  for (int m = 0; m < MR; ++m) for (int v = 0; v < NV; ++v) *(V*)(C + m * cm + v * L) = acc[m][v];
}

template <int NV, int MR, class T>
static inline void ke_rows(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M,
                           int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  int64_t m = 0;
  for (; m + MR <= M; m += MR) ke_tile<MR, NV>(A + m * am, am, B, C + m * cm, cm, K0, K1, K2, ak, bk);
  if constexpr (MR > 1) {
    constexpr int LESS = MR > 8 ? 8 : MR > 4 ? 4 : MR > 2 ? 2 : 1;
    if (m < M) ke_rows<NV, LESS>(A + m * am, am, B, C + m * cm, cm, M - m, K0, K1, K2, ak, bk);
  }
}

// NV vectors of columns for all rows. With PACK the columns of B are first copied contiguously to `panel`.
template <int MR, int NV, bool PACK, class T>
static inline void ke_columns(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M,
                              int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk, T* panel) {
  if constexpr (PACK) {
    typedef typename Vec<T>::type V;
    constexpr int L = VECTOR_BYTES / sizeof(T);
    T* to = panel;
    for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) {
      const T* b = B + i * bk[0] + j * bk[1];
      for (int64_t k = 0; k < K2; ++k, b += bk[2], to += NV * L)
        for (int v = 0; v < NV; ++v) *(V*)(to + v * L) = *(const V*)(b + v * L);
    }
    const int64_t pk[3] = {K1 * K2 * NV * L, K2 * NV * L, NV * L};
    ke_rows<NV, MR>(A, am, panel, C, cm, M, K0, K1, K2, ak, pk);
  } else {
    ke_rows<NV, MR>(A, am, B, C, cm, M, K0, K1, K2, ak, bk);
  }
}

template <int MR, int NV, bool PACK, class T>
static void ke_gemm(const T* A, int64_t am, const T* B, T* C, int64_t cm, int64_t M, int64_t N,
                    int64_t K0, int64_t K1, int64_t K2, const int64_t* ak, const int64_t* bk) {
  KE_CONTRACT
  constexpr int L = VECTOR_BYTES / sizeof(T);
  T* panel = PACK ? (T*)ke_scratch<1>(sizeof(T) * K0 * K1 * K2 * NV * L) : nullptr;
  int64_t n = 0;
  for (; n + NV * L <= N; n += NV * L) ke_columns<MR, NV, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
  for (; n + L <= N; n += L) ke_columns<MR, 1, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
  if (n < N && N >= L) {
    n = N - L;  // overlaps finished columns, which get the same values again
    ke_columns<MR, 1, PACK>(A, am, B + n, C + n, cm, M, K0, K1, K2, ak, bk, panel);
    n = N;
  }
  for (int64_t m = 0; m < M && n < N; ++m) {
    for (int64_t c = n; c < N; ++c) {
      T sum = 0;
      for (int64_t i = 0; i < K0; ++i) for (int64_t j = 0; j < K1; ++j) for (int64_t k = 0; k < K2; ++k)
        sum += A[m * am + i * ak[0] + j * ak[1] + k * ak[2]] * B[i * bk[0] + j * bk[1] + k * bk[2] + c];
      C[m * cm + c] = sum;
    }
  }
}

#ifndef __clang__
#pragma GCC pop_options
#endif
""",
    ),
}
"""The functions: by name, the names that each needs, and its text."""
