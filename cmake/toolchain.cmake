# Uses the Kokkos that scripts/setup put under .deps/ (or under $MOTLEY_DEPS_DIR), if there is one.
# A Kokkos installed elsewhere is found through Kokkos_DIR or CMAKE_PREFIX_PATH as usual.
if(DEFINED ENV{MOTLEY_DEPS_DIR})
  set(motley_deps $ENV{MOTLEY_DEPS_DIR})
else()
  set(motley_deps ${CMAKE_CURRENT_LIST_DIR}/../.deps)
endif()
if(EXISTS ${motley_deps}/kokkos/toolchain.cmake)
  include(${motley_deps}/kokkos/toolchain.cmake)
elseif(EXISTS ${motley_deps}/kokkos)
  list(PREPEND CMAKE_PREFIX_PATH ${motley_deps}/kokkos)
endif()
