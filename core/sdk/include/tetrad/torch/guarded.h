// torch_guarded: what guarded() (status.h) is to plain C++, for the functions of a plugin that call libtorch.
// It switches autograd off for the call (the graph is the host's) and gives libtorch's errors their code: an
// allocation that failed on a device is out_of_memory, everything else is internal, with the message but not
// the C++ backtrace.
#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <tetrad/base/status.h>

#include <utility>

namespace tetrad {

template <class F>
Status torch_guarded(F&& f) noexcept {
  return guarded([&] {
    const at::NoGradGuard no_grad;
    try {
      std::forward<F>(f)();
    } catch (const c10::OutOfMemoryError& e) {
      throw StatusError(StatusCode::out_of_memory, e.what_without_backtrace());
    } catch (const c10::Error& e) {
      throw StatusError(StatusCode::internal, e.what_without_backtrace());
    }
  });
}

}  // namespace tetrad
