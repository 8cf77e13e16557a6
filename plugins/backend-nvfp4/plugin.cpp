#include <tetrad/base/plugin.h>

#include "backend_nvfp4.h"

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, tetrad::backend_nvfp4::BackendNvfp4>);
