#pragma once
/// Counts the arrays that are made while it lives, and can make them without memory behind them.

#include <cstddef>
#include <map>
#include <string>

namespace motley {

/// Listens to Kokkos' allocation events; one at a time, on the thread that makes the arrays.
///
/// As ghosts, the pages of a large host array are all the same few: it has its addresses and can be
/// written, but what is read back is without meaning. So no kernel that follows an index may run on
/// ghosts; filling and copying may.
class AllocationTally {
 public:
  AllocationTally();
  ~AllocationTally();
  AllocationTally(const AllocationTally&) = delete;
  AllocationTally& operator=(const AllocationTally&) = delete;

  /// Of the arrays made from now on; those made before stay as they are.
  void ghosts(bool on);

  std::size_t live() const { return live_; }  ///< bytes of the arrays that are there
  std::size_t peak() const { return peak_; }  ///< most of live() so far
  /// live() by the second word of the label: "motley::evaluate::token" belongs to evaluate.
  const std::map<std::string, std::size_t>& owners() const { return owners_; }
  /// owners() when live() was at its peak.
  const std::map<std::string, std::size_t>& most() const { return most_; }

  void made(const char* label, const void* data, std::size_t bytes);
  void freed(const char* label, const void* data, std::size_t bytes);

 private:
  struct Events;  ///< the listeners that were there before
  Events* before_;
  int pages_ = -1;  ///< file of the shared pages; -1 = no ghosts
  std::map<const void*, std::size_t> ghost_;
  const void* last_ = nullptr;  ///< ghost made before this one
  std::map<std::string, std::size_t> owners_, most_;
  std::size_t live_ = 0, peak_ = 0;
};

}  // namespace motley
