// A main() for fuzz targets where the compiler has no libFuzzer, with the same command line for what both
// have: TARGET [-runs=N] [-max_total_time=SECONDS] [-seed=K] [-max_len=BYTES] [-dict=FILE] CORPUS...
// It replays every file of the corpus, then mutates and splices them with a generator of fixed seed: no
// coverage feedback, but the same inputs on every machine. An input that ends the process is kept as
// crash-<hash> in the working directory.
#include "fuzz.h"

#include <fcntl.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

const Bytes* current = nullptr;

std::uint64_t hash(const Bytes& bytes) {
  std::uint64_t h = 1469598103934665603ULL;
  for (const std::uint8_t b : bytes) h = (h ^ b) * 1099511628211ULL;
  return h;
}

// Only async-signal-safe calls, apart from formatting sixteen digits by hand.
void keep_input(int number) {
  char name[] = "crash-0000000000000000";
  if (current != nullptr) {
    std::uint64_t h = hash(*current);
    for (int i = 0; i < 16; ++i, h >>= 4) name[21 - i] = "0123456789abcdef"[h & 15];
    const int fd = ::open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (fd >= 0 && ::write(fd, current->data(), current->size()) >= 0) {
      static const char text[] = "fuzz: the input is kept as ";
      if (::write(STDERR_FILENO, text, sizeof text - 1) > 0 &&
          ::write(STDERR_FILENO, name, sizeof name - 1) > 0)
        (void)!::write(STDERR_FILENO, "\n", 1);
    }
  }
  std::signal(number, SIG_DFL);
  std::raise(number);
}

Bytes read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Lines `"text"` or `name="text"` with \xNN, \\ and \" inside.
std::vector<Bytes> read_dictionary(const fs::path& file) {
  std::vector<Bytes> words;
  std::ifstream in(file);
  tetrad::fuzz::require(in.good(), "the dictionary cannot be read");
  for (std::string line; std::getline(in, line);) {
    const std::size_t open = line.find('"');
    if (line.empty() || line[0] == '#' || open == std::string::npos) continue;
    Bytes word;
    for (std::size_t i = open + 1; i < line.size() && line[i] != '"'; ++i) {
      if (line[i] != '\\') {
        word.push_back(static_cast<std::uint8_t>(line[i]));
      } else if (line[++i] == 'x') {
        word.push_back(static_cast<std::uint8_t>(std::stoi(line.substr(i + 1, 2), nullptr, 16)));
        i += 2;
      } else {
        word.push_back(static_cast<std::uint8_t>(line[i]));
      }
    }
    words.push_back(std::move(word));
  }
  return words;
}

class Mutator {
 public:
  Mutator(std::uint64_t seed, std::vector<Bytes> corpus, std::vector<Bytes> words, std::size_t longest)
      : random_(seed), corpus_(std::move(corpus)), words_(std::move(words)), longest_(longest) {}

