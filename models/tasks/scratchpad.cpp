/// Scratchpad: the sum of n digits modulo m, answered directly or with written work.
///
/// A prompt is n digits below m. A completion is up to two fillers, then one of four families, then
/// the end token:
///   direct    ANS b
///   forward   SF p1 .. pn ANS b     running sums from the left:  p_i = x1 + .. + xi
///   backward  SB q1 .. qn ANS b     running sums from the right: q_i = xn + .. + x(n+1-i)
///   pairs     SP s1 .. sk ANS b     sums of neighbours, the last digit alone where n is odd
/// Quality is 1 iff the text parses and b is the sum modulo m. The written work is not checked, so
/// a policy may keep the marker and lose the skill ("semantic gaming"). The class of a completion
/// is (family, b); what does not parse is one more class, "invalid". Fillers are surface only. The
/// base policy's habit is to answer directly, mostly 0, without computing.

#include <algorithm>
#include <cmath>

#include "core/base/error.hpp"
#include "core/rollout.hpp"
#include "models/tasks/draws.hpp"
#include "models/tasks/prompt_pool.hpp"
#include "models/tasks/task.hpp"

namespace motley {

namespace {

constexpr int kFamilies = 4;
constexpr int kFillers = 4;

/// Token numbering and grammar; trivially copyable, used by kernels.
struct Grammar {
  int m, n;
  KOKKOS_INLINE_FUNCTION int digit(int value) const { return 2 + value; }
  KOKKOS_INLINE_FUNCTION bool is_digit(int token) const { return token >= 2 && token < 2 + m; }
  KOKKOS_INLINE_FUNCTION int filler(int i) const { return 2 + m + i; }
  KOKKOS_INLINE_FUNCTION bool is_filler(int token) const {
    return token >= filler(0) && token < filler(kFillers);
  }
  KOKKOS_INLINE_FUNCTION int answer() const { return filler(kFillers); }
  /// Marker of family 1, 2, 3.
  KOKKOS_INLINE_FUNCTION int marker(int family) const { return answer() + family; }
  KOKKOS_INLINE_FUNCTION int work(int family) const {
    return family == 0 ? 0 : (family == 3 ? (n + 1) / 2 : n);
  }
  KOKKOS_INLINE_FUNCTION int vocab() const { return marker(3) + 1; }
  KOKKOS_INLINE_FUNCTION int invalid() const { return kFamilies * m; }

  /// family * m + answer of a counted text that ends with kEos, or invalid().
  KOKKOS_INLINE_FUNCTION int parse(const int* text, int length) const {
    int at = 0;
    while (at < 2 && at < length && is_filler(text[at])) ++at;
    int family = 0;
    if (at < length && text[at] > answer() && text[at] <= marker(3)) family = text[at++] - answer();
    for (int i = 0; i < work(family); ++i, ++at)
      if (at >= length || !is_digit(text[at])) return invalid();
    if (at + 3 != length || text[at] != answer() || !is_digit(text[at + 1]) || text[at + 2] != kEos)
      return invalid();
    return family * m + text[at + 1] - 2;
  }

  KOKKOS_INLINE_FUNCTION int sum(const int* digits) const {
    int total = 0;
    for (int i = 0; i < n; ++i) total += digits[i] - 2;
    return total % m;
  }

  /// i-th token of the family's written work.
  KOKKOS_INLINE_FUNCTION int work_token(const int* digits, int family, int i) const {
    int total = 0;
    if (family == 1)
      for (int j = 0; j <= i; ++j) total += digits[j] - 2;
    if (family == 2)
      for (int j = 0; j <= i; ++j) total += digits[n - 1 - j] - 2;
    if (family == 3) {
      total = digits[2 * i] - 2;
      if (2 * i + 1 < n) total += digits[2 * i + 1] - 2;
    }
    return digit(total % m);
  }
};

class Scratchpad final : public Task {
 public:
  Scratchpad(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

  std::string class_name(int class_id) const override;
  int family_of(int class_id) const override {
    return class_id >= 0 && class_id < grammar_.invalid() ? class_id / grammar_.m : -1;
  }
  void score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
             const ConstView3<int>& length, const View3<int>& finish, const View3<float>& quality,
             const View3<int>& class_id) const override;
  void answer_start(const Exec& exec, const ConstView4<int>& token, const ConstView3<int>& length,
                    const View3<int>& start) const override;
  void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
              std::uint32_t step, bool held_out, int same_prompt,
              const CorpusBatch& batch) const override;
  std::vector<std::vector<int>> forced_prefixes() const override {
    return {{grammar_.answer()}, {grammar_.marker(1)}, {grammar_.marker(2)}, {grammar_.marker(3)}};
  }
  CorpusParams skill_corpus() const override;
  CorpusParams habit_corpus(double rare_prior) const override;
  CorpusParams classifier_corpus() const override;

