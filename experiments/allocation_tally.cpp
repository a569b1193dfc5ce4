#include "experiments/allocation_tally.hpp"

#include <algorithm>
#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/error.hpp"
#include "core/base/types.hpp"

namespace motley {

namespace {

namespace tools = Kokkos::Tools::Experimental;

constexpr std::size_t kSharedPages = std::size_t{4} << 20;
/// Smaller arrays are made in earnest: they are many, but little in sum.
constexpr std::size_t kSmall = std::size_t{1} << 20;

AllocationTally* listening = nullptr;

void on_made(Kokkos_Profiling_SpaceHandle, const char* label, const void* data,
             std::uint64_t bytes) {
  listening->made(label, data, bytes);
}
void on_freed(Kokkos_Profiling_SpaceHandle, const char* label, const void* data,
              std::uint64_t bytes) {
  listening->freed(label, data, bytes);
}

const std::string kOthers = "other";

std::string owner_of(const std::string& label) {
  const std::string prefix = "motley::";
  if (label.rfind(prefix, 0) != 0) return kOthers;
  const auto end = label.find("::", prefix.size());
  return label.substr(prefix.size(), end == std::string::npos ? end : end - prefix.size());
}

/// The whole pages inside of an allocation; its first page holds the allocator's notes.
std::pair<std::byte*, std::byte*> inner_pages(const void* data, std::size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(data) + 2 * page) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes) / page * page;
  return {reinterpret_cast<std::byte*>(begin), reinterpret_cast<std::byte*>(end)};
}

/// The allocator gets back what it gave: pages of the array's own.
void make_real(const void* data, std::size_t bytes) {
  const auto [begin, end] = inner_pages(data, bytes);
  if (begin < end)
    mmap(begin, static_cast<std::size_t>(end - begin), PROT_READ | PROT_WRITE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

bool can_have_ghosts() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;  // they keep notes of every page of their own
#else
  return std::is_same_v<Memory, HostMemory>;
#endif
}

}  // namespace

struct AllocationTally::Events {
  tools::EventSet set;
};

AllocationTally::AllocationTally() : before_(new Events{tools::get_callbacks()}) {
  MOTLEY_REQUIRE(listening == nullptr, ErrorKind::internal, "two tallies at once");
  listening = this;
  tools::set_allocate_data_callback(on_made);
  tools::set_deallocate_data_callback(on_freed);
}

AllocationTally::~AllocationTally() {
  tools::set_callbacks(before_->set);
  listening = nullptr;
  for (const auto& [data, bytes] : ghost_) make_real(data, bytes);
  if (pages_ >= 0) close(pages_);
  delete before_;
}

void AllocationTally::ghosts(bool on) {
  if (pages_ >= 0) close(pages_);
  pages_ = -1;
  if (!on || !can_have_ghosts()) return;
  pages_ = memfd_create("motley-ghosts", MFD_CLOEXEC);
  if (pages_ >= 0 && ftruncate(pages_, static_cast<off_t>(kSharedPages)) != 0) {
    close(pages_);
    pages_ = -1;
  }
}

void AllocationTally::made(const char* label, const void* data, std::size_t bytes) {
  live_ += bytes;
  const std::string owner = owner_of(label);
  owners_[owner] += bytes;
  if (live_ > peak_) {
    peak_ = live_;
    most_ = owners_;
  }
  // What a library makes for itself may stay when this tally is gone.
  if (pages_ < 0 || bytes < kSmall || owner == kOthers) return;
  // Shared pages count as resident once for every place they stand at: those of the ghost before,
  // which has been filled by now, leave the page table again.
  if (const auto last = ghost_.find(last_); last != ghost_.end()) {
    const auto [begin, end] = inner_pages(last->first, last->second);
    if (begin < end) madvise(begin, static_cast<std::size_t>(end - begin), MADV_DONTNEED);
  }
  last_ = data;
  const auto [begin, end] = inner_pages(data, bytes);
  for (std::byte* at = begin; at < end; at += kSharedPages) {
    const auto size = std::min<std::size_t>(kSharedPages, static_cast<std::size_t>(end - at));
    // What cannot be shared stays an ordinary page.
    if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pages_, 0) == MAP_FAILED)
      break;
  }
  ghost_[data] = bytes;
}

void AllocationTally::freed(const char* label, const void* data, std::size_t bytes) {
  // An array made before this tally is not its own.
  auto& of_owner = owners_[owner_of(label)];
  of_owner -= std::min(of_owner, bytes);
  live_ -= std::min(live_, bytes);
  const auto found = ghost_.find(data);
  if (found == ghost_.end()) return;
  make_real(data, found->second);
  ghost_.erase(found);
}

}  // namespace motley
