# Version and compiler, compiled in through build/<preset>/generated/version.hpp; the commit, which moves
# between builds, through generated/git_state.cpp, made anew at every build.
string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
set(MOTLEY_COMPILER_FLAGS "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}}")
if(MOTLEY_NATIVE)
  string(APPEND MOTLEY_COMPILER_FLAGS " -march=native")
endif()
string(STRIP "${MOTLEY_COMPILER_FLAGS}" MOTLEY_COMPILER_FLAGS)
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/cmake/version.hpp.in
  ${PROJECT_BINARY_DIR}/generated/version.hpp @ONLY)

find_package(Git QUIET)
set(MOTLEY_GIT_STATE ${PROJECT_BINARY_DIR}/generated/git_state.cpp)
add_custom_target(git_state
  COMMAND ${CMAKE_COMMAND} -DGIT=${GIT_EXECUTABLE} -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DOUT=${MOTLEY_GIT_STATE}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/git_state.cmake
  BYPRODUCTS ${MOTLEY_GIT_STATE}
  COMMENT "Commit of this build")
