// What core/ops/cuda/device.cuh gives the kernels that a test runs on the CPU.
#pragma once

#include "ops/cuda/kernels.h"
