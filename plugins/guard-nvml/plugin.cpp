#include <tetrad/base/plugin.h>

#include "guard_nvml.h"

TETRAD_PLUGIN(tetrad::Provides<"guard", tetrad::GuardSensor, tetrad::guard_nvml::GuardNvml>);
