# tetrad_add_plugin(<id> SOURCES a.cpp ... METADATA plugin.json
#                   [KINDS linear ...] [TORCH] [CUDA_SOURCES b.cu ...] [LIBS lib ...] [CUDA_LIBS lib ...]
#                   [OUTPUT_DIRECTORY dir] [NO_INSTALL] [NO_EXPORT_CHECK])
#
# Builds lib/tetrad/plugins/<id>.so: a MODULE with hidden visibility that exports the entry function alone, carries the
# metadata and the build's fingerprint in an ELF note, resolves all its symbols at link time, and is never unloaded.
#   METADATA  the author's plugin.json (docs/plugins.md): id, version, kinds, description, licence, options,
#             capabilities, numerics. `id` must equal <id>.
#   KINDS     when given, must be the kinds in the metadata (a check for the reader of the CMakeLists)
#   TORCH     the plugin's interfaces use at::Tensor: links tetrad::torch_cpu and tetrad::c10
#   LIBS      further libraries, e.g. tetrad_nvfp4
#   CUDA_SOURCES  with TETRAD_CUDA on, a second file <id>.cuda.so of the same version and interface hash, which the host
#             loads instead of <id>.so for a CUDA device. It needs its own TETRAD_PLUGIN(...) line, and links
#             tetrad::torch_cuda, tetrad::c10_cuda, LIBS and CUDA_LIBS.
#   NO_INSTALL, NO_EXPORT_CHECK  for tests' deliberately broken plugins
# Targets: <id> and <id>.cuda, prefixed with "plugin.": plugin.backend-nvfp4, plugin.backend-nvfp4.cuda; all that are
# installed are dependencies of the target `plugins`.
#
# Works in Tetrad's own tree and, through find_package(Tetrad), in an author's. Both define the target
# tetrad::sdk_base and TETRAD_SDK_INCLUDE_DIRS (the folders that hold tetrad/base, tetrad/torch, tetrad/nvfp4).
set(TETRAD_PLUGIN_MODULE_DIR ${CMAKE_CURRENT_LIST_DIR})
set(TETRAD_PLUGIN_INSTALL_DIR lib/tetrad/plugins)  # relative to bin/host, whatever CMAKE_INSTALL_LIBDIR says

