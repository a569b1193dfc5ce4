#include "core/base/shape.hpp"
#include "models/tasks/task.hpp"

namespace motley {

std::string Vocabulary::text(const int* ids, int length) const {
  std::string out;
  for (int i = 0; i < length; ++i) {
    const auto id = static_cast<std::size_t>(ids[i]);
    if (id >= token.size() || special[id]) continue;
    if (!out.empty()) out += ' ';
    out += token[id];
  }
  return out;
}

namespace {

/// Keyed bijection of [0, n): a four-round Feistel network on 2 * half bits, walked along its cycle
/// until it lands inside. The domain is below 4 n, so a walk takes fewer than four steps on
/// average. `epoch` numbers the bijections of one key.
KOKKOS_INLINE_FUNCTION std::uint32_t permuted(std::uint32_t i, std::uint32_t n, const DrawKey& key,
                                              std::uint32_t epoch = 0) {
  int half = 1;
  while ((std::uint64_t{1} << (2 * half)) < n) ++half;
  const std::uint32_t mask = (1u << half) - 1;
  do {
    std::uint32_t left = i >> half;
    std::uint32_t right = i & mask;
    for (std::uint32_t round = 0; round < 4; ++round) {
      const std::uint32_t next = left ^ (draw_bits(key, right, 4 * epoch + round).x[0] & mask);
      left = right;
      right = next;
    }
    i = (left << half) | right;
  } while (i >= n);
  return i;
}

}  // namespace

void sample_prompts(const Exec& exec, const PromptTable& table,
                    const ConstView1<std::uint64_t>& seeds, std::uint32_t step,
                    const View3<int>& prompt, const View2<int>& prompt_length,
                    const View2<int>& prompt_id) {
  const int R = static_cast<int>(prompt_id.extent(0));
  const int B = static_cast<int>(prompt_id.extent(1));
  const int P = static_cast<int>(prompt.extent(2));
  require_extents(prompt, "sample_prompts", "prompt", "[R,B,P]", R, B, table.token.extent(2));
  const View3<int> token = table.token;
  const View2<int> length = table.length;
  const auto n = static_cast<std::uint32_t>(table.num_train);
  Kokkos::parallel_for(
      "motley::tasks::sample_prompts", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        const int b = job % B;
        const std::uint64_t place =
            std::uint64_t{step} * static_cast<std::uint64_t>(B) + static_cast<std::uint64_t>(b);
        const auto epoch = static_cast<std::uint32_t>(place / n);
        const DrawKey key{seeds(r), Stream::prompt, epoch};
        const int row = static_cast<int>(permuted(static_cast<std::uint32_t>(place % n), n, key));
        prompt_id(r, b) = row;
        prompt_length(r, b) = length(r, row);
        for (int p = 0; p < P; ++p) prompt(r, b, p) = token(r, row, p);
      });
}

void resample_prompts(const Exec& exec, const PromptTable& table,
                      const ConstView1<std::uint64_t>& seeds, std::uint32_t step,
                      std::uint32_t attempt, const ConstView2<int>& slots,
                      const ConstView1<int>& num_slots, const View3<int>& prompt,
                      const View2<int>& prompt_length, const View2<int>& prompt_id) {
  const int R = static_cast<int>(prompt_id.extent(0));
  const int B = static_cast<int>(prompt_id.extent(1));
  const int P = static_cast<int>(prompt.extent(2));
  require_extents(prompt, "resample_prompts", "prompt", "[R,B,P]", R, B, table.token.extent(2));
  require_extents(slots, "resample_prompts", "slots", "[R,B]", R, B);
  const View3<int> token = table.token;
  const View2<int> length = table.length;
  const auto n = static_cast<std::uint32_t>(table.num_train);
  Kokkos::parallel_for(
      "motley::tasks::resample_prompts", Kokkos::RangePolicy<Exec>(exec, 0, R * B),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / B;
        if (job % B >= num_slots(r)) return;
        const int b = slots(r, job % B);
        const std::uint32_t place =
            attempt * static_cast<std::uint32_t>(B) + static_cast<std::uint32_t>(b);
        const DrawKey key{seeds(r), Stream::resample, step};
        const int row = static_cast<int>(permuted(place % n, n, key, place / n));
        prompt_id(r, b) = row;
        prompt_length(r, b) = length(r, row);
        for (int p = 0; p < P; ++p) prompt(r, b, p) = token(r, row, p);
      });
}

}  // namespace motley
