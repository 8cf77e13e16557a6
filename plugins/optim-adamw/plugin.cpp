#include <tetrad/base/plugin.h>

#include "optim_adamw.h"

TETRAD_PLUGIN(tetrad::Provides<"optimizer", tetrad::Optimizer, tetrad::optim_adamw::OptimAdamW>);
