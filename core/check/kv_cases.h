// The cases of kind "kv_cache": claims against capability bits, life cycle, steps (write is idempotent,
// commit alone moves lengths), every optional operation that the bits promise and the refusal of those they
// do not, addresses and memory, bad calls, and random sequences against a naive cache.
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <vector>

namespace tetrad::check {

std::vector<Case> kv_cases(const Target& target);

// kv_sequences.cpp
Result check_kv_fork(const Target& target, at::ScalarType dtype);
Result check_kv_evict(const Target& target, at::ScalarType dtype);
Result check_kv_transfer(const Target& target, at::ScalarType dtype);
Result check_kv_addresses(const Target& target, at::ScalarType dtype);
Result check_kv_random(const Target& target, at::ScalarType dtype);

}  // namespace tetrad::check
