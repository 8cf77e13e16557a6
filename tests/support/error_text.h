// The message of the tetrad::Error that a call throws, so that tests compare whole messages.
#pragma once

#include <tetrad/base/error.h>

#include <string>

namespace tetrad::test {

template <class F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace tetrad::test
