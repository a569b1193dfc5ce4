#pragma once
/// Execution space, memory space and view aliases used everywhere in motley.
///
/// Only two Kokkos spaces are ever named: the default execution space (CUDA or OpenMP, whatever
/// Kokkos was built with) and the default host space. Every view is LayoutRight, so that the last
/// axis is contiguous, one index arithmetic holds on host and device, and HDF5 can be written
/// without a transpose.

#include <cstdint>
#include <type_traits>

#include <Kokkos_Core.hpp>

namespace motley {

using Exec = Kokkos::DefaultExecutionSpace;
using HostExec = Kokkos::DefaultHostExecutionSpace;
using Memory = Exec::memory_space;
using HostMemory = HostExec::memory_space;
/// Do the kernels of this build run on the host?
inline constexpr bool kExecOnHost = std::is_same_v<Exec, HostExec>;

using TeamPolicy = Kokkos::TeamPolicy<Exec>;
using Team = TeamPolicy::member_type;

template <class T>
using View1 = Kokkos::View<T*, Kokkos::LayoutRight, Memory>;
template <class T>
using View2 = Kokkos::View<T**, Kokkos::LayoutRight, Memory>;
template <class T>
using View3 = Kokkos::View<T***, Kokkos::LayoutRight, Memory>;
template <class T>
using View4 = Kokkos::View<T****, Kokkos::LayoutRight, Memory>;
template <class T>
using View5 = Kokkos::View<T*****, Kokkos::LayoutRight, Memory>;

template <class T>
using ConstView1 = View1<const T>;
template <class T>
using ConstView2 = View2<const T>;
template <class T>
using ConstView3 = View3<const T>;
template <class T>
using ConstView4 = View4<const T>;
template <class T>
using ConstView5 = View5<const T>;

/// Host counterparts, for records, tests and files.
template <class T>
using HostView1 = Kokkos::View<T*, Kokkos::LayoutRight, HostMemory>;
template <class T>
using HostView2 = Kokkos::View<T**, Kokkos::LayoutRight, HostMemory>;
template <class T>
using HostView3 = Kokkos::View<T***, Kokkos::LayoutRight, HostMemory>;
template <class T>
using HostView4 = Kokkos::View<T****, Kokkos::LayoutRight, HostMemory>;

/// "No cluster": excluded from the partition, or the partition is soft.
inline constexpr int kNone = -1;

}  // namespace motley
