#include "cli/chat/line_editor.h"

#include "text/utf8.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cwchar>
#include <filesystem>
#include <string_view>

namespace tetrad::cli {

namespace {

namespace fs = std::filesystem;

constexpr int history_lines = 1000;
constexpr const char* paste_on = "\x1b[?2004h";
constexpr const char* paste_off = "\x1b[?2004l";
constexpr std::wstring_view paste_end = L"\x1b[201~";

static_assert(sizeof(wchar_t) == 4, "a wide character is a code point");

std::wstring widen(std::string_view text) {
  std::wstring wide;
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Char c = text::decode_utf8(text, at);
    wide.push_back(static_cast<wchar_t>(c.code_point));
    at += c.length;
  }
  return wide;
}

std::string narrow(std::wstring_view wide) {
  std::string text;
  for (const wchar_t c : wide) text::append_utf8(text, static_cast<char32_t>(c));
  return text;
}

// Writes the number of each signal into a pipe: the editor is waiting in poll().
int signal_pipe_in = -1;
void tell(int signal) {
  const int reason = errno;
  const auto byte = static_cast<unsigned char>(signal);
  const ssize_t written = ::write(signal_pipe_in, &byte, 1);
  static_cast<void>(written);
  errno = reason;
}

// Characters are UTF-8 in this thread for as long as the object lives, also under LANG=C.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ == nullptr) throw Error("[chat] this system has no C.UTF-8 locale, which line editing needs");
    before_ = ::uselocale(locale_);
  }
  ~Utf8Locale() {
    ::uselocale(before_);
    ::freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_{};
};

}  // namespace

std::string default_history_file() {
  if (const char* chosen = std::getenv("TETRAD_HISTORY")) return chosen;
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::string(state) + "/tetrad/history";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return std::string(home) + "/.local/state/tetrad/history";
}

class LineEditor::Terminal {
 public:
  explicit Terminal(EditorOptions options) : options_(std::move(options)), prompt_(widen(options_.prompt)) {
    out_ = ::fdopen(::dup(STDERR_FILENO), "w");
    if (out_ == nullptr || ::pipe2(signals_.data(), O_CLOEXEC | O_NONBLOCK) != 0)
      throw Error(std::string("[chat] the line editor cannot be set up: ") + std::strerror(errno));
    edit_ = ::el_init("host", stdin, out_, out_);
    if (edit_ == nullptr) throw Error("[chat] the line editor cannot be set up");
    history_ = ::history_winit();
    HistEventW event;
    ::history_w(history_, &event, H_SETSIZE, history_lines);
    ::history_w(history_, &event, H_SETUNIQUE, 1);
    ::el_wset(edit_, EL_CLIENTDATA, this);
    ::el_wset(edit_, EL_EDITOR, L"emacs");
    ::el_wset(edit_, EL_SIGNAL, 0);  // libedit's handlers would signal the launcher too
    ::el_wset(edit_, EL_SETTY, L"-d", L"-icrnl", L"-inlcr", nullptr);  // a paste's "\r\n" is one line end
    ::el_wset(edit_, EL_HIST, history_w, history_);
    ::el_wset(edit_, EL_PROMPT, &Terminal::show_prompt);
    ::el_wset(edit_, EL_GETCFN, &Terminal::read_key);
    bind_keys();
    load_history();
    signal_pipe_in = signals_[1];
    listen(SIGWINCH, before_winch_);
    listen(SIGCONT, before_cont_);
  }

