/// motley partition: the logged rollouts of a run, divided anew by other methods, and compared.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/partition_quality.hpp"
#include "experiments/cli.hpp"
#include "experiments/counterfactual_output.hpp"

namespace motley {

namespace {

template <class E>
E parse_name(const std::string& text, const char* what) {
  const std::vector<std::string> names = choices<E>();
  const auto found = std::find(names.begin(), names.end(), text);
  MOTLEY_REQUIRE(found != names.end(), ErrorKind::config, "--method: unknown ", what, ", got \"",
                 text, "\"; allowed: ", join(names), did_you_mean(text, names));
  return choice<E>(static_cast<std::size_t>(found - names.begin()));
}

/// Every method with the linkage union_find, and the other linkages of the classifier; without a
/// judge that never errs, and without embeddings that the replay cannot make.
std::string all_methods(const RunConfig& own) {
  const PartitionParams& p = own.partition;
  const bool errs = p.false_merge > 0 || p.false_split > 0;
  const bool embeds =
      p.embedding == EmbeddingKind::ngram || (p.embedding == EmbeddingKind::classifier &&
                                              own.classifier.form == ClassifierForm::bi_encoder);
  std::string list = "oracle,logged";
  for (std::size_t m = 0; m < choices<PartitionMethod>().size(); ++m) {
    const auto method = choice<PartitionMethod>(m);
    if (method == PartitionMethod::oracle || (clusters_embeddings(method) && !embeds)) continue;
    list += "," + std::string(name_of(method));
    // A judge that never errs is the oracle: the table shows one that errs as often as the paper's
    // better classifier (11 % of pairs, arXiv 2509.02534 appendix A.2).
    if (method == PartitionMethod::noisy_oracle && !errs) list += "@0.11";
  }
  for (const std::string_view linkage : EnumNames<Linkage>::names)
    if (linkage != "union_find" && linkage != "soft") list += ",classifier/" + std::string(linkage);
  return list;
}

/// noisy_oracle@0.1: both rates of the judge's errors.
void set_error_rate(const std::string& word, const std::string& rate, PartitionParams& p) {
  double q = 0;
  MOTLEY_REQUIRE(
      p.method == PartitionMethod::noisy_oracle && parse_number(rate, q) && q >= 0 && q <= 1,
      ErrorKind::config, "--method: got \"", word,
      "\"; allowed behind @: an error rate in [0, 1], of noisy_oracle");
  p.false_merge = p.false_split = q;
}

std::vector<Variant> parse_methods(const std::string& list, const RunConfig& own) {
  std::vector<Variant> out;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    Variant v{word, own, word == "logged"};
    PartitionParams& p = v.config.partition;
    if (!v.logged) {
      const std::size_t slash = word.find('/'), at = word.find('@');
      p.method = parse_name<PartitionMethod>(word.substr(0, std::min(slash, at)), "method");
      if (at != std::string::npos) set_error_rate(word, word.substr(at + 1, slash - at - 1), p);
      p.linkage = slash == std::string::npos
                      ? Linkage::union_find
                      : parse_name<Linkage>(word.substr(slash + 1), "linkage");
    }
    MOTLEY_REQUIRE(v.logged || !clusters_embeddings(p.method) || p.linkage == Linkage::union_find,
                   ErrorKind::config, "--method: ", word,
                   ": this method makes clusters without a linkage; allowed: ", name_of(p.method));
    MOTLEY_REQUIRE(p.linkage != Linkage::soft, ErrorKind::config, "--method: ", word,
                   ": a soft linkage has no clusters to compare; allowed: the other linkages");
    for (const Variant& other : out)
      MOTLEY_REQUIRE(other.name != word, ErrorKind::config, "--method: ", word, " is given twice");
    out.push_back(v);
  }
  MOTLEY_REQUIRE(out.size() >= 2, ErrorKind::config, "--method: at least two are compared, got \"",
                 list, "\"");
  return out;
}

/// What is said of one method by itself, sums over groups.
struct Self {
  double clusters = 0, one_cluster = 0, largest = 0, order_ari = 0, calls = 0;
  MergedPairs merged;
  bool ordered = false, scored = false;
};

/// What is said of two methods, the first taken as the truth.
struct Agreement {
  double ari = 0, nmi = 0;                                             ///< sums over groups
  PairCounts pairs;                                                    ///< pooled
  double x = 0, y = 0, xx = 0, yy = 0, xy = 0, difference = 0, n = 0;  ///< of diversities
  double same_sign = 0;
  double cosine = 0;  ///< sum over gradient steps

