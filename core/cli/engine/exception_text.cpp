#include "cli/engine/exception_text.h"

#include <c10/util/Exception.h>
#include <tetrad/base/error.h>

#include <exception>
#include <new>

namespace tetrad::cli {

std::pair<int, std::string> describe_exception() {
  try {
    throw;
  } catch (const Error& e) {
    return {static_cast<int>(e.code()), e.what()};
  } catch (const c10::Error& e) {
    return {static_cast<int>(ExitCode::runtime), std::string("[libtorch] ") + e.what_without_backtrace()};
  } catch (const std::bad_alloc&) {
    return {static_cast<int>(ExitCode::runtime), "[memory] out of host memory"};
  } catch (const std::exception& e) {
    return {static_cast<int>(ExitCode::runtime), std::string("[engine] ") + e.what()};
  } catch (...) {
    return {static_cast<int>(ExitCode::runtime), "[engine] an exception that is not a std::exception"};
  }
}

}  // namespace tetrad::cli
