#include <algorithm>
#include <chrono>

#include "core/base/gemm.hpp"
#include "experiments/bench.hpp"

namespace motley {

namespace {

/// Shapes as they occur in tiles, from a narrow to a wide network.
struct ProductShape {
  int rows, columns, depth;
};
constexpr ProductShape kShapes[] = {{192, 64, 64},   {96, 192, 64},  {192, 128, 128},
                                    {192, 256, 128}, {192, 64, 256}, {384, 64, 192}};
constexpr int kLargest = 384 * 256;
constexpr double kSeconds = 0.02;  ///< of one measurement

/// Each team multiplies its own operands, `repeats` times.
void multiply(const Exec& exec, const View2<float>& memory, const ProductShape& s, int repeats) {
  const int teams = static_cast<int>(memory.extent(0));
  const bool host = std::is_same_v<Exec, HostExec>;
  Kokkos::parallel_for(
      "motley::bench::gemm", TeamPolicy(exec, teams, host ? 1 : 128),
      KOKKOS_LAMBDA(const Team& team) {
        float* a = &memory(team.league_rank(), 0);
        float* b = a + kLargest;
        float* c = b + kLargest;
        for (int i = 0; i < repeats; ++i)
          tile_gemm(team, s.rows, s.columns, s.depth, a, s.depth, 1, b, s.columns, c, s.columns,
                    false);
      });
  exec.fence("motley::bench::gemm");
}

double seconds_of(const Exec& exec, const View2<float>& memory, const ProductShape& s,
                  int repeats) {
  const auto begin = std::chrono::steady_clock::now();
  multiply(exec, memory, s, repeats);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

double measure_gemm_peak(const Exec& exec) {
  const bool host = std::is_same_v<Exec, HostExec>;
  const int teams = host ? std::max(1, exec.concurrency()) : 264;
  const View2<float> memory("motley::bench::gemm", teams, 3 * kLargest);
  Kokkos::deep_copy(memory, 0.5f);
  double best = 0;
  for (const ProductShape& s : kShapes) {
    const double operations = 2.0 * s.rows * s.columns * s.depth * teams;
    int repeats = 1;
    while (seconds_of(exec, memory, s, repeats) < kSeconds) repeats *= 2;
    for (int i = 0; i < 5; ++i)
      best = std::max(best, operations * repeats / seconds_of(exec, memory, s, repeats));
  }
  return best;
}

}  // namespace motley