  ~Terminal() {
    ::sigaction(SIGWINCH, &before_winch_, nullptr);
    ::sigaction(SIGCONT, &before_cont_, nullptr);
    signal_pipe_in = -1;
    ::el_end(edit_);
    ::history_wend(history_);
    std::fclose(out_);
    for (const int fd : signals_) ::close(fd);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  Line next() {
    drain(options_.wake_fd);
    drain(signals_[0]);
    ::el_resize(edit_);
    if (state_ != State::interrupted && options_.on_activity) options_.on_activity();
    fresh_after_interrupt_ = state_ == State::interrupted;
    state_ = State::reading;
    ::el_wset(edit_, EL_PREP_TERM,
              1);  // before the prompt: what is typed from then on must not be echoed twice
    write_now(paste_on);
    int count = 0;
    const wchar_t* got = ::el_wgets(edit_, &count);
    write_now(paste_off);
    if (state_ == State::interrupted) {
      write_now("^C\n");
      return {Line::Kind::interrupted, {}};
    }
    if (got == nullptr || count <= 0) {
      write_now("\n");
      return {};
    }
    std::wstring line(got, static_cast<std::size_t>(count));
    while (!line.empty() && (line.back() == L'\n' || line.back() == L'\r')) line.pop_back();
    remember(line);
    return {Line::Kind::text, narrow(line)};
  }

 private:
  enum class State { reading, interrupted, ended };

  static Terminal& of(EditLine* edit) {
    void* self = nullptr;
    ::el_wget(edit, EL_CLIENTDATA, &self);
    return *static_cast<Terminal*>(self);
  }

  static wchar_t* show_prompt(EditLine* edit) { return of(edit).prompt_.data(); }
  static int read_key(EditLine* edit, wchar_t* key) { return of(edit).next_character(*key); }

  void bind(const wchar_t* keys, const wchar_t* what) { ::el_wset(edit_, EL_BIND, keys, what, nullptr); }

  void bind_keys() {
    ::el_wset(edit_, EL_ADDFN, L"tetrad-paste", L"Insert pasted text with its lines", &Terminal::paste);
    ::el_wset(edit_, EL_ADDFN, L"tetrad-newline", L"Begin a new line within the message", &Terminal::newline);
    bind(L"\\e[200~", L"tetrad-paste");
    bind(L"\\e\\r", L"tetrad-newline");
    bind(L"\\e\\n", L"tetrad-newline");
    bind(L"\\t", L"ed-insert");
    bind(L"\\e[3~", L"ed-delete-next-char");
    bind(L"\\e[H", L"ed-move-to-beg");
    bind(L"\\e[F", L"ed-move-to-end");
    bind(L"\\e[1~", L"ed-move-to-beg");
    bind(L"\\e[4~", L"ed-move-to-end");
    bind(L"\\e[1;5C", L"em-next-word");
    bind(L"\\e[1;5D", L"ed-prev-word");
    bind(L"^W", L"ed-delete-prev-word");
    bind(L"^U", L"vi-kill-line-prev");
    bind(L"^R", L"em-inc-search-prev");
  }

  static unsigned char paste(EditLine* edit, wint_t) {
    Terminal& self = of(edit);
    std::wstring text;
    while (!text.ends_with(paste_end)) {
      wchar_t key = 0;
      if (self.next_character(key) != 1) return CC_ERROR;  // the next read says why
      text.push_back(key);
    }
    text.resize(text.size() - paste_end.size());
    std::wstring clean;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == L'\r') {
        if (i + 1 < text.size() && text[i + 1] == L'\n') continue;
        clean.push_back(L'\n');
      } else if (text[i] >= L' ' || text[i] == L'\n' || text[i] == L'\t') {
        clean.push_back(text[i]);
      }
    }
    while (!clean.empty() && clean.back() == L'\n') clean.pop_back();
    return clean.empty() || ::el_winsertstr(edit, clean.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  static unsigned char newline(EditLine* edit, wint_t) {
    return ::el_winsertstr(edit, L"\n") == 0 ? CC_REFRESH : CC_ERROR;
  }

  // 1 with a character, 0 at the end of the input, -1 when the line is given up.
  int next_character(wchar_t& key) {
    if (state_ != State::reading) return state_ == State::ended ? 0 : -1;
    for (;;) {
      if (!bytes_.empty()) {
        const text::Utf8Char c = text::decode_utf8(bytes_, 0);
        if (c.status != text::Utf8Status::incomplete) {
          key = static_cast<wchar_t>(c.code_point);
          bytes_.erase(0, c.length);
          if (fresh_after_interrupt_ && options_.on_activity) options_.on_activity();
          fresh_after_interrupt_ = false;
          return 1;
        }
      }
      if (!wait_for_bytes()) return state_ == State::ended ? 0 : -1;
    }
  }

  bool wait_for_bytes() {
    for (;;) {
      std::array<pollfd, 3> fds = {
          {{STDIN_FILENO, POLLIN, 0}, {options_.wake_fd, POLLIN, 0}, {signals_[0], POLLIN, 0}}};
      if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) {
        state_ = State::ended;
        return false;
      }
      if (fds[1].revents != 0) {
        drain(options_.wake_fd);
        bytes_.clear();
        state_ = State::interrupted;
        return false;
      }
      if (fds[2].revents != 0) take_signals();
      if (fds[0].revents == 0) continue;
      std::array<char, 4096> chunk;
      const ssize_t got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got <= 0) {
        state_ = State::ended;
        return false;
      }
      bytes_.append(chunk.data(), static_cast<std::size_t>(got));
      return true;
    }
  }

  void take_signals() {
    unsigned char signal = 0;
    bool resized = false;
    while (::read(signals_[0], &signal, 1) == 1) {
      resized = resized || signal == SIGWINCH;
      if (signal != SIGCONT) continue;
      // Whoever had the terminal meanwhile has set it as it likes, and the cursor is on a line of its own.
      ::el_wset(edit_, EL_PREP_TERM, 0);
      ::el_wset(edit_, EL_PREP_TERM, 1);
      write_now(paste_on);
      resized = false;
      ::el_resize(edit_);
      ::el_wset(edit_, EL_REFRESH);
    }
    if (!resized) return;
    ::el_resize(edit_);  // forgets what is on the screen: take it away before it is drawn again
    const int rows = rows_above_cursor();
    write_now(rows > 0 ? fmt::format("\r\x1b[{}A\x1b[J", rows).c_str() : "\r\x1b[J");
    ::el_wset(edit_, EL_REFRESH);
  }

  // Rows of the terminal between the prompt and the cursor.
  int rows_above_cursor() const {
    winsize size{};
    const int columns =
        ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? static_cast<int>(size.ws_col) : 80;
    const LineInfoW* line = ::el_wline(edit_);
    int row = 0, column = static_cast<int>(prompt_.size());
    for (const wchar_t* at = line->buffer; at != line->cursor; ++at) {
      const int width = *at == L'\t' ? 8 - column % 8 : std::max(0, ::wcwidth(*at));
      if (*at == L'\n' || column + width > columns) {
        ++row;
        column = 0;
      }
      if (*at != L'\n') column += width;
    }
    return row;
  }

  static void listen(int signal, struct sigaction& before) {
    struct sigaction action {};
    action.sa_handler = tell;
    action.sa_flags = SA_RESTART;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, &before);
  }

  static void drain(int fd) {
    if (fd < 0) return;
    std::array<char, 64> unused;
    pollfd entry{fd, POLLIN, 0};
    while (::poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN) != 0 &&
           ::read(fd, unused.data(), unused.size()) > 0) {
    }
  }

  void write_now(const char* text) {
    std::fputs(text, out_);
    std::fflush(out_);
  }

  void load_history() {
    if (options_.history_file.empty()) return;
    HistEventW event;
    ::history_w(history_, &event, H_LOAD, options_.history_file.c_str());  // none yet is no error
  }

  void remember(const std::wstring& line) {
    if (line.find_first_not_of(L" \t\n") == std::wstring::npos) return;
    HistEventW event;
    ::history_w(history_, &event, H_ENTER, line.c_str());
    if (options_.history_file.empty()) return;
    std::error_code failed;
    fs::create_directories(fs::path(options_.history_file).parent_path(), failed);
    if (::history_w(history_, &event, H_SAVE, options_.history_file.c_str()) >= 0) return;
    std::fprintf(stderr, "[chat] the history cannot be kept in '%s'; it lasts for this session\n",
                 options_.history_file.c_str());
    options_.history_file.clear();
  }

  EditorOptions options_;
  Utf8Locale locale_;
  std::wstring prompt_;
  EditLine* edit_ = nullptr;
  HistoryW* history_ = nullptr;
  std::FILE* out_ = nullptr;
  std::array<int, 2> signals_{-1, -1};
  struct sigaction before_winch_ {};
  struct sigaction before_cont_ {};
  std::string bytes_;  // read and not yet taken; kept from one line to the next
  State state_ = State::reading;
  bool fresh_after_interrupt_ = false;
};

bool LineEditor::usable() noexcept {
  const char* term = std::getenv("TERM");
  return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1 && term != nullptr && *term != '\0' &&
         std::strcmp(term, "dumb") != 0;
}

LineEditor::LineEditor(EditorOptions options) : terminal_(std::make_unique<Terminal>(std::move(options))) {}

LineEditor::~LineEditor() = default;

Line LineEditor::next() {
  return terminal_->next();
}

}  // namespace tetrad::cli
