#include <tetrad/base/plugin.h>

#include "kvc_none.h"

TETRAD_PLUGIN(tetrad::Provides<"kv_cache", tetrad::KvPolicy, tetrad::kvc_none::KvcNone>);
