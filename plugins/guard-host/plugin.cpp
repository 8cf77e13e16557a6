#include <tetrad/base/plugin.h>

#include "guard_host.h"

TETRAD_PLUGIN(tetrad::Provides<"guard", tetrad::GuardSensor, tetrad::guard_host::GuardHost>);