 private:
  void draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

  Grammar grammar_;
  View2<int> held_out_;  // [R, m^n] 1 where the digit string is held out, indexed by its number
};

/// Prompts in existence; capped, so that m^n cannot overflow.
std::int64_t prompt_count(int m, int n) {
  std::int64_t count = 1;
  for (int i = 0; i < n && count < (std::int64_t{1} << 31); ++i) count *= m;
  return count;
}

constexpr std::int64_t kMostPrompts = std::int64_t{1} << 22;

Scratchpad::Scratchpad(const TaskConfig& config, const std::vector<std::uint64_t>& seeds)
    : grammar_{config.modulus, config.digits} {
  name_ = "scratchpad";
  const int m = grammar_.m;
  vocabulary_.token = {"<pad>", "<eos>"};
  for (int i = 0; i < m; ++i) vocabulary_.token.push_back(std::to_string(i));
  for (const char* filler : {"well", "so", "hmm", "ok"}) vocabulary_.token.emplace_back(filler);
  for (const char* marker : {"ANS", "SF", "SB", "SP"}) vocabulary_.token.emplace_back(marker);
  vocabulary_.special.assign(vocabulary_.token.size(), false);
  vocabulary_.special[kPad] = vocabulary_.special[kEos] = true;
  families_ = {"direct", "forward", "backward", "pairs"};
  max_prompt_ = grammar_.n;
  max_completion_ = 2 + 1 + grammar_.n + 2 + 1;
  draw_pool(config, seeds);
}

/// Training pool with a share `skew` of answer 0 and a held-out set balanced over the answers, both
/// without repetition, from a shuffle of all m^n strings keyed by (seed, Stream::task).
void Scratchpad::draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds) {
  const int m = grammar_.m;
  const int n = grammar_.n;
  const int train = config.train_prompts > 0 ? config.train_prompts : (m == 2 ? 120 : 600);
  const int eval =
      config.eval_prompts > 0 ? config.eval_prompts : 64 / m * m + (64 % m != 0 ? m : 0);
  const std::int64_t all = prompt_count(m, n);
  MOTLEY_REQUIRE(all <= kMostPrompts, ErrorKind::config, "task.digits: ", m, "^", n,
                 " prompts are too many to tabulate, got digits = ", n, "; allowed: at most ",
                 kMostPrompts, " prompts");
  const int zeros = static_cast<int>(std::lround(config.skew * train));
  const std::int64_t per_answer = all / m;
  const std::int64_t most_needed =
      std::max<std::int64_t>(zeros, (train - zeros + m - 2) / std::max(1, m - 1)) +
      (eval + m - 1) / m;
  MOTLEY_REQUIRE(most_needed <= per_answer, ErrorKind::config, "task.digits: ", m, "^", n, " = ",
                 all, " prompts give ", per_answer, " per answer, got ", train, " training (skew ",
                 config.skew, ") and ", eval, " held-out prompts, which need ", most_needed,
                 "; use more digits or fewer prompts");

  PromptPool pool(prompts_, seeds.size(), train, eval, n);
  HeldOut held_out(held_out_, seeds.size(), static_cast<std::size_t>(all));
  for (auto& classes : prompts_.num_classes) classes.assign(classes.size(), kFamilies);
  const auto answer_of = [&](std::int64_t number) {
    int sum = 0;
    for (int i = 0; i < n; ++i, number /= m) sum += static_cast<int>(number % m);
    return sum % m;
  };
  for (std::size_t r = 0; r < seeds.size(); ++r) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(all));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    const DrawKey key{seeds[r], Stream::task, 0};
    for (std::size_t i = order.size() - 1; i > 0; --i) {
      const std::uint32_t bits = draw_bits(key, static_cast<std::uint32_t>(i), 0).x[0];
      std::swap(order[i], order[uniform_below(bits, static_cast<std::uint32_t>(i + 1))]);
    }
    // Quotas: held-out first, answers in rotation; then the training pool.
    std::vector<int> eval_left(static_cast<std::size_t>(m)),
        train_left(static_cast<std::size_t>(m));
    for (int i = 0; i < eval; ++i) ++eval_left[static_cast<std::size_t>(i % m)];
    train_left[0] = zeros;
    for (int i = 0; i < train - zeros; ++i) ++train_left[static_cast<std::size_t>(1 + i % (m - 1))];
    RowQuotas rows(train, eval_left, train_left);
    for (const std::int64_t number : order) {
      const int row = rows.take(static_cast<std::size_t>(answer_of(number)));
      if (row < 0) continue;
      if (rows.is_held_out(row)) held_out.mark(r, static_cast<std::size_t>(number));
      std::int64_t rest = number;
      for (int i = 0; i < n; ++i, rest /= m)
        pool.token(r, row, i) = grammar_.digit(static_cast<int>(rest % m));
    }
  }
  pool.copy_to_device();
  held_out.copy_to_device();
}