  void add_diversity(double a, double b) {
    n += 1;
    x += a;
    y += b;
    xx += a * a;
    yy += b * b;
    xy += a * b;
    difference += std::abs(a - b);
  }
  /// Pearson's r; 1 where both are constant, 0 where one is.
  double correlation() const {
    const double vx = xx - x * x / n, vy = yy - y * y / n, tiny = 1e-12 * n;
    if (vx <= tiny || vy <= tiny) return vx <= tiny && vy <= tiny ? 1 : 0;
    return (xy - x * y / n) / std::sqrt(vx * vy);
  }
};

int sign(float a) {
  return (a > 0) - (a < 0);
}

class Study {
 public:
  explicit Study(Counterfactual& replay)
      : replay_(replay), R_(replay.variants().size()), self_(R_), pair_(R_ * R_) {}

  void add(std::int64_t step, bool gradient) {
    const Rewarded& x = replay_.reward(step);
    const auto B = static_cast<std::size_t>(replay_.shape().B);
    const auto G = static_cast<std::size_t>(replay_.shape().G);
    groups_ += static_cast<double>(B);
    for (std::size_t i = 0; i < R_; ++i)
      for (std::size_t j = i + 1; j < R_; ++j)
        for (std::size_t b = 0; b < B; ++b) add_pair(x, i, j, (i * B + b) * G, (j * B + b) * G, G);
    if (gradient) add_gradients();
    const std::vector<int>& permuted = replay_.permuted_clusters();
    for (std::size_t i = 0; i < R_; ++i)
      for (std::size_t b = 0; b < B; ++b) add_self(x, permuted, i, i * B + b, G);
  }

  const Agreement& agreement(std::size_t i, std::size_t j) const { return pair_[i * R_ + j]; }
  const Self& self(std::size_t i) const { return self_[i]; }
  double groups() const { return groups_; }
  int gradients() const { return gradients_; }

 private:
  void add_pair(const Rewarded& x, std::size_t i, std::size_t j, std::size_t a, std::size_t b,
                std::size_t G) {
    Agreement& out = pair_[i * R_ + j];
    const std::span<const int> u(&x.cluster[a], G), v(&x.cluster[b], G);
    out.ari += adjusted_rand_index(u, v);
    out.nmi += v_measure(u, v).v;
    out.pairs += count_pairs(u, v);
    for (std::size_t g = 0; g < G; ++g) {
      out.add_diversity(double(x.diversity[a + g]), double(x.diversity[b + g]));
      out.same_sign += sign(x.advantage[a + g]) == sign(x.advantage[b + g]) ? 1 : 0;
    }
  }

  void add_self(const Rewarded& x, const std::vector<int>& permuted, std::size_t i,
                std::size_t group, std::size_t G) {
    Self& out = self_[i];
    const Variant& variant = replay_.variants()[i];
    const std::span<const int> labels(&x.cluster[group * G], G);
    int own = 0, members = 0;
    for (std::size_t g = 0; g < G; ++g) {
      own += labels[g] == static_cast<int>(g) ? 1 : 0;
      members += labels[g] >= 0 ? 1 : 0;
    }
    out.clusters += own;
    out.one_cluster += own == 1 && members == static_cast<int>(G) ? 1 : 0;
    out.largest += largest_share(labels);
    out.calls += x.num_calls[group];
    out.scored = !variant.logged || !replay_.logged().pair_score.empty();
    if (out.scored) {
      const MergedPairs m = merged_pairs(labels, std::span(&x.pair_score[group * G * G], G * G),
                                         variant.config.partition.threshold);
      out.merged.together += m.together;
      out.merged.against_decision += m.against_decision;
    }
    out.ordered = !variant.logged;
    if (out.ordered)
      out.order_ari += adjusted_rand_index(labels, std::span(&permuted[group * G], G));
  }

