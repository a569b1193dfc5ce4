/// Ideas: a short story outline for a theme, judged by taste.
///
/// A prompt is an adjective and a noun of eight each. A completion names a character, a place, an
/// event and a twist in this order, ten values of three synonyms each, with fillers anywhere, then
/// the end token. A hidden judge (ideas_judge.hpp) gives every idea a quality in (0,1); malformed
/// texts have quality 0. The class of a completion is its idea: all four values (task.key = full),
/// or event and twist alone (plot); what is malformed is one more class, "invalid". The judge is
/// not shown to training: that learns from a reward model.
///
/// The base policy's texts follow a habit: nine values in ten from a ranking (six in ten of those
/// the common one, four in ten the adjective's own) with weights rank^-1.6, one in ten uniform.

#include "core/base/error.hpp"
#include "core/rollout.hpp"
#include "models/tasks/draws.hpp"
#include "models/tasks/ideas_judge.hpp"
#include "models/tasks/prompt_pool.hpp"
#include "models/tasks/task.hpp"

namespace motley {

namespace {

using namespace ideas;

constexpr int kSynonyms = 3;
constexpr int kFillers = 4;
constexpr int kEval = 16;
constexpr int kPromptLength = 2;
constexpr int kLongest = 2 * kSlots + 1;  // a filler before every slot
constexpr double kCommonRanking = 0.6;
constexpr double kZipf = 1.6;

/// Token numbering and grammar; trivially copyable, used by kernels.
struct IdeaGrammar {
  bool plots;  // task.key

  KOKKOS_INLINE_FUNCTION static int adjective_token(int a) { return 2 + a; }
  KOKKOS_INLINE_FUNCTION static int noun_token(int b) { return 2 + kAdjectives + b; }
  KOKKOS_INLINE_FUNCTION static int first_value() { return 2 + kAdjectives + kNouns; }
  KOKKOS_INLINE_FUNCTION static int value_token(int slot, int value, int synonym) {
    return first_value() + (slot * kValues + value) * kSynonyms + synonym;
  }
  KOKKOS_INLINE_FUNCTION static int first_filler() { return value_token(kSlots, 0, 0); }
  KOKKOS_INLINE_FUNCTION int invalid() const { return plots ? kPlots : kPlots * kPlots; }

  /// Values of a counted text; false where it is malformed.
  KOKKOS_INLINE_FUNCTION bool parse(const int* text, int length, int* idea) const {
    int slot = 0;
    for (int t = 0; t + 1 < length; ++t) {
      if (text[t] >= first_filler() && text[t] < first_filler() + kFillers) continue;
      const int place = text[t] - first_value();
      if (slot == kSlots || place < 0 || place / (kValues * kSynonyms) != slot) return false;
      idea[slot++] = place / kSynonyms % kValues;
    }
    return slot == kSlots && length > 0 && text[length - 1] == kEos;
  }
  KOKKOS_INLINE_FUNCTION int class_of(const int* idea) const {
    const int plot = idea[2] * kValues + idea[3];
    return plots ? plot : (idea[0] * kValues + idea[1]) * kPlots + plot;
  }
};

class Ideas final : public Task {
 public:
  Ideas(const TaskConfig& config, const std::vector<std::uint64_t>& seeds);

  std::string class_name(int class_id) const override;
  int family_of(int class_id) const override {
    return class_id >= 0 && class_id < grammar_.invalid() ? 0 : -1;
  }
  double pass_above() const override { return 0.5; }
  bool verifiable() const override { return false; }
  SkillGate gate() const override { return {GateMeasure::well_formed, 0.9, 1.0}; }
  void score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
             const ConstView3<int>& length, const View3<int>& finish, const View3<float>& quality,
             const View3<int>& class_id) const override;
  void corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
              std::uint32_t step, bool held_out, int same_prompt,
              const CorpusBatch& batch) const override;
  CorpusParams skill_corpus() const override;
  CorpusParams classifier_corpus() const override;
  CorpusParams preference_corpus() const override;
  CorpusParams uniform_corpus() const override;

 private:
  void draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds,
                 const std::vector<std::vector<int>>& passing);

  IdeaGrammar grammar_;
  Judge judge_;
};

void name_tokens(Vocabulary& vocabulary) {
  vocabulary.token = {"<pad>", "<eos>"};
  for (const char* word :
       {"lonely", "golden", "hidden", "frozen", "ancient", "burning", "silent", "broken", "island",
        "letter", "mirror", "garden", "engine", "winter", "market", "shadow"})
    vocabulary.token.emplace_back(word);
  for (const char* slot : {"who", "where", "what", "twist"})
    for (int value = 0; value < kValues; ++value)
      for (const char* synonym : {"", "'", "''"})
        vocabulary.token.push_back(slot + std::to_string(value) + synonym);
  for (const char* filler : {"well", "so", "hmm", "then"}) vocabulary.token.emplace_back(filler);
  vocabulary.special.assign(vocabulary.token.size(), false);
  vocabulary.special[kPad] = vocabulary.special[kEos] = true;
}

