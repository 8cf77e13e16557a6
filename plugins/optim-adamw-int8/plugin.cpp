#include <tetrad/base/plugin.h>

#include "optim_adamw_int8.h"

TETRAD_PLUGIN(tetrad::Provides<"optimizer", tetrad::Optimizer, tetrad::optim_adamw_int8::OptimAdamWInt8>);
