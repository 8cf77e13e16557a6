# Cross-compiling for arm64 on x86-64 Debian or Ubuntu (g++-aarch64-linux-gnu), tests run by qemu-user.
# TETRAD_ARM64_SYSROOT: a folder with the libraries for arm64; scripts/arm64-sysroot.sh makes it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
if(NOT TETRAD_ARM64_SYSROOT)
  set(TETRAD_ARM64_SYSROOT "$ENV{TETRAD_ARM64_SYSROOT}")
endif()
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES TETRAD_ARM64_SYSROOT)
set(CMAKE_FIND_ROOT_PATH ${TETRAD_ARM64_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# pkg-config: only the sysroot's files, their paths moved below it.
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_LIBDIR}
  "${TETRAD_ARM64_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${TETRAD_ARM64_SYSROOT}/usr/share/pkgconfig")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${TETRAD_ARM64_SYSROOT}")

find_program(TETRAD_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(TETRAD_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${TETRAD_QEMU} -L /usr/aarch64-linux-gnu)
endif()
# The cross compiler finds its own linker alone.
set(TETRAD_MOLD OFF)