Ideas::Ideas(const TaskConfig& config, const std::vector<std::uint64_t>& seeds)
    : grammar_{config.key == "plot"} {
  name_ = "ideas";
  name_tokens(vocabulary_);
  families_ = {"idea"};
  max_prompt_ = kPromptLength;
  max_completion_ = kLongest;
  std::vector<std::vector<int>> passing;
  judge_ = make_judge(seeds, config.gem, grammar_.plots, passing);
  draw_pool(config, seeds, passing);
}

/// All themes in an order keyed by (seed, Stream::task): the last are held out.
void Ideas::draw_pool(const TaskConfig& config, const std::vector<std::uint64_t>& seeds,
                      const std::vector<std::vector<int>>& passing) {
  const int eval = config.eval_prompts > 0 ? config.eval_prompts : kEval;
  const int train = config.train_prompts > 0 ? config.train_prompts : kThemes - eval;
  MOTLEY_REQUIRE(train >= 1 && train + eval <= kThemes, ErrorKind::config,
                 "task.train_prompts: ideas has ", kThemes, " themes, got ", train,
                 " training and ", eval, " held-out prompts; allowed: at most ", kThemes,
                 " together");
  const auto R = seeds.size();
  PromptPool pool(prompts_, R, train, eval, kPromptLength);
  for (std::size_t r = 0; r < R; ++r) {
    const std::vector<int> order = shuffled(kThemes, {seeds[r], Stream::task, 0}, 0);
    for (int n = 0; n < train + eval; ++n) {
      const int theme = order[static_cast<std::size_t>(n)];
      pool.token(r, n, 0) = IdeaGrammar::adjective_token(theme / kNouns);
      pool.token(r, n, 1) = IdeaGrammar::noun_token(theme % kNouns);
      prompts_.num_classes[r][static_cast<std::size_t>(n)] =
          passing[r][static_cast<std::size_t>(theme)];
    }
  }
  pool.copy_to_device();
}

std::string Ideas::class_name(int class_id) const {
  if (family_of(class_id) < 0) return "invalid";
  const auto value = [&](const char* slot, int place) {
    return slot + std::to_string(class_id / place % kValues);
  };
  const std::string plot = value("what", kValues) + " " + value("twist", 1);
  return grammar_.plots
             ? plot
             : value("who", kPlots * kValues) + " " + value("where", kPlots) + " " + plot;
}

void Ideas::score(const Exec& exec, const ConstView2<int>& prompt_id, const ConstView4<int>& token,
                  const ConstView3<int>& length, const View3<int>& finish,
                  const View3<float>& quality, const View3<int>& class_id) const {
  const int R = static_cast<int>(token.extent(0));
  const int B = static_cast<int>(token.extent(1));
  const int G = static_cast<int>(token.extent(2));
  const IdeaGrammar grammar = grammar_;
  const Judge judge = judge_;
  const View3<int> prompts = prompts_.token;
  Kokkos::parallel_for(
      "motley::tasks::ideas_score", Kokkos::RangePolicy<Exec>(exec, 0, R * B * G),
      KOKKOS_LAMBDA(const int job) {
        const int g = job % G;
        const int b = job / G % B;
        const int r = job / (G * B);
        const int* prompt = &prompts(r, prompt_id(r, b), 0);
        int idea[kSlots];
        const bool valid = grammar.parse(&token(r, b, g, 0), length(r, b, g), idea);
        class_id(r, b, g) = valid ? grammar.class_of(idea) : grammar.invalid();
        quality(r, b, g) =
            valid ? static_cast<float>(judge.of(r).quality(prompt[0] - grammar.adjective_token(0),
                                                           prompt[1] - grammar.noun_token(0), idea))
                  : 0.0f;
        if (!valid && finish(r, b, g) == static_cast<int>(Finish::eos))
          finish(r, b, g) = static_cast<int>(Finish::invalid);
      });
}

