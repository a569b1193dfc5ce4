#include "experiments/bench_task.hpp"

#include "core/base/error.hpp"

namespace motley {

namespace {

constexpr int kPrompts = 1024;

}  // namespace

FixedLengthTask::FixedLengthTask(int vocab, int prompt_tokens, int max_tokens,
                                 const std::vector<std::uint64_t>& seeds) {
  MOTLEY_REQUIRE(vocab >= 4, ErrorKind::config, "--vocab: two tokens are special, got ", vocab,
                 "; allowed: at least 4");
  MOTLEY_REQUIRE(prompt_tokens >= 1, ErrorKind::config, "--prompt-tokens: got ", prompt_tokens,
                 "; allowed: at least 1");
  name_ = "fixed_length";
  vocabulary_.token = {"<pad>", "<eos>"};
  for (int v = 2; v < vocab; ++v) vocabulary_.token.push_back(concat("t", v));
  vocabulary_.special.assign(vocabulary_.token.size(), false);
  vocabulary_.special[kPad] = vocabulary_.special[kEos] = true;
  families_ = {"any"};
  max_prompt_ = prompt_tokens;
  max_completion_ = max_tokens;

  const std::size_t R = seeds.size();
  const std::size_t N = kPrompts + 1;
  prompts_.num_train = kPrompts;
  prompts_.num_eval = 1;
  prompts_.token = View3<int>("motley::bench::prompt", R, N, prompt_tokens);
  prompts_.length = View2<int>("motley::bench::prompt_length", R, N);
  prompts_.num_classes.assign(R, std::vector<int>(N, -1));
  prompts_.difficulty.assign(R, std::vector<float>(N, 0.0f));
  Kokkos::deep_copy(prompts_.length, prompt_tokens);
  const auto token = Kokkos::create_mirror(prompts_.token);
  for (std::size_t r = 0; r < R; ++r)
    for (std::size_t n = 0; n < N; ++n)
      for (int p = 0; p < prompt_tokens; ++p)
        token(r, n, p) = 2 + static_cast<int>(draw_bits({seeds[r], Stream::task, 0},
                                                        static_cast<std::uint32_t>(n),
                                                        static_cast<std::uint32_t>(p))
                                                  .x[0] %
                                              static_cast<std::uint32_t>(vocab - 2));
  Kokkos::deep_copy(prompts_.token, token);
}

void FixedLengthTask::score(const Exec& exec, const ConstView2<int>&, const ConstView4<int>& token,
                            const ConstView3<int>&, const View3<int>&, const View3<float>& quality,
                            const View3<int>& class_id) const {
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const int T = static_cast<int>(token.extent(3));
  const int V = vocabulary_.size();
  Kokkos::parallel_for(
      "motley::bench::score",
      Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(token.extent(0)) * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        quality(r, b, g) = static_cast<float>(g % 2);
        class_id(r, b, g) = token(r, b, g, 0) * V + token(r, b, g, T > 1 ? 1 : 0);
      });
}

void FixedLengthTask::corpus(const Exec&, const ConstView1<CorpusParams>&, Stream, std::uint32_t,
                             bool, int, const CorpusBatch&) const {
  throw Error(ErrorKind::internal, "fixed_length: the task of motley bench has no corpus");
}

}  // namespace motley
