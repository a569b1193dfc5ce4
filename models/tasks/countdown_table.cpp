#include "models/tasks/countdown_table.hpp"

#include <algorithm>
#include <map>

#include "core/base/error.hpp"

namespace motley::countdown {

namespace {

/// A tree on the host, for its text alone: members of a sum or product with their signs.
struct Tree {
  int kind = -1;
  int value = 0;
  std::vector<std::pair<bool, std::string>> member;  ///< (inverted, text), sorted
};

std::string text_of(const Tree& t, int inside) {
  if (t.kind < 0) return std::to_string(t.value);
  std::string out;
  for (const auto& [inverted, text] : t.member) {
    const char* sign = t.kind == 0 ? (inverted ? " - " : " + ") : (inverted ? " / " : " x ");
    out += out.empty() ? text : sign + text;
  }
  return inside < 0 ? out : "(" + out + ")";
}

Tree join_trees(const Tree& a, int op, const Tree& b) {
  Tree out;
  out.kind = op == plus || op == minus ? 0 : 1;
  const auto take = [&](const Tree& from, bool invert) {
    if (from.kind == out.kind)
      for (const auto& [inverted, text] : from.member)
        out.member.emplace_back(inverted != invert, text);
    else
      out.member.emplace_back(invert, text_of(from, 0));
  };
  take(a, false);
  take(b, op == minus || op == over);
  std::sort(out.member.begin(), out.member.end());
  return out;
}

std::string name_of_text(const std::array<int, kNumbers>& numbers, std::uint32_t text) {
  std::vector<Tree> slot(kNumbers);
  for (std::size_t i = 0; i < kNumbers; ++i) slot[i].value = numbers[i];
  for (int s = 0; s < kSteps; ++s) {
    const std::uint32_t step = text >> (8 * s);
    slot.push_back(
        join_trees(slot[step & 7], static_cast<int>(step >> 6 & 3), slot[step >> 3 & 7]));
  }
  return text_of(slot.back(), -1);
}

struct Meaning {
  Node node;
  std::vector<std::uint32_t> text;
};

/// Every text over the hand, value for value: of equal values the oldest is taken, as the reader
/// does.
void enumerate(const Hand& hand, int step, std::uint32_t text,
               std::map<std::uint64_t, Meaning>& found) {
  if (step == kSteps) {
    Meaning& m = found[hand.node[kSlots - 1].hash];
    m.node = hand.node[kSlots - 1];
    m.text.push_back(text);
    return;
  }
  for (int i = 0; i < hand.count; ++i) {
    if (hand.used[i] || hand.find(hand.node[i].value, -1) != i) continue;
    for (int j = 0; j < hand.count; ++j) {
      if (j == i || hand.used[j] || hand.find(hand.node[j].value, i) != j) continue;
      for (int op = 0; op < kOperators; ++op) {
        Hand next = hand;
        if (next.step(i, op, j))
          enumerate(next, step + 1, text | pack_step(i, op, j) << (8 * step), found);
      }
    }
  }
}

void add_multiset(Table& t, const std::array<int, kNumbers>& numbers) {
  const int index = static_cast<int>(t.multiset.size());
  t.multiset.push_back(numbers);
  std::array<int, kNumbers> order = numbers;
  do {
    t.multiset_of[static_cast<std::size_t>(number_index(order[0], order[1], order[2], order[3]))] =
        index;
  } while (std::next_permutation(order.begin(), order.end()));
  Hand hand;
  for (const int n : numbers) hand.put(number_node(n));
  std::map<std::uint64_t, Meaning> found;
  enumerate(hand, 0, 0, found);

  const int first = t.meanings();
  t.first_meaning.push_back(first);
  for (const auto& [hash, meaning] : found) {
    t.hash.push_back(hash);
    t.value.push_back(meaning.node.value);
    t.multiplies.push_back(meaning.node.multiplies ? 1 : 0);
    t.first_text.push_back(static_cast<int>(t.text.size()));
    t.text.insert(t.text.end(), meaning.text.begin(), meaning.text.end());
  }
  for (int target = 1; target <= kLargestTarget; ++target) {
    if (std::find(numbers.begin(), numbers.end(), target) != numbers.end()) continue;
    Problem p{index, target, true, static_cast<int>(t.solution.size()), 0};
    for (int m = first; m < t.meanings(); ++m) {
      const auto at = static_cast<std::size_t>(m);
      if (t.value[at] != target) continue;
      t.solution.push_back(m);
      ++p.num_solutions;
      if (t.multiplies[at] == 0) p.hard = false;
    }
    if (p.num_solutions == 0) continue;
    t.problem_of[static_cast<std::size_t>(index * (kLargestTarget + 1) + target)] =
        static_cast<int>(t.problem.size());
    t.problem.push_back(p);
  }
}

Table make_table() {
  Table t;
  t.multiset_of.assign(kLargestNumber * kLargestNumber * kLargestNumber * kLargestNumber, -1);
  t.problem_of.assign(495 * (kLargestTarget + 1), -1);
  for (int a = 1; a <= kLargestNumber; ++a)
    for (int b = a; b <= kLargestNumber; ++b)
      for (int c = b; c <= kLargestNumber; ++c)
        for (int d = c; d <= kLargestNumber; ++d) add_multiset(t, {a, b, c, d});
  t.first_meaning.push_back(t.meanings());
  t.first_text.push_back(static_cast<int>(t.text.size()));
  return t;
}

}  // namespace

std::string Table::name(int meaning) const {
  const auto m = static_cast<std::size_t>(meaning);
  const auto at = std::upper_bound(first_meaning.begin(), first_meaning.end(), meaning) - 1;
  return name_of_text(multiset[static_cast<std::size_t>(at - first_meaning.begin())],
                      text[static_cast<std::size_t>(first_text[m])]);
}

const Table& table() {
  static const Table all = make_table();
  return all;
}

}  // namespace motley::countdown
