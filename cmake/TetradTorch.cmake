# libtorch out of the `torch` wheel, as imported targets of our own:
#   tetrad::c10  tetrad::torch_cpu        always
#   tetrad::c10_cuda  tetrad::torch_cuda  where the wheel is a CUDA build (the engine dlopens them, it does not link them)
# find_package(Torch) is not used: the wheel's TorchConfig ends in a fatal error where no CUDA toolkit is found, and adds
# architectures that nvcc 13 refuses. TETRAD_TORCH_DIR is the wheel's torch/ folder; by default the one of .venv, else of
# the python3 on PATH. Nothing of the wheel is run: version and ABI are read from its files.
set(TETRAD_TORCH_VERSION "2.11.0")
set(TETRAD_TORCH_DIR "" CACHE PATH "The torch/ folder of the torch ${TETRAD_TORCH_VERSION} wheel (empty: .venv's, else python3's)")

# Without importing torch, which takes seconds and needs all of NVIDIA's libraries.
function(_tetrad_find_torch out)
  find_program(TETRAD_PATH_PYTHON NAMES python3 python NO_CACHE)
  foreach(python "${PROJECT_SOURCE_DIR}/.venv/bin/python" "${TETRAD_PATH_PYTHON}")
    if(EXISTS "${python}")
      execute_process(COMMAND "${python}" -c
          "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE rc)
      if(rc EQUAL 0 AND EXISTS "${dir}/version.py")
        set(${out} "${dir}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${out} "" PARENT_SCOPE)
endfunction()

set(_torch "${TETRAD_TORCH_DIR}")
if(NOT _torch)
  _tetrad_find_torch(_torch)
endif()
if(NOT EXISTS "${_torch}/version.py")
  message(FATAL_ERROR "[torch] no torch wheel found (looked in TETRAD_TORCH_DIR='${TETRAD_TORCH_DIR}', "
    "${PROJECT_SOURCE_DIR}/.venv and the python3 on PATH). Run `make build`, which installs torch ${TETRAD_TORCH_VERSION} "
    "into .venv, or set -DTETRAD_TORCH_DIR=<site-packages>/torch, or configure with -DTETRAD_ENGINE=OFF.")
endif()

file(STRINGS "${_torch}/version.py" _version_line REGEX "^__version__ = ")
string(REGEX REPLACE "^__version__ = '([^']*)'.*" "\\1" _torch_version "${_version_line}")
string(REGEX REPLACE "\\+.*" "" _torch_public "${_torch_version}")
if(NOT _torch_public STREQUAL TETRAD_TORCH_VERSION)
  message(FATAL_ERROR "[torch] ${_torch} is version ${_torch_version}; Tetrad is built against exactly "
    "${TETRAD_TORCH_VERSION}, because plugins and engine share its C++ interface. Install torch==${TETRAD_TORCH_VERSION} "
    "(`make build` does) or point TETRAD_TORCH_DIR at it.")
endif()
foreach(lib c10 torch_cpu)
  if(NOT EXISTS "${_torch}/lib/lib${lib}.so")
    message(FATAL_ERROR "[torch] ${_torch}/lib/lib${lib}.so is missing: the wheel is incomplete. Delete .venv and run `make build` again.")
  endif()
endforeach()

# The mangled name of an exported function that takes a std::string tells which string ABI the wheel was built with.
file(STRINGS "${_torch}/lib/libc10.so" _abi REGEX "torchCheckFail.*__cxx11" LIMIT_COUNT 1)
if(NOT _abi)
  message(FATAL_ERROR "[torch] ${_torch} was built with the old C++ string ABI (_GLIBCXX_USE_CXX11_ABI=0); Tetrad needs a "
    "wheel with the C++11 ABI, as torch ${TETRAD_TORCH_VERSION} from PyPI has.")
endif()

set(TETRAD_TORCH_ROOT "${_torch}")
set(TETRAD_TORCH_FULL_VERSION "${_torch_version}")
get_filename_component(TETRAD_SITE_PACKAGES "${_torch}" DIRECTORY)
message(STATUS "libtorch ${_torch_version}: ${_torch}")

# Run path: CMake adds torch/lib for every target that links one of these. It is written as DT_RPATH, which
# the loader asks before LD_LIBRARY_PATH (DT_RUNPATH comes after it), so that a stray libtorch cannot slip in. NVIDIA's
# libraries are found by the wheel's own DT_RPATH, relative to torch/lib.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

function(_tetrad_torch_target name)
  cmake_parse_arguments(T "" "" "LIBS" ${ARGN})
  if(TARGET tetrad::${name} OR NOT EXISTS "${TETRAD_TORCH_ROOT}/lib/lib${name}.so")
    return()
  endif()
  add_library(tetrad::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(tetrad::${name} PROPERTIES
    IMPORTED_LOCATION "${TETRAD_TORCH_ROOT}/lib/lib${name}.so"
    INTERFACE_LINK_LIBRARIES "${T_LIBS}")
  # Imported targets' include folders are SYSTEM ones: no warnings, and so no errors, from them.
  target_include_directories(tetrad::${name} INTERFACE "${TETRAD_TORCH_ROOT}/include")
  target_link_options(tetrad::${name} INTERFACE -Wl,--disable-new-dtags)
endfunction()

_tetrad_torch_target(c10)
_tetrad_torch_target(torch_cpu LIBS tetrad::c10)
_tetrad_torch_target(c10_cuda LIBS tetrad::c10)
_tetrad_torch_target(torch_cuda LIBS "tetrad::c10_cuda;tetrad::torch_cpu")
target_include_directories(tetrad::torch_cpu INTERFACE "${_torch}/include/torch/csrc/api/include")

# ATen/Parallel.h without -fopenmp compiles to a loop on one thread, silently: everything that sees ATen gets the flag.
# At run time libgomp.so.1 is the wheel's own (first in the run path), so the process has one OpenMP runtime.
target_compile_options(tetrad::torch_cpu INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fopenmp> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fopenmp>)
target_link_options(tetrad::torch_cpu INTERFACE -fopenmp)

if(TARGET tetrad::c10_cuda AND IS_DIRECTORY "${TETRAD_SITE_PACKAGES}/nvidia/cu13/include")
  target_include_directories(tetrad::c10_cuda INTERFACE "${TETRAD_SITE_PACKAGES}/nvidia/cu13/include")
endif()