  void add_gradients() {
    const std::vector<float>& gradient = replay_.gradient();
    const std::size_t N = gradient.size() / R_;
    for (std::size_t i = 0; i < R_; ++i)
      for (std::size_t j = i + 1; j < R_; ++j)
        pair_[i * R_ + j].cosine +=
            cosine(std::span(&gradient[i * N], N), std::span(&gradient[j * N], N));
    ++gradients_;
  }

  Counterfactual& replay_;
  std::size_t R_;
  std::vector<Self> self_;
  std::vector<Agreement> pair_;  ///< [R,R], i < j
  double groups_ = 0;
  int gradients_ = 0;
};

/// One number of a table, "-" where there is none.
std::string number(std::optional<double> value) {
  return value ? fixed(*value, 3) : "-";
}

struct Line {
  double ari, nmi, diversity_correlation, diversity_mae, sign;
  std::optional<double> gradient;
  PairCounts pairs;
};
Line line_of(const Study& study, std::size_t i, std::size_t j) {
  const Agreement& a = study.agreement(i, j);
  Line out{a.ari / study.groups(), a.nmi / study.groups(), a.correlation(), a.difference / a.n,
           a.same_sign / a.n,      std::nullopt,           a.pairs};
  if (study.gradients() > 0) out.gradient = a.cosine / study.gradients();
  return out;
}

struct SelfLine {
  double clusters, one_cluster, largest, calls;
  std::optional<double> over_merge, order_ari;
};
SelfLine self_of(const Study& study, std::size_t i) {
  const Self& s = study.self(i);
  const double n = study.groups();
  SelfLine out{s.clusters / n, s.one_cluster / n, s.largest / n, s.calls / n, {}, {}};
  if (s.scored)
    out.over_merge =
        s.merged.together > 0 ? double(s.merged.against_decision) / double(s.merged.together) : 0.0;
  if (s.ordered) out.order_ari = s.order_ari / n;
  return out;
}

void print_tables(const Study& study, const std::vector<Variant>& variants, int G) {
  std::vector<std::vector<std::string>> each = {
      {"method", "clusters", "bias", "one cluster", "largest", "over-merge", "order ARI", "calls"}};
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const SelfLine s = self_of(study, i);
    each.push_back({variants[i].name, fixed(s.clusters, 2),
                    i == 0 ? "-" : fixed(s.clusters - self_of(study, 0).clusters, 2),
                    fixed(s.one_cluster, 3), fixed(s.largest, 3), number(s.over_merge),
                    number(s.order_ari), fixed(s.calls, 1)});
  }
  std::printf("%.0f groups of %d\n%s\n", study.groups(), G, table(each).c_str());

  std::vector<std::vector<std::string>> rows = {
      {"against " + variants[0].name, "ARI", "NMI", "pair precision", "recall", "F1", "false merge",
       "false split", "diversity r", "MAE", "advantage sign", "gradient cosine"}};
  for (std::size_t j = 1; j < variants.size(); ++j) {
    const Line a = line_of(study, 0, j);
    rows.push_back({variants[j].name, fixed(a.ari, 3), fixed(a.nmi, 3),
                    fixed(a.pairs.precision(), 3), fixed(a.pairs.recall(), 3),
                    fixed(a.pairs.f1(), 3), fixed(a.pairs.false_merge(), 3),
                    fixed(a.pairs.false_split(), 3), fixed(a.diversity_correlation, 3),
                    fixed(a.diversity_mae, 3), fixed(a.sign, 3), number(a.gradient)});
  }
  std::printf("%s\n", table(rows).c_str());
  if (variants.size() < 3) return;