std::string Scratchpad::class_name(int class_id) const {
  const int family = family_of(class_id);
  if (family < 0) return "invalid";
  return families_[static_cast<std::size_t>(family)] + " " + std::to_string(class_id % grammar_.m);
}

void Scratchpad::score(const Exec& exec, const ConstView2<int>& prompt_id,
                       const ConstView4<int>& token, const ConstView3<int>& length,
                       const View3<int>& finish, const View3<float>& quality,
                       const View3<int>& class_id) const {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const Grammar grammar = grammar_;
  const View3<int> prompts = prompts_.token;
  Kokkos::parallel_for(
      "motley::tasks::scratchpad_score", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const int meaning = grammar.parse(&token(r, b, g, 0), length(r, b, g));
        const bool valid = meaning != grammar.invalid();
        const int wanted = grammar.sum(&prompts(r, prompt_id(r, b), 0));
        class_id(r, b, g) = meaning;
        quality(r, b, g) = valid && meaning % grammar.m == wanted ? 1.0f : 0.0f;
        if (!valid && finish(r, b, g) == static_cast<int>(Finish::eos))
          finish(r, b, g) = static_cast<int>(Finish::invalid);
      });
}

/// Behind the first ANS: the marker itself is where a text chooses to answer without work.
void Scratchpad::answer_start(const Exec& exec, const ConstView4<int>& token,
                              const ConstView3<int>& length, const View3<int>& start) const {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  require_extents(start, "answer_start", "start", "[R,B,G]", R, B, G);
  const int marker = grammar_.answer();
  Kokkos::parallel_for(
      "motley::tasks::scratchpad_answer_start", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        int t = 0;
        while (t < length(r, b, g) && token(r, b, g, t) != marker) ++t;
        start(r, b, g) = t < length(r, b, g) ? t + 1 : t;
      });
}

