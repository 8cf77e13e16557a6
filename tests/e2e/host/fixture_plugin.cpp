// Two empty kinds, so that a config can name a plugin that the launcher accepts.
#include <tetrad/base/plugin.h>

namespace {

struct Empty {
  virtual ~Empty() = default;
};
struct Nothing final : Empty {};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", Empty, Nothing>, tetrad::Provides<"kv_cache", Empty, Nothing>);
