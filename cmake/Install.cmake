# cmake --install: the program, its libraries with their headers, and motleyConfig.cmake for
# find_package(motley), which gives motley::core, motley::models, motley::io, motley::experiments and
# motley_program, the program with a user's own methods in it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

foreach(library core models io experiments)
  set_target_properties(motley_${library} PROPERTIES EXPORT_NAME ${library})
  install(DIRECTORY ${library} DESTINATION include/motley FILES_MATCHING PATTERN "*.hpp")
endforeach()
set_target_properties(motley_flags PROPERTIES EXPORT_NAME flags)
install(TARGETS motley_flags motley_core motley_models motley_io motley_experiments EXPORT motley)
install(FILES experiments/main.cpp cmake/Program.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/motley)
install(TARGETS motley)
install(EXPORT motley NAMESPACE motley:: FILE motleyTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/motley)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/motleyConfig.cmake.in ${PROJECT_BINARY_DIR}/motleyConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/motley)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/motleyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/motleyConfig.cmake ${PROJECT_BINARY_DIR}/motleyConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/motley)
