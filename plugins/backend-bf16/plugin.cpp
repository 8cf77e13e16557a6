#include <tetrad/base/plugin.h>

#include "backend_bf16.h"

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, tetrad::backend_bf16::BackendBf16>);