namespace {

/// Rank 0..9 with weights (rank + 1)^-1.6.
KOKKOS_INLINE_FUNCTION int draw_rank(Draws& draws) {
  double total = 0;
  for (int k = 0; k < kValues; ++k) total += Kokkos::pow(double(k + 1), -kZipf);
  double left = double(draws.uniform()) * total;
  for (int k = 0; k < kValues - 1; ++k) {
    left -= Kokkos::pow(double(k + 1), -kZipf);
    if (left < 0) return k;
  }
  return kValues - 1;
}

KOKKOS_INLINE_FUNCTION int draw_value(const Tables& tables, const CorpusParams& p, Draws& draws,
                                      int adjective, int slot, bool uniform) {
  if (uniform || !draws.happens(p.habit_guess)) return draws.below(kValues);
  const int order = draws.happens(kCommonRanking) ? 0 : 1 + adjective;
  return tables.ranked(order, slot, draw_rank(draws));
}

/// The idea of a text: by habit, uniform, or one of two that the run shares and their variants.
KOKKOS_INLINE_FUNCTION void draw_idea(const Tables& tables, const CorpusParams& p, Draws& shared,
                                      Draws& draws, int adjective, int* idea) {
  const bool uniform = draws.happens(p.wrong_answer);
  for (int s = 0; s < kSlots; ++s) idea[s] = draw_value(tables, p, draws, adjective, s, uniform);
  if (p.retold <= 0) return;
  int model[2][kSlots];
  for (auto& one : model)
    for (int s = 0; s < kSlots; ++s) one[s] = draw_value(tables, p, shared, adjective, s, false);
  if (!draws.happens(p.retold)) return;
  const int which = draws.below(2);
  // One in four retells with one slot changed: another idea that looks alike.
  const int changed = draws.happens(0.25) ? draws.below(kSlots) : -1;
  for (int s = 0; s < kSlots; ++s)
    if (s != changed) idea[s] = model[which][s];
}

KOKKOS_INLINE_FUNCTION int draw_synonym(Draws& draws) {
  const float u = draws.uniform();
  return u < 0.7f ? 0 : (u < 0.9f ? 1 : 2);
}

/// Writes the text of an idea; returns the tokens written.
KOKKOS_INLINE_FUNCTION int write_idea(const IdeaGrammar& grammar, const CorpusParams& p,
                                      Draws& draws, const int* idea, int* out) {
  int at = 0;
  for (int s = 0; s < kSlots; ++s) {
    if (draws.happens(p.filler)) out[at++] = grammar.first_filler() + draws.below(kFillers);
    out[at++] = grammar.value_token(s, idea[s], draw_synonym(draws));
  }
  if (draws.happens(p.malformed)) {
    at = draws.below(at);  // cut before the last slot
    if (at > 1 && draws.happens(0.5)) {
      const int kept = out[0];  // and scrambled
      out[0] = out[at - 1];
      out[at - 1] = kept;
    }
  }
  out[at++] = kEos;
  return at;
}

}  // namespace

void Ideas::corpus(const Exec& exec, const ConstView1<CorpusParams>& params, Stream stream,
                   std::uint32_t step, bool held_out, int same_prompt,
                   const CorpusBatch& batch) const {
  const int R = static_cast<int>(batch.token.extent(0));
  const int N = static_cast<int>(batch.token.extent(1));
  const int S = static_cast<int>(batch.token.extent(2));
  require_extents(batch.token, "ideas corpus", "token", "[R,N,S]", R, N,
                  max_prompt_ + max_completion_);
  const IdeaGrammar grammar = grammar_;
  const Judge judge = judge_;
  const View3<int> prompts = prompts_.token;
  const int first_row = held_out ? prompts_.num_train : 0;
  const int rows = held_out ? prompts_.num_eval : prompts_.num_train;
  const bool judged = batch.utility.extent(0) > 0;
  Kokkos::parallel_for(
      "motley::tasks::ideas_corpus", Kokkos::RangePolicy<Exec>(exec, 0, R * N),
      KOKKOS_LAMBDA(const int job) {
        const int r = job / N;
        const int n = job % N;
        const CorpusParams& p = params(r);
        const DrawKey key{p.seed, stream, step};
        const Tables tables = judge.of(r);
        int* text = &batch.token(r, n, 0);
        for (int s = 0; s < S; ++s) text[s] = kPad;
        Draws shared = shared_draws(key, n, same_prompt);
        const int row = first_row + shared.below(rows);
        for (int k = 0; k < kPromptLength; ++k) text[k] = prompts(r, row, k);
        const int adjective = text[0] - grammar.adjective_token(0);
        const int noun = text[1] - grammar.noun_token(0);
        Draws draws{key, static_cast<std::uint32_t>(n)};
        int idea[kSlots];
        draw_idea(tables, p, shared, draws, adjective, idea);
        const int written = write_idea(grammar, p, draws, idea, text + kPromptLength);
        const bool valid = grammar.parse(text + kPromptLength, written, idea);
        batch.prompt_length(r, n) = kPromptLength;
        batch.length(r, n) = kPromptLength + written;
        batch.class_id(r, n) = valid ? grammar.class_of(idea) : grammar.invalid();
        if (judged)
          batch.utility(r, n) =
              static_cast<float>(valid ? tables.utility(adjective, noun, idea) : kMalformedUtility);
      });
}

CorpusParams Ideas::skill_corpus() const {
  CorpusParams p;
  p.habit_guess = 0.9;
  p.filler = 0.1;
  return p;
}

CorpusParams Ideas::classifier_corpus() const {
  CorpusParams p = skill_corpus();
  p.filler = 0.25;
  p.retold = 0.8;
  p.malformed = 0.05;
  return p;
}

CorpusParams Ideas::preference_corpus() const {
  CorpusParams p = skill_corpus();
  p.wrong_answer = 0.3;
  p.malformed = 0.05;
  return p;
}

CorpusParams Ideas::uniform_corpus() const {
  CorpusParams p = skill_corpus();
  p.wrong_answer = 1.0;
  return p;
}

}  // namespace

std::unique_ptr<Task> make_ideas(const TaskConfig& config,
                                 const std::vector<std::uint64_t>& seeds) {
  return std::make_unique<Ideas>(config, seeds);
}

}  // namespace motley