  std::vector<std::vector<std::string>> matrix = {{"ARI"}};
  for (std::size_t j = 1; j < variants.size(); ++j) matrix[0].push_back(variants[j].name);
  for (std::size_t i = 0; i + 1 < variants.size(); ++i) {
    matrix.push_back({variants[i].name});
    for (std::size_t j = 1; j < variants.size(); ++j)
      matrix.back().push_back(j > i ? fixed(line_of(study, i, j).ari, 3) : "");
  }
  std::printf("%s", table(matrix).c_str());
}

nlohmann::json json_of(std::optional<double> value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

void print_json(const Study& study, const std::vector<Variant>& variants, int G) {
  nlohmann::json methods = nlohmann::json::array(), pairs = nlohmann::json::array();
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const SelfLine s = self_of(study, i);
    methods.push_back({{"method", variants[i].name},
                       {"num_clusters", s.clusters},
                       {"one_cluster", s.one_cluster},
                       {"largest_share", s.largest},
                       {"over_merge", json_of(s.over_merge)},
                       {"order_ari", json_of(s.order_ari)},
                       {"calls", s.calls}});
    for (std::size_t j = i + 1; j < variants.size(); ++j) {
      const Line a = line_of(study, i, j);
      pairs.push_back({{"truth", variants[i].name},
                       {"against", variants[j].name},
                       {"ari", a.ari},
                       {"nmi", a.nmi},
                       {"pair_precision", a.pairs.precision()},
                       {"pair_recall", a.pairs.recall()},
                       {"pair_f1", a.pairs.f1()},
                       {"false_merge", a.pairs.false_merge()},
                       {"false_split", a.pairs.false_split()},
                       {"diversity_correlation", a.diversity_correlation},
                       {"diversity_mae", a.diversity_mae},
                       {"advantage_sign_agreement", a.sign},
                       {"gradient_cosine", json_of(a.gradient)}});
    }
  }
  const nlohmann::json out = {{"groups", study.groups()},
                              {"group_size", G},
                              {"gradient_steps", study.gradients()},
                              {"methods", methods},
                              {"pairs", pairs}};
  std::printf("%s\n", out.dump().c_str());
}

int run_partition(const CommandLine& line) {
  require_words(line, "partition", 1, 1, "RUN");
  const std::string file = run_file_of(line.positional[0]);
  const RunConfig own = config_from_ini(RunReader(file).ini(), file);
  Counterfactual replay(file, parse_methods(line.get("method", all_methods(own)), own),
                        say_on_stderr);
  const std::vector<std::int64_t> steps = chosen_steps(line, replay);
  SideOutput side(line, replay, steps);
  const std::vector<std::int64_t> with_policy = replay.gradient_steps();
  Study study(replay);
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const bool gradient =
        std::find(with_policy.begin(), with_policy.end(), steps[s]) != with_policy.end();
    study.add(steps[s], gradient);
    side.write(s);
  }
  side.close();
  if (line.has("json"))
    print_json(study, replay.variants(), replay.shape().G);
  else
    print_tables(study, replay.variants(), replay.shape().G);
  if (study.gradients() == 0)
    say_on_stderr("no gradient cosine: none of these steps has a checkpoint in the run's folder");
  return 0;
}

}  // namespace

const Command kPartition = {
    "partition",
    "RUN [--method LIST] [--step S] [-o SIDE.h5]",
    "divides the logged rollouts of a run by other methods and compares the partitions",
    "  motley partition runs/first\n"
    "  motley partition runs/first --method oracle,classifier,classifier/greedy_first --step 100\n"
    "  motley partition runs/first -o labels.h5\n",
    {{"method", 'm', 0, "LIST",
      "METHOD[@RATE][/LINKAGE] of partition.method and partition.linkage, or logged; noisy_oracle@0.1 errs on a tenth of all pairs; the first is taken as the truth; default all"},
     kStepFlag,
     kOutputFlag,
     kOverwriteFlag},
    true,
    run_partition,
    believes};

}  // namespace motley
