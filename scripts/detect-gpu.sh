#!/usr/bin/env bash
# detect-gpu.sh: prints the CUDA architectures of this machine's NVIDIA GPUs in CMake's words (90a-real;120a-real), or
# nothing where no driver answers. It asks the driver itself: nvidia-smi may be missing, and says 'Not Supported' for much of
# what a unified-memory machine has.
set -euo pipefail
command -v python3 >/dev/null || exit 0
python3 - <<'PY'
import ctypes
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    raise SystemExit(0)
count = ctypes.c_int()
if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
    raise SystemExit(0)
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
found = set()
for i in range(count.value):
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), i) != 0:
        continue
    cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    if major.value < 8:
        continue  # older than sm_80: Tetrad's CUDA half does not run there
    # From sm_90 on, the architecture-specific variant: tensor-core instructions need it.
    found.add((major.value, minor.value, "a" if major.value >= 9 else ""))
print(";".join(f"{major}{minor}{suffix}-real" for major, minor, suffix in sorted(found)))
PY
