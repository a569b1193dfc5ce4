/// Countdown: reach a target from four numbers in three steps (rules in countdown_rules.hpp).
///
/// Quality is 1 iff every step is right, all four numbers are used and the last result is the
/// target. The class of a completion is its meaning, the canonical tree, also where it misses the
/// target; what is malformed is one more class, "invalid". Families are the meanings of + and -
/// alone and those that multiply or divide; a problem is hard where no meaning of the first family
/// solves it. The base policy imitates expressions made forwards, whose operators are mostly + and
/// -, and whose stated target is random in three of ten: it has seen how answers look, but not how
/// they are found.

#include <algorithm>

#include "core/base/error.hpp"
#include "core/rollout.hpp"
#include "models/tasks/countdown_corpus.hpp"
#include "models/tasks/prompt_pool.hpp"

namespace motley {

namespace {

using namespace countdown;

constexpr int kTrain = 1000;
constexpr int kEval = 192;

template <class T, class From>
View1<T> on_device(const char* label, const From& values) {
  View1<T> view(std::string("motley::countdown::") + label, values.size());
  const auto host = Kokkos::create_mirror(view);
  for (std::size_t i = 0; i < values.size(); ++i) host(i) = static_cast<T>(values[i]);
  Kokkos::deep_copy(view, host);
  return view;
}

Meanings make_meanings() {
  const Table& t = table();
  Meanings m;
  m.multiset_of = on_device<int>("multiset_of", t.multiset_of);
  m.first_meaning = on_device<int>("first_meaning", t.first_meaning);
  m.first_text = on_device<int>("first_text", t.first_text);
  m.problem_of = on_device<int>("problem_of", t.problem_of);
  m.solution = on_device<int>("solution", t.solution);
  m.hash = on_device<std::uint64_t>("hash", t.hash);
  m.text = on_device<std::uint32_t>("text", t.text);
  std::vector<int> first, count, multiset, target;
  for (const Problem& p : t.problem) {
    first.push_back(p.first_solution);
    count.push_back(p.num_solutions);
    multiset.push_back(p.multiset);
    target.push_back(p.target);
  }
  m.first_solution = on_device<int>("first_solution", first);
  m.num_solutions = on_device<int>("num_solutions", count);
  m.problem_multiset = on_device<int>("problem_multiset", multiset);
  m.problem_target = on_device<int>("problem_target", target);
  m.numbers = View2<int>("motley::countdown::numbers", t.multiset.size(), kNumbers);
  const auto numbers = Kokkos::create_mirror(m.numbers);
  for (std::size_t i = 0; i < t.multiset.size(); ++i)
    for (std::size_t k = 0; k < kNumbers; ++k) numbers(i, k) = t.multiset[i][k];
  Kokkos::deep_copy(m.numbers, numbers);
  m.invalid = t.meanings();
  return m;
}

class Countdown final : public Task {
 public:
  Countdown(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

  std::string class_name(int class_id) const override {
    return class_id >= 0 && class_id < meanings_.invalid ? table().name(class_id) : "invalid";
  }
  int family_of(int class_id) const override {
    if (class_id < 0 || class_id >= meanings_.invalid) return -1;
    return table().multiplies[static_cast<std::size_t>(class_id)];
  }
  SkillGate gate() const override { return {GateMeasure::quality, 0.1, 0.4}; }
  void score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
             const ConstView3<int>& length, const View3<int>& finish, const View3<float>& quality,
             const View3<int>& class_id) const override;
  void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
              std::uint32_t step, bool held_out, int same_prompt,
              const CorpusBatch& batch) const override;
  CorpusParams skill_corpus() const override;
  CorpusParams classifier_corpus() const override;

 private:
  void draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