# tetrad_interface_hash(<out>): sha256 over name and content of every public header of the SDK, in the order of their
# names. A plugin and a host with different hashes may disagree on any interface, so they are not put together.
function(tetrad_interface_hash out)
  set(names "")
  foreach(dir IN LISTS TETRAD_SDK_INCLUDE_DIRS)
    file(GLOB_RECURSE found CONFIGURE_DEPENDS RELATIVE ${dir} ${dir}/tetrad/base/*.h ${dir}/tetrad/torch/*.h ${dir}/tetrad/nvfp4/*.h)
    foreach(name IN LISTS found)
      list(APPEND names "${name}|${dir}/${name}")
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES names)
  list(SORT names COMPARE STRING)
  set(text "")
  foreach(entry IN LISTS names)
    string(REPLACE "|" ";" entry "${entry}")
    list(GET entry 0 name)
    list(GET entry 1 file)
    file(SHA256 "${file}" sum)
    string(APPEND text "${name} ${sum}\n")
    set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
  endforeach()
  string(SHA256 hash "${text}")
  set(${out} ${hash} PARENT_SCOPE)
endfunction()

# Reads one member of plugin.json, with a plain error when it is absent or of another type.
function(_tetrad_metadata out text file type)
  string(JSON found_type ERROR_VARIABLE error TYPE "${text}" ${ARGN})
  if(error OR NOT found_type STREQUAL type)
    message(FATAL_ERROR "[plugin] ${file}: '${ARGN}' must be a JSON ${type} (${error}${found_type})")
  endif()
  string(JSON value GET "${text}" ${ARGN})
  set(${out} "${value}" PARENT_SCOPE)
endfunction()

# One file of a plugin; P_* and _P_* come from tetrad_add_plugin.
function(_tetrad_plugin_file target output_name)
  set(note ${CMAKE_CURRENT_BINARY_DIR}/${target}.note.cpp)
  configure_file(${TETRAD_PLUGIN_MODULE_DIR}/tetrad_note.cpp.in ${note} @ONLY)
  set(exports ${CMAKE_CURRENT_BINARY_DIR}/${target}.exports.map)
  file(CONFIGURE OUTPUT ${exports} CONTENT "{ global: tetrad_plugin_v1; local: *; };\n")
  set_source_files_properties(${note} PROPERTIES OBJECT_DEPENDS "${_P_metadata}")

  add_library(${target} MODULE ${ARGN} ${note})
  if(COMMAND tetrad_target)
    tetrad_target(${target})
  endif()
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_compile_definitions(${target} PRIVATE TETRAD_PLUGIN_ID="${_P_id}" TETRAD_PLUGIN_VERSION="${_P_version}")
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME ${output_name} SUFFIX ".so"
    LIBRARY_OUTPUT_DIRECTORY ${P_OUTPUT_DIRECTORY}
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    LINK_DEPENDS ${exports})
  target_link_options(${target} PRIVATE
    -Wl,--version-script=${exports} -Wl,-z,defs -Wl,-z,nodelete -Wl,--build-id=sha1 -Wl,--as-needed)
  target_link_libraries(${target} PRIVATE tetrad::sdk_base ${P_LIBS})
  if(P_TORCH)
    target_link_libraries(${target} PRIVATE tetrad::torch_cpu tetrad::c10)
  endif()
  if(NOT P_NO_EXPORT_CHECK)
    add_custom_command(TARGET ${target} POST_BUILD VERBATIM
      COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DFILE=$<TARGET_FILE:${target}> -P ${TETRAD_PLUGIN_MODULE_DIR}/TetradCheckExports.cmake)
  endif()
  if(NOT P_NO_INSTALL)
    if(NOT TARGET plugins)
      add_custom_target(plugins)
    endif()
    add_dependencies(plugins ${target})
    install(TARGETS ${target} LIBRARY DESTINATION ${TETRAD_PLUGIN_INSTALL_DIR})
  endif()
endfunction()

function(tetrad_add_plugin id)
  cmake_parse_arguments(P "TORCH;NO_INSTALL;NO_EXPORT_CHECK" "METADATA;OUTPUT_DIRECTORY"
    "SOURCES;KINDS;CUDA_SOURCES;LIBS;CUDA_LIBS" ${ARGN})
  if(P_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "[plugin] tetrad_add_plugin(${id}): unknown arguments '${P_UNPARSED_ARGUMENTS}'")
  endif()
  if(NOT P_SOURCES OR NOT P_METADATA)
    message(FATAL_ERROR "[plugin] tetrad_add_plugin(${id}) needs SOURCES and METADATA")
  endif()
  if(P_TORCH AND NOT TARGET tetrad::torch_cpu)
    message(FATAL_ERROR "[plugin] tetrad_add_plugin(${id} TORCH): there is no target tetrad::torch_cpu; configure with TETRAD_ENGINE=ON")
  endif()
  if(NOT P_OUTPUT_DIRECTORY)
    set(P_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/tetrad/plugins)
  endif()

  get_filename_component(_P_metadata "${P_METADATA}" ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_P_metadata}")
  file(READ "${_P_metadata}" text)
  _tetrad_metadata(_P_id "${text}" "${_P_metadata}" STRING id)
  _tetrad_metadata(_P_version "${text}" "${_P_metadata}" STRING version)
  _tetrad_metadata(kinds "${text}" "${_P_metadata}" ARRAY kinds)
  if(NOT _P_id STREQUAL id)
    message(FATAL_ERROR "[plugin] ${_P_metadata}: id is '${_P_id}', but tetrad_add_plugin says '${id}'")
  endif()
  if(P_KINDS)
    set(found "")
    string(JSON count LENGTH "${kinds}")
    math(EXPR last "${count} - 1")
    foreach(i RANGE ${last})
      string(JSON kind GET "${kinds}" ${i})
      list(APPEND found ${kind})
    endforeach()
    if(NOT found STREQUAL P_KINDS)
      message(FATAL_ERROR "[plugin] ${_P_metadata}: kinds are '${found}', but tetrad_add_plugin says '${P_KINDS}'")
    endif()
  endif()

  tetrad_interface_hash(_P_hash)
  set(_P_torch 0)
  if(P_TORCH)
    set(_P_torch 1)
  endif()
  set(_P_build_type "${CMAKE_BUILD_TYPE}")
  set(_P_sanitize "${TETRAD_SANITIZE}")
  set(_P_cuda_json "null")
  _tetrad_plugin_file(plugin.${id} ${id} ${P_SOURCES})

  if(P_CUDA_SOURCES AND TETRAD_CUDA)
    list(JOIN CMAKE_CUDA_ARCHITECTURES " " archs)
    # Three layers of quoting: this file, the C++ string literal, the assembler's string.
    set(q "\\\\\\\"")
    set(_P_cuda_json "{${q}version${q}:${q}${CMAKE_CUDA_COMPILER_VERSION}${q},${q}architectures${q}:${q}${archs}${q}}")
    list(APPEND P_LIBS ${P_CUDA_LIBS})
    if(P_TORCH)
      list(APPEND P_LIBS tetrad::torch_cuda tetrad::c10_cuda)
    endif()
    _tetrad_plugin_file(plugin.${id}.cuda ${id}.cuda ${P_CUDA_SOURCES})
    tetrad_cuda_target(plugin.${id}.cuda)
  endif()
endfunction()
