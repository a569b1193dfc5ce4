#pragma once
/// A policy's completions by enumeration: exact pass@1, quality and class entropy of a prompt.
///
/// The tree of prefixes is walked position by position, every prefix with its probability under
/// the whole temperature-scaled softmax, summed in double in the order of prefixes and tokens.
/// Every prefix goes on until it ends, falls below `min_mass`, or is not among the `prefixes`
/// heaviest of its position. What is not followed is reported as missing mass, which bounds each
/// figure: with missing = 0 up to rounding, the figures are exact.
///
/// A few prompts are walked at a time, the lighter prefixes go and the completions are scored as
/// they come: `most_bytes` bounds what is held, whatever the policy is.

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "models/next_token.hpp"
#include "models/tasks/task.hpp"

namespace motley {

struct EnumerationLimits {
  int prompts = 0;         ///< the first so many held-out prompts; 0 = all
  int prefixes = 4096;     ///< followed of one prompt at one position
  double min_mass = 1e-7;  ///< lighter prefixes and completions are left out
};

/// The completions of one prompt.
struct Enumeration {
  double mass = 0;     ///< probability of all completions that were reached
  double correct = 0;  ///< of the correct ones: pass@1 lies in [correct, correct + 1 - mass]
  double quality = 0;  ///< sum of probability * quality
  double tokens = 0;   ///< sum of probability * length
  /// Entropy of the task's classes among what was reached, -sum p/mass ln(p/mass), nats; a
  /// negative class is like nothing but itself.
  double class_entropy = 0;
  std::int64_t completions = 0;
};

/// Enumerates R policies on the held-out prompts of their task.
template <class Scalar>
class Enumerator {
 public:
  /// \param T longest completion
  Enumerator(const Net& net, const Task& task, int R, int T, const EnumerationLimits& limits);

  /// \param temperature [R]; 0 = greedy: one completion of probability 1
  /// \return [R][Q], Q = prompts()
  /// \throws Error(numeric) where a logit is not finite
  std::vector<std::vector<Enumeration>> enumerate(const Exec& exec, const Weights<Scalar>& weights,
                                                  const std::vector<double>& temperature);
  int prompts() const { return prompts_; }
  /// Bytes of prefixes and completions that `enumerate` holds at most, beside the arrays.
  std::size_t most_bytes() const;

 private:
  /// Equally long token strings of one prompt with their probabilities.
  struct Strings {
    std::vector<int> token;    // [n,length]
    std::vector<double> mass;  // [n]

    void add(const int* first, int length, double p);
    void keep_heaviest(std::size_t most, int length);
  };
  /// What is collected of one prompt of one replica while its tree is walked.
  struct Walk {
    int r = 0, q = 0;
    Strings open, longer, ended;    // prefixes of t and t + 1 tokens; completions of t + 1
    std::map<int, double> classes;  // mass of each class
    double p_ln_p = 0;              // of the completions that are like nothing but themselves
    Enumeration sum;
  };
  /// Some strings of one prompt: a row of the buffer.
  struct Slot {
    std::size_t walk = 0, first = 0;
    int count = 0;
  };
  using Slots = std::vector<std::vector<Slot>>;  // [R]

  Slots slots_of(const std::vector<Walk>& walks, Strings Walk::*which) const;
  std::size_t rounds_of(const Slots& slots) const;
  void load(const Exec& exec, const std::vector<Walk>& walks, Strings Walk::*which,
            const Slots& slots, std::size_t round, int length, int counted);
  template <class F>
  void for_each_loaded(const Slots& slots, std::size_t round, const F& f) const;
  std::size_t prefixes_at(int t) const;
  void walk_prompts(const Exec& exec, const Weights<Scalar>& weights, std::vector<Walk>& walks);
  void expand(const Exec& exec, const Weights<Scalar>& weights, int t, std::vector<Walk>& walks);
  void score(const Exec& exec, int length, std::vector<Walk>& walks);

  Net net_;
  const Task& task_;
  int T_, prompts_;
  EnumerationLimits limits_;
  double pass_above_;
  RolloutBuffer buffer_;
  NextTokenWorkspace<Scalar> workspace_;
  View1<double> inv_temperature_;
  View4<double> logits_;
  HostView4<double> host_logits_;
  std::vector<bool> greedy_;  // [R]
  HostView3<int> prompt_table_;
  HostView2<int> prompt_lengths_;
  HostView3<int> prompt_;
  HostView2<int> prompt_length_, prompt_id_;
  HostView4<int> token_;
  HostView3<int> length_, finish_, class_id_;
  HostView3<float> quality_;
};

}  // namespace motley