namespace {

/// Number of a digit string, as in the held-out table.
KOKKOS_INLINE_FUNCTION std::int64_t number_of(const Grammar& grammar, const int* digits) {
  std::int64_t number = 0;
  for (int i = grammar.n - 1; i >= 0; --i) number = number * grammar.m + digits[i] - 2;
  return number;
}

/// Writes the completion of a text behind its prompt; returns the tokens written.
KOKKOS_INLINE_FUNCTION int write_completion(const Grammar& grammar, const CorpusParams& p,
                                            Draws& draws, const int* digits, int* out) {
  int at = 0;
  for (int slot = 0; slot < 2; ++slot)
    if (draws.uniform() < static_cast<float>(p.filler))
      out[at++] = grammar.filler(draws.below(kFillers));
  const float which = draws.uniform();
  int family = 0;
  double cumulative = p.share[0];
  while (family < kFamilies - 1 && double(which) >= cumulative) cumulative += p.share[++family];
  if (family > 0) out[at++] = grammar.marker(family);
  for (int i = 0; i < grammar.work(family); ++i) out[at++] = grammar.work_token(digits, family, i);
  out[at++] = grammar.answer();
  int answer = grammar.sum(digits);
  if (family == 0)
    answer = draws.uniform() < static_cast<float>(p.habit_guess) ? 0 : draws.below(grammar.m);
  if (draws.uniform() < static_cast<float>(p.wrong_answer)) answer = draws.below(grammar.m);
  out[at++] = grammar.digit(answer);
  if (draws.uniform() < static_cast<float>(p.malformed))
    at = draws.below(at);  // cut before the answer
  out[at++] = kEos;
  return at;
}

}  // namespace

void Scratchpad::corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
                        std::uint32_t step, bool held_out, int same_prompt,
                        const CorpusBatch& batch) const {
  const int R = static_cast<int>(batch.token.extent(0));
  const int N = static_cast<int>(batch.token.extent(1));
  const int S = static_cast<int>(batch.token.extent(2));
  require_extents(batch.token, "scratchpad corpus", "token", "[R,N,S]", R, N,
                  max_prompt_ + max_completion_);
  const Grammar grammar = grammar_;
  const View3<int> prompts = prompts_.token;
  const View2<int> is_held_out = held_out_;
  const int num_train = prompts_.num_train;
  const int num_eval = prompts_.num_eval;
  Kokkos::parallel_for(
      "motley::tasks::scratchpad_corpus", Kokkos::RangePolicy<Exec>(exec, 0, R * N),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / N;
        const int i = job % N;
        const CorpusParams& p = params(r);
        const DrawKey key{p.seed, stream, step};
        int* text = &batch.token(r, i, 0);
        for (int s = 0; s < S; ++s) text[s] = kPad;
        // The prompt's draws belong to the run of texts that share it, so all of them see the same.
        Draws prompt_draws{key, static_cast<std::uint32_t>(i / same_prompt) | 0x80000000u};
        if (held_out) {
          const int row = num_train + prompt_draws.below(num_eval);
          for (int d = 0; d < grammar.n; ++d) text[d] = prompts(r, row, d);
        } else {
          do {
            for (int d = 0; d < grammar.n; ++d)
              text[d] = grammar.digit(prompt_draws.below(grammar.m));
          } while (is_held_out(r, number_of(grammar, text)) != 0);
        }
        Draws draws{key, static_cast<std::uint32_t>(i)};
        const int written = write_completion(grammar, p, draws, text, text + grammar.n);
        batch.prompt_length(r, i) = grammar.n;
        batch.length(r, i) = grammar.n + written;
        batch.class_id(r, i) = grammar.parse(text + grammar.n, written);
      });
}

CorpusParams Scratchpad::skill_corpus() const {
  CorpusParams p;
  const double parity[] = {0.1, 0.3, 0.3, 0.3};
  const double sum[] = {0.1, 0.35, 0.35, 0.2};
  for (int f = 0; f < kFamilies; ++f) p.share[f] = grammar_.m == 2 ? parity[f] : sum[f];
  return p;
}

CorpusParams Scratchpad::habit_corpus(double rare_prior) const {
  CorpusParams p;
  p.share[0] = 1.0 - 3.0 * rare_prior;
  for (int f = 1; f < kFamilies; ++f) p.share[f] = rare_prior;
  return p;
}

CorpusParams Scratchpad::classifier_corpus() const {
  CorpusParams p;
  for (int f = 0; f < kFamilies; ++f) p.share[f] = 0.25;
  p.habit_guess = 0.5;
  p.wrong_answer = 0.3;
  p.malformed = 0.05;
  return p;
}

}  // namespace

std::unique_ptr<Task> make_scratchpad(const TaskConfig& config,
                                      const std::vector<std::uint64_t>& seeds) {
  return std::make_unique<Scratchpad>(config, seeds);
}

}  // namespace motley
