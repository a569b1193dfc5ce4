#pragma once
/// Named points of the write protocol, so that a test can kill the process exactly there.
///
/// after_data, after_flush, after_commit (RunFile::commit); mid_checkpoint, before_rename,
/// after_rename (every file that is replaced as a whole).

namespace motley {

/// Called at every point when set; nullptr outside of tests.
inline void (*fault_hook)(const char* point) = nullptr;

inline void reach_fault_point(const char* point) {
  if (fault_hook != nullptr) fault_hook(point);
}

}  // namespace motley
