// Facts about a build that only the compiler knows, as a list of members of a JSON object. The same list is
// written into a plugin's ELF note (as assembler text) and into the host (as a string), so the two can be
// compared field by field. NUMBER(key, value) and TEXT(key, literal) say how one member is written; the list
// ends without a comma.
#pragma once

#define TETRAD_FACT_STRING_(x) #x
#define TETRAD_FACT_STRING(x) TETRAD_FACT_STRING_(x)

#if defined(__x86_64__)
#define TETRAD_FACT_MACHINE "x86_64"
#elif defined(__aarch64__)
#define TETRAD_FACT_MACHINE "aarch64"
#else
#error "Tetrad supports x86-64 and aarch64"
#endif

#if __SIZEOF_POINTER__ == 8
#define TETRAD_FACT_POINTER_BITS 64
#else
#error "Tetrad supports 64-bit machines"
#endif

#if defined(__clang__)
#define TETRAD_FACT_COMPILER "clang"
#define TETRAD_FACT_COMPILER_MAJOR __clang_major__
#define TETRAD_FACT_COMPILER_MINOR __clang_minor__
#else
#define TETRAD_FACT_COMPILER "gcc"
#define TETRAD_FACT_COMPILER_MAJOR __GNUC__
#define TETRAD_FACT_COMPILER_MINOR __GNUC_MINOR__
#endif

// <version> defines the library's own macros and nothing else.
#include <version>

#if defined(__GLIBCXX__)
#define TETRAD_FACT_CXX_LIBRARY "libstdc++"
#define TETRAD_FACT_CXX_LIBRARY_RELEASE _GLIBCXX_RELEASE
#define TETRAD_FACT_CXX11_ABI _GLIBCXX_USE_CXX11_ABI
#else
#define TETRAD_FACT_CXX_LIBRARY "libc++"
#define TETRAD_FACT_CXX_LIBRARY_RELEASE 0
#define TETRAD_FACT_CXX11_ABI 1
#endif

#if defined(_GLIBCXX_DEBUG)
#define TETRAD_FACT_CXX_LIBRARY_DEBUG 1
#else
#define TETRAD_FACT_CXX_LIBRARY_DEBUG 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TETRAD_FACT_ASAN 1
#else
#define TETRAD_FACT_ASAN 0
#endif
#if defined(__SANITIZE_THREAD__)
#define TETRAD_FACT_TSAN 1
#else
#define TETRAD_FACT_TSAN 0
#endif

#if defined(__cpp_exceptions)
#define TETRAD_FACT_EXCEPTIONS 1
#else
#define TETRAD_FACT_EXCEPTIONS 0
#endif
#if defined(__GXX_RTTI)
#define TETRAD_FACT_RTTI 1
#else
#define TETRAD_FACT_RTTI 0
#endif

// clang-format off
#define TETRAD_COMPILED_FACTS(NUMBER, TEXT)                      \
  TEXT("machine", TETRAD_FACT_MACHINE, ",")                      \
  NUMBER("pointer_bits", TETRAD_FACT_POINTER_BITS, ",")          \
  TEXT("compiler", TETRAD_FACT_COMPILER, ",")                    \
  NUMBER("compiler_major", TETRAD_FACT_COMPILER_MAJOR, ",")      \
  NUMBER("compiler_minor", TETRAD_FACT_COMPILER_MINOR, ",")      \
  NUMBER("cxx_abi", __GXX_ABI_VERSION, ",")                      \
  TEXT("cxx_library", TETRAD_FACT_CXX_LIBRARY, ",")              \
  NUMBER("cxx_library_release", TETRAD_FACT_CXX_LIBRARY_RELEASE, ",") \
  NUMBER("cxx_library_debug", TETRAD_FACT_CXX_LIBRARY_DEBUG, ",") \
  NUMBER("cxx11_abi", TETRAD_FACT_CXX11_ABI, ",")                \
  NUMBER("exceptions", TETRAD_FACT_EXCEPTIONS, ",")              \
  NUMBER("rtti", TETRAD_FACT_RTTI, ",")                          \
  NUMBER("asan", TETRAD_FACT_ASAN, ",")                          \
  NUMBER("tsan", TETRAD_FACT_TSAN, "")
// clang-format on
