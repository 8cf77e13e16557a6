#include <tetrad/base/plugin.h>

#include "kvc_persistent.h"

TETRAD_PLUGIN(tetrad::Provides<"kv_cache", tetrad::KvPolicy, tetrad::kvc_persistent::KvcPersistent>);
