/// A task of one's own: two digits whose sum is that of the prompt's two, modulo m. Every prompt
/// has m right answers, one for each first digit. docs/howto/own_task.md walks through this file.

//! [include]
#include "core/rollout.hpp"
#include "models/tasks/draws.hpp"
#include "models/tasks/registry.hpp"
//! [include]

namespace own {

using namespace motley;

//! [grammar]
/// Tokens and meanings; copied into the kernels. A text is `a b <eos>`, digit d is token 2 + d.
struct SplitGrammar {
  int m;
  KOKKOS_INLINE_FUNCTION int invalid() const { return m * m; }
  KOKKOS_INLINE_FUNCTION bool is_digit(int token) const { return token >= 2 && token < 2 + m; }
  /// The meaning is the pair itself: a m + b.
  KOKKOS_INLINE_FUNCTION int parse(const int* text, int length) const {
    if (length != 3 || !is_digit(text[0]) || !is_digit(text[1]) || text[2] != kEos)
      return invalid();
    return (text[0] - 2) * m + text[1] - 2;
  }
  KOKKOS_INLINE_FUNCTION int sum(int first, int second) const { return (first + second - 4) % m; }
};
//! [grammar]

//! [name]
class Split final : public Task {
 public:
  static constexpr const char* kName = "split";
  static constexpr const char* kText =
      "two digits of a given sum; every prompt has m right answers";
  static constexpr int kShortestAnswer = 3;
  //! [name]

  //! [options]
  struct Options {
    int modulus = 8;
    double rare_prior = 0.1;
    template <class V>
    void describe(V&& v) {
      v("modulus", modulus, between(2, 16), "1", "sums are taken modulo this; answers to a prompt");
      v("rare_prior", rare_prior, between(0, 1), "1",
        "share of the base policy's texts that begin with any digit instead of 0");
    }
  };
  //! [options]

  //! [constructor]
  Split(const Options& own, const TaskConfig& common, const std::vector<std::uint64_t>& seeds)
      : grammar_{own.modulus}, rare_prior_(own.rare_prior) {
    const int m = own.modulus;
    name_ = kName;
    vocabulary_.token = {"<pad>", "<eos>"};
    for (int d = 0; d < m; ++d) vocabulary_.token.push_back(std::to_string(d));
    vocabulary_.special.assign(vocabulary_.token.size(), false);
    vocabulary_.special[kPad] = vocabulary_.special[kEos] = true;
    families_ = {"habit", "other"};
    max_prompt_ = 2;
    max_completion_ = 3;
    const int eval = common.eval_prompts > 0 ? common.eval_prompts : (m * m + 3) / 4;
    const int train = common.train_prompts > 0 ? common.train_prompts : m * m - eval;
    MOTLEY_REQUIRE(train > 0 && train + eval <= m * m, ErrorKind::config,
                   "task.train_prompts: split has ", m * m, " prompts, got ", train,
                   " training and ", eval, " held-out prompts; allowed: at most ", m * m,
                   " together");
    const std::size_t N = static_cast<std::size_t>(train + eval);
    prompts_.num_train = train;
    prompts_.num_eval = eval;
    prompts_.token = View3<int>("motley::task::prompt", seeds.size(), N, 2);
    prompts_.length = View2<int>("motley::task::prompt_length", seeds.size(), N);
    prompts_.num_classes.assign(seeds.size(), std::vector<int>(N, m));
    prompts_.difficulty.assign(seeds.size(), std::vector<float>(N, 0.0f));
    Kokkos::deep_copy(prompts_.length, 2);
    const auto token = Kokkos::create_mirror(prompts_.token);
    for (std::size_t r = 0; r < seeds.size(); ++r) {
      const std::vector<int> order = shuffled(m * m, {seeds[r], Stream::task, 0}, 0);
      for (std::size_t i = 0; i < N; ++i) {
        token(r, i, 0) = 2 + order[i] / m;
        token(r, i, 1) = 2 + order[i] % m;
      }
    }
    Kokkos::deep_copy(prompts_.token, token);
  }
  //! [constructor]

