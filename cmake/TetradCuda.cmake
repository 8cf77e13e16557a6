# The CUDA compiler and how our own CUDA code is compiled. nvcc is the one of the wheels beside torch (nvidia/cu13), so that
# compiler, headers and runtime are of one version and no system CUDA is needed; without it, CUDACXX or an nvcc 13 on PATH.
# No GPU or driver is needed to compile.
#   TETRAD_CUDA_ARCHS                      what to compile for, in CMake's words
#   tetrad_cuda_target(<target>)           flags and runtime for a target with .cu sources (beside tetrad_target)
#   tetrad_cuda_bit_exact(<file.cu>...)    no contraction to fma in these files: their results are compared bit by bit
#   tetrad::cudart                         the CUDA runtime that libtorch uses too
set(TETRAD_CUDA_ARCHS "80-real;90a-real;100a-real;120a-real;121a-real" CACHE STRING
  "CUDA architectures: 80 A100, 90a H100/H200, 100a B200, 120a RTX Blackwell, 121a GB10 (DGX Spark)")
set(CMAKE_CUDA_ARCHITECTURES ${TETRAD_CUDA_ARCHS})
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG" CACHE STRING "")
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -lineinfo" CACHE STRING "")

set(_cuda_home "${TETRAD_SITE_PACKAGES}/nvidia/cu13")
if(EXISTS "${_cuda_home}/bin/nvcc")
  set(CMAKE_CUDA_COMPILER "${_cuda_home}/bin/nvcc" CACHE FILEPATH "nvcc")
  set(ENV{CUDA_HOME} "${_cuda_home}")
  # nvcc looks for its libraries in lib64; the wheels call the folder lib.
  set(CMAKE_CUDA_FLAGS_INIT "-L${_cuda_home}/lib")
elseif(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(TETRAD_NVCC nvcc PATHS /usr/local/cuda/bin)
  if(NOT TETRAD_NVCC)
    message(FATAL_ERROR "[cuda] no nvcc: not in ${_cuda_home}/bin, CUDACXX, PATH or /usr/local/cuda/bin. Run "
      "`scripts/setup-venv.sh base cuda-compiler`, which installs nvcc 13.0 into .venv, or configure with -DTETRAD_CUDA=OFF.")
  endif()
  set(CMAKE_CUDA_COMPILER "${TETRAD_NVCC}" CACHE FILEPATH "nvcc")
endif()
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0 OR NOT CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 14.0)
  message(FATAL_ERROR "[cuda] ${CMAKE_CUDA_COMPILER} is version ${CMAKE_CUDA_COMPILER_VERSION}; libtorch "
    "${TETRAD_TORCH_FULL_VERSION} is built with CUDA 13.0 and needs nvcc 13. `scripts/setup-venv.sh base cuda-compiler` installs it.")
endif()
message(STATUS "nvcc ${CMAKE_CUDA_COMPILER_VERSION}: ${CMAKE_CUDA_COMPILER}, for ${TETRAD_CUDA_ARCHS}")

# One runtime per process: libtorch's shared one. nvcc's default would link a second, static one into each of our libraries.
if(NOT TARGET tetrad::cudart)
  find_library(TETRAD_CUDART NAMES libcudart.so.13 cudart NO_CACHE PATHS "${_cuda_home}/lib" "${CMAKE_CUDA_COMPILER_LIBRARY_ROOT}/lib64"
    NO_DEFAULT_PATH)
  if(NOT TETRAD_CUDART)
    message(FATAL_ERROR "[cuda] libcudart.so.13 is missing in ${_cuda_home}/lib: install nvidia-cuda-runtime "
      "(`scripts/setup-venv.sh base`).")
  endif()
  add_library(tetrad::cudart SHARED IMPORTED GLOBAL)
  set_target_properties(tetrad::cudart PROPERTIES IMPORTED_LOCATION "${TETRAD_CUDART}")
  get_filename_component(_cudart_dir "${TETRAD_CUDART}" DIRECTORY)
  get_filename_component(_cudart_include "${_cudart_dir}/../include" ABSOLUTE)
  # A torch wheel without the compiler's wheels beside it has the runtime's headers, but not the crt/ ones that they include:
  # then the toolkit of the nvcc in use comes first.
  if(NOT EXISTS "${_cudart_include}/crt/host_config.h")
    target_include_directories(tetrad::cudart INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    if(TARGET tetrad::c10_cuda)
      target_include_directories(tetrad::c10_cuda BEFORE INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    endif()
  endif()
  target_include_directories(tetrad::cudart INTERFACE "${_cudart_include}")
  # CMake takes the folder for one that the loader searches anyway, because it stands in the -L above.
  target_link_options(tetrad::cudart INTERFACE -Wl,--disable-new-dtags "-Wl,-rpath,${_cudart_dir}")
endif()

function(tetrad_cuda_target target)
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY None CUDA_ARCHITECTURES "${TETRAD_CUDA_ARCHS}"
    CUDA_VISIBILITY_PRESET hidden)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:
    -Xcompiler=-Wall,-Wextra,-Werror -Werror=cross-execution-space-call --expt-relaxed-constexpr>)
  target_link_libraries(${target} PRIVATE tetrad::cudart)
endfunction()

function(tetrad_cuda_bit_exact)
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS
    $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffp-contract=off>)
endfunction()
