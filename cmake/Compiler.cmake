# Flags shared by every target of motley, as one interface target.
add_library(motley_flags INTERFACE)

# The two -fno- flags change no value: motley reads neither errno nor trap flags, and they let the
# compiler vectorise exp. -ffast-math is never used: it breaks NaN checks and ordered sums.
target_compile_options(motley_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno -fno-trapping-math>)
# GCC 12 miscompiles lists of constants under SLP vectorisation with AVX-512: an argument {1, 1, 1, 0}
# of type std::vector<double> arrives as {1, 1, 1, 1}. Loops are vectorised by another pass.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(motley_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-tree-slp-vectorize>)
endif()
if(MOTLEY_NATIVE)
  target_compile_options(motley_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-mprefer-vector-width=512 MOTLEY_HAS_VECTOR_WIDTH)
  if(MOTLEY_HAS_VECTOR_WIDTH)
    target_compile_options(motley_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-mprefer-vector-width=512>)
  endif()
endif()
if(MOTLEY_WARNINGS_AS_ERRORS)
  target_compile_options(motley_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror>)
  # GCC 12's own AVX-512 intrinsics read a variable that is set to itself (GCC bug 105593).
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(motley_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-uninitialized -Wno-maybe-uninitialized>)
  endif()
endif()
if(MOTLEY_SANITIZE)
  target_compile_options(motley_flags INTERFACE -fsanitize=${MOTLEY_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(motley_flags INTERFACE -fsanitize=${MOTLEY_SANITIZE})
endif()
if(MOTLEY_FUZZ)
  target_compile_options(motley_flags INTERFACE -fsanitize=fuzzer-no-link -fno-sanitize-recover=all)
endif()