  Bytes next() {
    Bytes bytes = corpus_[below(corpus_.size())];
    for (std::size_t i = 0, n = 1 + below(4); i < n; ++i) step(bytes);
    if (bytes.size() > longest_) bytes.resize(longest_);
    return bytes;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  void insert(Bytes& bytes, std::size_t at, const Bytes& more) {
    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), more.begin(), more.end());
  }

  Bytes part(const Bytes& bytes) {
    const std::size_t begin = below(bytes.size()),
                      count = 1 + below(std::min<std::size_t>(64, bytes.size() - begin));
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
    return bytes.empty()
               ? Bytes{}
               : Bytes(from, from + static_cast<std::ptrdiff_t>(std::min(count, bytes.size() - begin)));
  }

  void step(Bytes& bytes) {
    static const Bytes numbers[] = {
        {'0'},
        {'-', '1'},
        {'1', 'e', '9', '9', '9'},
        {'4', '2', '9', '4', '9', '6', '7', '2', '9', '6'},
        {'9', '2', '2', '3', '3', '7', '2', '0', '3', '6', '8', '5', '4', '7', '7', '5', '8', '0', '7'},
        {'n', 'u', 'l', 'l'}};
    const std::size_t at = below(bytes.size());
    switch (below(10)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << below(8)));
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        insert(bytes, at, {static_cast<std::uint8_t>(random_())});
        break;
      case 3: {
        const std::size_t count = std::min(1 + below(32), bytes.size() - at);
        const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
        bytes.erase(from, from + static_cast<std::ptrdiff_t>(count));
        break;
      }
      case 4:
        insert(bytes, at, part(bytes));
        break;
      case 5:
        insert(bytes, at, part(corpus_[below(corpus_.size())]));
        break;
      case 6:
        if (!words_.empty()) insert(bytes, at, words_[below(words_.size())]);
        break;
      case 7: {  // a word instead of what stands there
        const Bytes word = words_.empty() ? Bytes{0xFF, 0xFF} : words_[below(words_.size())];
        std::copy_n(word.begin(), std::min(word.size(), bytes.size() - at),
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      }
      case 8: {  // another number
        const auto digit = std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(at), bytes.end(),
                                        [](std::uint8_t b) { return b >= '0' && b <= '9'; });
        const auto end = std::find_if(digit, bytes.end(), [](std::uint8_t b) { return b < '0' || b > '9'; });
        const auto place = bytes.erase(digit, end);
        const Bytes& number = numbers[below(std::size(numbers))];
        bytes.insert(place, number.begin(), number.end());
        break;
      }
      default:
        bytes.resize(at);
    }
  }

  std::mt19937_64 random_;
  std::vector<Bytes> corpus_;
  std::vector<Bytes> words_;
  std::size_t longest_;
};

void run_one(const Bytes& bytes) {
  current = &bytes;
  // A copy of the exact size, so that a sanitizer sees a read past its end.
  const std::vector<std::uint8_t> exact(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  current = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 0, seed = 1;
  double seconds = 0;
  std::size_t longest = 1 << 16;
  std::vector<Bytes> corpus, words;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value = [&](std::string_view name) -> const char* {
      return argument.starts_with(name) ? argv[i] + name.size() : nullptr;
    };
    if (const char* v = value("-runs=")) {
      runs = std::strtoull(v, nullptr, 10);
    } else if (const char* v2 = value("-max_total_time=")) {
      seconds = std::strtod(v2, nullptr);
    } else if (const char* v3 = value("-seed=")) {
      seed = std::strtoull(v3, nullptr, 10);
    } else if (const char* v4 = value("-max_len=")) {
      longest = std::strtoull(v4, nullptr, 10);
    } else if (const char* v5 = value("-dict=")) {
      words = read_dictionary(v5);
    } else if (argument.starts_with('-')) {
      std::fprintf(stderr, "unknown option %s\n", argv[i]);
      return 2;
    } else if (fs::is_directory(argument)) {
      std::vector<fs::path> files;
      for (const auto& entry : fs::recursive_directory_iterator(argument))
        if (entry.is_regular_file()) files.push_back(entry.path());
      std::sort(files.begin(), files.end());
      for (const fs::path& file : files) corpus.push_back(read_bytes(file));
    } else {
      corpus.push_back(read_bytes(argument));
    }
  }
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(number, keep_input);
  if (corpus.empty()) {
    std::fprintf(stderr, "no corpus\n");
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  for (const Bytes& bytes : corpus) run_one(bytes);
  std::uint64_t done = corpus.size();
  Mutator mutator(seed, std::move(corpus), std::move(words), longest);
  while ((runs == 0 || done < runs) && (seconds == 0 || elapsed() < seconds) && (runs > 0 || seconds > 0)) {
    run_one(mutator.next());
    ++done;
  }
  std::fprintf(stderr, "%llu executions in %.1f s\n", static_cast<unsigned long long>(done), elapsed());
  return 0;
}
