#pragma once
/// Reads a Countdown completion as text and gives its canonical tree as text. Includes nothing of
/// motley: trees are recursive, multisets are maps, no hashing.

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace oracle {

struct Expression {
  int number = 0;  ///< of a leaf
  char op = 0;     ///< '+', '-', '*', '/', or 0 for a leaf
  std::shared_ptr<Expression> left, right;
  int value = 0;
};
using ExpressionPtr = std::shared_ptr<Expression>;

inline std::string canonical(const ExpressionPtr& e);

/// Adds the terms (or factors) of e with a sign to a multiset of canonical texts.
inline void flatten(const ExpressionPtr& e, bool sum, int sign,
                    std::map<std::pair<std::string, int>, int>& members) {
  const bool is_sum = e->op == '+' || e->op == '-';
  if (e->op == 0 || is_sum != sum) {
    ++members[{canonical(e), sign}];
    return;
  }
  flatten(e->left, sum, sign, members);
  flatten(e->right, sum, e->op == '-' || e->op == '/' ? -sign : sign, members);
}

inline std::string canonical(const ExpressionPtr& e) {
  if (e->op == 0) return std::to_string(e->number);
  const bool sum = e->op == '+' || e->op == '-';
  std::map<std::pair<std::string, int>, int> members;
  flatten(e, sum, 1, members);
  std::string out = sum ? "S(" : "P(";
  for (const auto& [member, count] : members)
    out += member.first + (member.second > 0 ? "^+" : "^-") + std::to_string(count) + ",";
  return out + ")";
}

struct CountdownReading {
  bool valid = false;
  int value = 0;
  std::string meaning;
  bool multiplies = false;
};

/// `text`: the words up to the end token; `ended`: whether that came, as the very last token.
inline CountdownReading read_countdown(const std::vector<int>& numbers, const std::string& text,
                                       bool ended) {
  const std::map<std::string, char> words = {{"+", '+'}, {"plus", '+'},  {"-", '-'}, {"minus", '-'},
                                             {"x", '*'}, {"times", '*'}, {"/", '/'}, {"over", '/'}};
  CountdownReading out;
  std::istringstream in(text);
  std::vector<std::string> word;
  for (std::string w; in >> w;) word.push_back(w);
  if (word.size() != 12 || !ended) return out;
  // Numbers at hand in order of age: those of the prompt before results.
  std::vector<ExpressionPtr> hand;
  for (const int n : numbers) {
    auto leaf = std::make_shared<Expression>();
    leaf->number = leaf->value = n;
    hand.push_back(leaf);
  }
  const auto is_number = [](const std::string& w) {
    return w.find_first_not_of("0123456789") == std::string::npos;
  };
  const auto take = [&](int value) -> ExpressionPtr {
    for (std::size_t i = 0; i < hand.size(); ++i)
      if (hand[i]->value == value) {
        const ExpressionPtr found = hand[i];
        hand.erase(hand.begin() + static_cast<long>(i));
        return found;
      }
    return nullptr;
  };
  for (std::size_t s = 0; s < 12; s += 4) {
    if (!is_number(word[s]) || words.count(word[s + 1]) == 0 || !is_number(word[s + 2]) ||
        !is_number(word[s + 3]))
      return out;
    auto e = std::make_shared<Expression>();
    e->op = words.at(word[s + 1]);
    e->left = take(std::stoi(word[s]));
    e->right = take(std::stoi(word[s + 2]));
    if (!e->left || !e->right) return out;
    const int a = e->left->value, b = e->right->value;
    if (e->op == '/' && (b == 0 || a % b != 0)) return out;
    e->value = e->op == '+' ? a + b : e->op == '-' ? a - b : e->op == '*' ? a * b : a / b;
    if (e->value < 1 || e->value > 60 || e->value != std::stoi(word[s + 3])) return out;
    out.multiplies = out.multiplies || e->op == '*' || e->op == '/';
    hand.push_back(e);
  }
  out.valid = true;
  out.value = hand.back()->value;
  out.meaning = canonical(hand.back());
  return out;
}

/// Values that a multiset of numbers reaches, by recursion over pairs; `all` = with x and /.
inline void reachable(const std::vector<int>& numbers, bool all, std::map<int, bool>& out) {
  if (numbers.size() == 1) {
    out[numbers[0]] = true;
    return;
  }
  for (std::size_t i = 0; i < numbers.size(); ++i)
    for (std::size_t j = 0; j < numbers.size(); ++j) {
      if (i == j) continue;
      std::vector<int> rest;
      for (std::size_t k = 0; k < numbers.size(); ++k)
        if (k != i && k != j) rest.push_back(numbers[k]);
      const int a = numbers[i], b = numbers[j];
      std::vector<int> results = {a + b, a - b};
      if (all) {
        results.push_back(a * b);
        if (a % b == 0) results.push_back(a / b);
      }
      for (const int c : results) {
        if (c < 1 || c > 60) continue;
        rest.push_back(c);
        reachable(rest, all, out);
        rest.pop_back();
      }
    }
}

}  // namespace oracle
