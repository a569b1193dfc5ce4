# Everything motley links against. scripts/setup installs what is missing.
find_package(Kokkos 4.7 CONFIG QUIET)
if(NOT Kokkos_FOUND)
  find_package(Kokkos 5 CONFIG QUIET)
endif()
if(NOT Kokkos_FOUND)
  message(FATAL_ERROR "Kokkos >= 4.7 not found. Run scripts/setup (it unpacks or builds Kokkos under "
    ".deps/), or set Kokkos_DIR or CMAKE_PREFIX_PATH to an installed one.")
endif()
if(MOTLEY_CUDA AND NOT "CUDA" IN_LIST Kokkos_DEVICES)
  message(FATAL_ERROR "Kokkos in ${Kokkos_DIR} runs on ${Kokkos_DEVICES}, without CUDA. Build one with "
    "-DKokkos_ENABLE_CUDA=ON and give its folder as Kokkos_DIR, or use the preset release; "
    "scripts/cuda_gate compiles the kernels for CUDA without a card.")
endif()
message(STATUS "Kokkos ${Kokkos_VERSION} (${Kokkos_DEVICES}) in ${Kokkos_DIR}")

find_package(Eigen3 5 CONFIG QUIET)
if(NOT Eigen3_FOUND)
  find_package(Eigen3 3.4 CONFIG REQUIRED)
endif()
find_package(TBB CONFIG REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)
find_package(nlohmann_json 3.11 CONFIG REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(Threads REQUIRED)
find_package(HDF5 1.10 REQUIRED COMPONENTS C HL)