  double hard_prior_;
  Meanings meanings_;
  View2<int> held_out_;  // [R,problems] 1 where the problem is held out
};

Countdown::Countdown(const TaskConfig& config, const std::vector<std::uint64_t>& seeds)
    : hard_prior_(config.hard_prior) {
  name_ = "countdown";
  vocabulary_.token = {"<pad>", "<eos>"};
  for (int i = 0; i <= kLargestValue; ++i) vocabulary_.token.push_back(std::to_string(i));
  for (const char* word : {"+", "plus", "-", "minus", "x", "times", "/", "over"})
    vocabulary_.token.emplace_back(word);
  vocabulary_.special.assign(vocabulary_.token.size(), false);
  vocabulary_.special[kPad] = vocabulary_.special[kEos] = true;
  families_ = {"additive", "multiplicative"};
  max_prompt_ = kPromptLength;
  max_completion_ = kAnswerLength;
  meanings_ = make_meanings();
  draw_pool(config, seeds);
}

/// Training and held-out problems, half of each hard, without repetition, from a shuffle of all
/// problems keyed by (seed, Stream::task); the numbers of a prompt in random order.
void Countdown::draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds) {
  const Table& t = table();
  const int train = config.train_prompts > 0 ? config.train_prompts : kTrain;
  const int eval = config.eval_prompts > 0 ? config.eval_prompts : kEval;
  const int hard = train / 2 + eval / 2;
  const int easy = train + eval - hard;
  const auto hard_in_all = static_cast<int>(
      std::count_if(t.problem.begin(), t.problem.end(), [](const Problem& p) { return p.hard; }));
  const int easy_in_all = static_cast<int>(t.problem.size()) - hard_in_all;
  MOTLEY_REQUIRE(hard <= hard_in_all && easy <= easy_in_all, ErrorKind::config,
                 "task.train_prompts: countdown has ", easy_in_all, " easy and ", hard_in_all,
                 " hard problems, half of the prompts are of each kind, got ", train,
                 " training and ", eval, " held-out prompts; allowed: at most ", 2 * easy_in_all,
                 " together");
  const auto R = seeds.size();
  PromptPool pool(prompts_, R, train, eval, kPromptLength);
  HeldOut held_out(held_out_, R, t.problem.size());
  for (std::size_t r = 0; r < R; ++r) {
    const DrawKey key{seeds[r], Stream::task, 0};
    // Kind 0 = easy, 1 = hard.
    RowQuotas rows(train, {eval - eval / 2, eval / 2}, {train - train / 2, train / 2});
    for (const int id : shuffled(static_cast<int>(t.problem.size()), key, 0)) {
      const Problem& p = t.problem[static_cast<std::size_t>(id)];
      const int row = rows.take(p.hard ? 1 : 0);
      if (row < 0) continue;
      if (rows.is_held_out(row)) held_out.mark(r, static_cast<std::size_t>(id));
      const DrawKey order{seeds[r], Stream::task, 1};
      const std::vector<int> place = shuffled(kNumbers, order, static_cast<std::uint32_t>(id));
      const auto& numbers = t.multiset[static_cast<std::size_t>(p.multiset)];
      for (int k = 0; k < kNumbers; ++k)
        pool.token(r, row, k) =
            number_token(numbers[static_cast<std::size_t>(place[static_cast<std::size_t>(k)])]);
      pool.token(r, row, kNumbers) = number_token(p.target);
      prompts_.num_classes[r][static_cast<std::size_t>(row)] = p.num_solutions;
      prompts_.difficulty[r][static_cast<std::size_t>(row)] = p.hard ? 1.0f : 0.0f;
    }
  }
  pool.copy_to_device();
  held_out.copy_to_device();
}

void Countdown::score(const Exec& exec, const ConstView2<int>& prompt_id,
                      const ConstView4<int>& token, const ConstView3<int>& length,
                      const View3<int>& finish, const View3<float>& quality,
                      const View3<int>& class_id) const {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const Meanings meanings = meanings_;
  const View3<int> prompts = prompts_.token;
  Kokkos::parallel_for(
      "motley::tasks::countdown_score", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const int* prompt = &prompts(r, prompt_id(r, b), 0);
        const Node result = read_answer(prompt, &token(r, b, g, 0), length(r, b, g));
        const bool valid = result.value > 0;
        class_id(r, b, g) = valid ? meanings.find(prompt, result.hash) : meanings.invalid;
        quality(r, b, g) = valid && result.value == value_of(prompt[kNumbers]) ? 1.0f : 0.0f;
        if (!valid && finish(r, b, g) == static_cast<int>(Finish::eos))
          finish(r, b, g) = static_cast<int>(Finish::invalid);
      });
}

void Countdown::corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
                       std::uint32_t step, bool held_out, int same_prompt,
                       const CorpusBatch& batch) const {
  const int R = static_cast<int>(batch.token.extent(0));
  const int N = static_cast<int>(batch.token.extent(1));
  const int S = static_cast<int>(batch.token.extent(2));
  require_extents(batch.token, "countdown corpus", "token", "[R,N,S]", R, N,
                  max_prompt_ + max_completion_);
  const Author from{meanings_, held_out_, prompts_.token, prompts_.num_train, prompts_.num_eval};
  Kokkos::parallel_for(
      "motley::tasks::countdown_corpus", Kokkos::RangePolicy<Exec>(exec, 0, R * N),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / N;
        const int n = job % N;
        const CorpusParams& p = params(r);
        const DrawKey key{p.seed, stream, step};
        int* text = &batch.token(r, n, 0);
        for (int s = 0; s < S; ++s) text[s] = kPad;
        Draws draws{key, static_cast<std::uint32_t>(n)};
        if (p.retold > 0 || held_out || same_prompt > 1) {
          Draws shared = shared_draws(key, n, same_prompt);
          from.draw_problem(r, held_out, shared, text);
          from.retell(p, shared, draws, text);
        } else {
          from.forwards(r, p, draws, text);
        }
        int* answer = text + kPromptLength;
        const int written = draws.happens(p.malformed) ? spoil(draws, answer) : kAnswerLength;
        const Node result = read_answer(text, answer, written);
        batch.prompt_length(r, n) = kPromptLength;
        batch.length(r, n) = kPromptLength + written;
        batch.class_id(r, n) =
            result.value > 0 ? from.meanings.find(text, result.hash) : from.meanings.invalid;
      });
}

CorpusParams Countdown::skill_corpus() const {
  CorpusParams p;
  p.share[plus] = 0.62 * (1 - hard_prior_);
  p.share[minus] = 0.38 * (1 - hard_prior_);
  p.share[times] = 0.8 * hard_prior_;
  p.share[over] = 0.2 * hard_prior_;
  p.wrong_answer = 0.3;
  return p;
}

CorpusParams Countdown::classifier_corpus() const {
  CorpusParams p = skill_corpus();
  p.retold = 0.8;
  p.malformed = 0.1;
  return p;
}

}  // namespace

std::unique_ptr<Task> make_countdown(const TaskConfig& config,
                                     const std::vector<std::uint64_t>& seeds) {
  return std::make_unique<Countdown>(config, seeds);
}

}  // namespace motley