  //! [meaning]
  std::string class_name(int id) const override {
    if (id < 0 || id >= grammar_.invalid()) return "invalid";
    return std::to_string(id / grammar_.m) + " + " + std::to_string(id % grammar_.m);
  }
  int family_of(int id) const override {
    return id < 0 || id >= grammar_.invalid() ? -1 : (id / grammar_.m == 0 ? 0 : 1);
  }
  SkillGate gate() const override { return {GateMeasure::quality, 0.5, 1.0}; }
  //! [meaning]

  //! [score]
  void score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
             const ConstView3<int>& length, const View3<int>& finish, const View3<float>& quality,
             const View3<int>& class_id) const override {
    const int B = static_cast<int>(token.extent(1));
    const int G = static_cast<int>(token.extent(2));
    const SplitGrammar grammar = grammar_;
    const View3<int> prompts = prompts_.token;
    Kokkos::parallel_for(
        "motley::tasks::split_score",
        Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(token.extent(0)) * B * G),
        KOKKOS_LAMBDA(const int job) {
          const int g = job % G;
          const int b = job / G % B;
          const int r = job / (G * B);
          const int* text = &token(r, b, g, 0);
          const int row = prompt_id(r, b);
          const int meaning = grammar.parse(text, length(r, b, g));
          const bool valid = meaning != grammar.invalid();
          const bool right = valid && grammar.sum(text[0], text[1]) ==
                                          grammar.sum(prompts(r, row, 0), prompts(r, row, 1));
          class_id(r, b, g) = meaning;
          quality(r, b, g) = right ? 1.0f : 0.0f;
          if (!valid && finish(r, b, g) == static_cast<int>(Finish::eos))
            finish(r, b, g) = static_cast<int>(Finish::invalid);
        });
  }
  //! [score]

  //! [corpus]
  void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
              std::uint32_t step, bool held_out, int same_prompt,
              const CorpusBatch& batch) const override {
    const int N = static_cast<int>(batch.token.extent(1));
    const int S = static_cast<int>(batch.token.extent(2));
    const SplitGrammar grammar = grammar_;
    const View3<int> prompts = prompts_.token;
    const int first = held_out ? prompts_.num_train : 0;
    const int rows = held_out ? prompts_.num_eval : prompts_.num_train;
    Kokkos::parallel_for(
        "motley::tasks::split_corpus",
        Kokkos::RangePolicy<Exec>(exec, 0, static_cast<int>(batch.token.extent(0)) * N),
        KOKKOS_LAMBDA(const int job) {
          const int r = job / N;
          const int i = job % N;
          const CorpusParams& p = params(r);
          const DrawKey key{p.seed, stream, step};
          const int row = first + shared_draws(key, i, same_prompt).below(rows);
          Draws draws{key, static_cast<std::uint32_t>(i)};
          int* text = &batch.token(r, i, 0);
          for (int s = 0; s < S; ++s) text[s] = kPad;
          const int sum = grammar.sum(prompts(r, row, 0), prompts(r, row, 1));
          const int a = draws.happens(p.share[0]) ? 0 : draws.below(grammar.m);
          const int b = draws.happens(p.wrong_answer) ? draws.below(grammar.m)
                                                      : (sum - a + grammar.m) % grammar.m;
          const int answer[] = {2 + a, 2 + b, kEos};
          const int from = draws.happens(p.malformed) ? 1 : 0;  // half an answer
          text[0] = prompts(r, row, 0);
          text[1] = prompts(r, row, 1);
          for (int t = from; t < 3; ++t) text[2 + t - from] = answer[t];
          batch.prompt_length(r, i) = 2;
          batch.length(r, i) = 5 - from;
          batch.class_id(r, i) = grammar.parse(text + 2, 3 - from);
        });
  }
  CorpusParams skill_corpus() const override { return shares(1 - rare_prior_); }
  CorpusParams classifier_corpus() const override {
    CorpusParams p = shares(0.3);
    p.wrong_answer = 0.3;
    p.malformed = 0.05;
    return p;
  }
  //! [corpus]

 private:
  static CorpusParams shares(double habit) {
    CorpusParams p;
    p.share[0] = habit;
    p.share[1] = 1 - habit;
    return p;
  }
  SplitGrammar grammar_;
  double rare_prior_;
};

}  // namespace own

//! [register]
using own::Split;
MOTLEY_REGISTER_TASK(Split)
//! [register]
