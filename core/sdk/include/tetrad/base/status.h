// What crosses the plugin line instead of an exception: a code and a text. Plugin interfaces are noexcept and
// return a Status; the author-facing wrappers of the SDK turn exceptions into one (guarded()), and the host
// turns a failed one back into an Error that names the plugin.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <utility>

namespace tetrad {

enum class StatusCode : int {
  ok = 0,
  invalid_option,  // an option's value makes no sense to the plugin
  unsupported,     // device, dtype, shape or method that the plugin cannot do; say which
  out_of_memory,   // kept apart so that the guard and the KV policy can react
  device_error,
  numerics,  // a non-finite value was met
  internal,
};

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::ok;
  std::string message;

  bool ok() const noexcept { return code == StatusCode::ok; }
  static Status unsupported(std::string why) { return {StatusCode::unsupported, std::move(why)}; }
  static Status invalid_option(std::string why) { return {StatusCode::invalid_option, std::move(why)}; }
};

// Thrown by plugin authors inside guarded() to choose the code.
class StatusError : public std::exception {
 public:
  StatusError(StatusCode code, std::string message) : status_{code, std::move(message)} {}
  const char* what() const noexcept override { return status_.message.c_str(); }
  const Status& status() const noexcept { return status_; }

 private:
  Status status_;
};

// Runs f and converts everything it throws into a Status; for the noexcept functions of plugin interfaces.
template <class F>
Status guarded(F&& f) noexcept {
  try {
    std::forward<F>(f)();
    return {};
  } catch (const StatusError& e) {
    return e.status();
  } catch (const std::bad_alloc&) {
    return {StatusCode::out_of_memory, "out of memory"};
  } catch (const std::exception& e) {
    return {StatusCode::internal, e.what()};
  } catch (...) {
    return {StatusCode::internal, "an exception that is not a std::exception"};
  }
}

}  // namespace tetrad
