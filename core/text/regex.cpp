#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include "sdk/base/printable.h"

#include <tetrad/base/error.h>

#include <pcre2.h>

namespace tetrad::text {
namespace {

std::string pcre2_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

constexpr std::size_t kJitStackStart = 32 * 1024;
constexpr std::size_t kJitStackMax = 16 * 1024 * 1024;
// A pattern that backtracks more than this on one match is hostile; the shipped ones need a few steps a
// character.
constexpr std::uint32_t kMatchLimit = 200'000'000;
constexpr std::uint32_t kHeapLimitKib = 256 * 1024;

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto owner = std::make_shared<Code>();
  owner->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (owner->code == nullptr) {
    throw Error("[text] the regex " + printable(pattern) + " does not compile at offset " +
                std::to_string(offset) + ": " + pcre2_message(error));
  }
  owner->jit = pcre2_jit_compile(owner->code, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(owner);
}

struct Matcher::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
};

Matcher::Matcher(const Regex& regex) : code_(regex.code_), state_(std::make_unique<State>()) {
  state_->data = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  state_->context = pcre2_match_context_create(nullptr);
  if (state_->data == nullptr || state_->context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(state_->context, kMatchLimit);
  pcre2_set_heap_limit(state_->context, kHeapLimitKib);
  if (code_->jit) {
    state_->stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
    if (state_->stack != nullptr) pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
  }
}

Matcher::~Matcher() = default;

std::optional<Span> Matcher::find(std::string_view subject, std::size_t from) {
  const auto run = [&](std::uint32_t options) {
    return pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), from,
                       PCRE2_NO_UTF_CHECK | options, state_->data, state_->context);
  };
  int rc = run(0);
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = run(PCRE2_NO_JIT);  // the interpreter backtracks on the heap
  if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (rc < 0) {
    throw Error("[text] a tokenizer regex failed at byte " + std::to_string(from) + " of a piece of " +
                std::to_string(subject.size()) + " bytes: " + pcre2_message(rc));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state_->data);
  return Span{ends[0], ends[1]};
}

}  // namespace tetrad::text
