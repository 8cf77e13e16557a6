# What `cmake --install` lays down beside what each target's own CMakeLists.txt installs:
#   bin/host  libexec/tetrad/  lib/tetrad/plugins/  share/tetrad/{configs,examples}/  share/doc/tetrad/
#   include/tetrad/  lib/cmake/Tetrad/
# The tree may stand anywhere and be moved: the launcher finds the rest relative to itself. libtorch stays in the .venv
# that it was built with (its absolute path is in the engine's and the plugins' run path).
include(CMakePackageConfigHelpers)
set(TETRAD_PACKAGE_DIR lib/cmake/Tetrad)

if(EXISTS ${PROJECT_SOURCE_DIR}/configs)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/configs/ DESTINATION share/tetrad/configs FILES_MATCHING PATTERN "*.yaml"
    PATTERN "data/*")
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/sdk/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
# For authors of plugins: the worked example, and the pages that walk through it.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples/ DESTINATION share/tetrad/examples)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION share/doc/tetrad FILES_MATCHING PATTERN "*.md")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION share/tetrad OPTIONAL)

if(TARGET host)
  set_target_properties(host PROPERTIES INSTALL_RPATH "")  # the launcher is not linked to libtorch
endif()

# find_package(Tetrad): tetrad::sdk_base, tetrad::nvfp4, tetrad_add_plugin() and the libtorch targets.
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/TetradConfig.cmake.in ${PROJECT_BINARY_DIR}/TetradConfig.cmake
  INSTALL_DESTINATION ${TETRAD_PACKAGE_DIR} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/TetradConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/TetradConfig.cmake ${PROJECT_BINARY_DIR}/TetradConfigVersion.cmake
    ${CMAKE_CURRENT_LIST_DIR}/TetradTorch.cmake ${CMAKE_CURRENT_LIST_DIR}/TetradCuda.cmake
    ${CMAKE_CURRENT_LIST_DIR}/TetradPlugin.cmake ${CMAKE_CURRENT_LIST_DIR}/TetradCheckExports.cmake
    ${CMAKE_CURRENT_LIST_DIR}/tetrad_note.cpp.in
  DESTINATION ${TETRAD_PACKAGE_DIR})
