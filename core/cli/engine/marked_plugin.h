// A plugin's object behind its own interface, with a breadcrumb (plugin/breadcrumb.h) around every call: when
// the process crashes inside, its last words name the plugin and the function. Adds two stores to
// thread-local memory and one virtual call; forwards everything else as it is. A function that an
// interface gains must be forwarded here too, also one with a default body (tests/unit/cli looks for it).
#pragma once

#include <tetrad/torch/kv_policy.h>
#include <tetrad/torch/linear.h>
#include <tetrad/torch/optimizer.h>

#include <memory>

namespace tetrad::cli {

// `object` and `plugin`, the plugin's id, must outlive the result.
std::unique_ptr<LinearBackend> mark_calls(LinearBackend& object, const char* plugin);
std::unique_ptr<KvPolicy> mark_calls(KvPolicy& object, const char* plugin);
std::unique_ptr<Optimizer> mark_calls(Optimizer& object, const char* plugin);

}  // namespace tetrad::cli
