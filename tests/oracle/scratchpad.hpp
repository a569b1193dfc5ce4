#pragma once
/// Reads a scratchpad completion as text. Includes nothing of motley.

#include <sstream>
#include <string>
#include <vector>

namespace oracle {

struct Reading {
  int family = -1;  ///< -1 = malformed
  int answer = -1;
};

/// `text` holds the words of the completion up to the end token; `ended` says whether that came.
inline Reading read_scratchpad(const std::string& text, bool ended, int m, int n) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  const auto digit = [&](const std::string& w) {
    return w.size() == 1 && w[0] >= '0' && w[0] < '0' + m;
  };
  std::size_t at = 0;
  int fillers = 0;
  while (at < words.size() && fillers < 2 &&
         (words[at] == "well" || words[at] == "so" || words[at] == "hmm" || words[at] == "ok"))
    ++at, ++fillers;
  Reading r;
  int family = 0, work = 0;
  if (at < words.size() && words[at] == "SF")
    family = 1, work = n, ++at;
  else if (at < words.size() && words[at] == "SB")
    family = 2, work = n, ++at;
  else if (at < words.size() && words[at] == "SP")
    family = 3, work = (n + 1) / 2, ++at;
  for (int i = 0; i < work; ++i, ++at)
    if (at >= words.size() || !digit(words[at])) return r;
  if (at + 2 != words.size() || words[at] != "ANS" || !digit(words[at + 1]) || !ended) return r;
  r.family = family;
  r.answer = words[at + 1][0] - '0';
  return r;
}

}  // namespace oracle
