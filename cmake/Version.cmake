# Version and commit, compiled in through build/<preset>/generated/version.hpp and refreshed when
# HEAD moves.
find_package(Git QUIET)
set(MOTLEY_GIT_COMMIT "unknown")
set(MOTLEY_GIT_DIRTY 0)
if(GIT_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${CMAKE_CURRENT_SOURCE_DIR} rev-parse HEAD
    OUTPUT_VARIABLE MOTLEY_GIT_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    set(MOTLEY_GIT_COMMIT "unknown")
  else()
    execute_process(COMMAND ${GIT_EXECUTABLE} -C ${CMAKE_CURRENT_SOURCE_DIR} status --porcelain --untracked-files=no
      OUTPUT_VARIABLE changes ERROR_QUIET)
    if(NOT changes STREQUAL "")
      set(MOTLEY_GIT_DIRTY 1)
    endif()
  endif()
endif()
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
set(MOTLEY_COMPILER_FLAGS "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}}")
if(MOTLEY_NATIVE)
  string(APPEND MOTLEY_COMPILER_FLAGS " -march=native")
endif()
string(STRIP "${MOTLEY_COMPILER_FLAGS}" MOTLEY_COMPILER_FLAGS)
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/cmake/version.hpp.in
  ${PROJECT_BINARY_DIR}/generated/version.hpp @ONLY)
