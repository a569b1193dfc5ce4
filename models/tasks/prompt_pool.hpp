#pragma once
/// The prompt table of a task while it is drawn on the host.

#include <utility>
#include <vector>

#include "models/tasks/task.hpp"

namespace motley {

/// Allocates a table of prompts of P tokens, hands out host rows and copies them to the device.
class PromptPool {
 public:
  PromptPool(PromptTable& table, std::size_t R, int train, int eval, int P) : table_(table) {
    const int N = train + eval;
    table.num_train = train;
    table.num_eval = eval;
    table.token = View3<int>("motley::task::prompt", R, N, P);
    table.length = View2<int>("motley::task::prompt_length", R, N);
    table.num_classes.assign(R, std::vector<int>(static_cast<std::size_t>(N)));
    table.difficulty.assign(R, std::vector<float>(static_cast<std::size_t>(N), 0.0f));
    Kokkos::deep_copy(table.length, P);
    token = Kokkos::create_mirror(table.token);
  }
  void copy_to_device() const { Kokkos::deep_copy(table_.token, token); }

  HostView3<int> token;  ///< [R,N,P]

 private:
  PromptTable& table_;
};

/// Problems that stand in the held-out rows, for the corpus to keep out of training texts.
class HeldOut {
 public:
  /// \param marks [R,problems] out, 1 where held out
  HeldOut(View2<int>& marks, std::size_t R, std::size_t problems) {
    marks = View2<int>("motley::task::held_out", R, problems);
    device_ = marks;
    host_ = Kokkos::create_mirror(marks);
    Kokkos::deep_copy(host_, 0);
  }
  void mark(std::size_t r, std::size_t problem) { host_(r, problem) = 1; }
  void copy_to_device() const { Kokkos::deep_copy(device_, host_); }

 private:
  View2<int> device_;
  HostView2<int> host_;
};

/// Rows of one replica's table for problems that come in random order and are of kinds with quotas:
/// the held-out rows are filled first, then the training pool, and the rest is left over.
class RowQuotas {
 public:
  RowQuotas(int train, std::vector<int> eval_left, std::vector<int> train_left)
      : num_train_(train),
        eval_row_(train),
        eval_left_(std::move(eval_left)),
        train_left_(std::move(train_left)) {}

  /// The row of a problem of this kind, or -1.
  int take(std::size_t kind) {
    if (eval_left_[kind] > 0) {
      --eval_left_[kind];
      return eval_row_++;
    }
    if (train_left_[kind] == 0) return -1;
    --train_left_[kind];
    return train_row_++;
  }
  bool is_held_out(int row) const { return row >= num_train_; }

 private:
  int num_train_, train_row_ = 0, eval_row_;
  std::vector<int> eval_left_, train_left_;
};

}  // namespace motley
