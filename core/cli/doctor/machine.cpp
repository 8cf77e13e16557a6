#include "cli/doctor/machine.h"

#include "guard/cgroup.h"
#include "guard/proc.h"
#include "sdk/base/or_null.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

namespace tetrad::cli {

using nlohmann::json;

namespace {

// Those that change which kernels run here.
constexpr std::array<std::string_view, 17> interesting = {
    "sse4_2",   "avx",        "avx2",        "fma",         "f16c",     "avx512f",
    "avx512bw", "avx512vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd",
    "asimdhp",  "asimddp",    "sve",         "bf16",        "i8mm"};

std::string read_text(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

template <class F>
void for_each_line(std::string_view text, F&& f) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    f(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

json parse_cpuinfo(std::string_view text) {
  std::string model;
  std::set<std::string, std::less<>> features;
  for_each_line(text, [&](std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    const std::string_view key = trim(line.substr(0, colon));
    std::string_view value = trim(line.substr(colon + 1));
    if (model.empty() && (key == "model name" || key == "Model" || key == "CPU part")) model = value;
    if (key != "flags" && key != "Features") return;
    while (!value.empty()) {
      const std::size_t end = std::min(value.find(' '), value.size());
      const std::string_view word = value.substr(0, end);
      if (std::find(interesting.begin(), interesting.end(), word) != interesting.end())
        features.emplace(word);
      value.remove_prefix(std::min(end + 1, value.size()));
    }
  });
  return {{"model", model.empty() ? json(nullptr) : json(model)}, {"features", features}};
}

std::string parse_os_name(std::string_view os_release) {
  std::string name;
  for_each_line(os_release, [&](std::string_view line) {
    constexpr std::string_view key = "PRETTY_NAME=";
    if (!line.starts_with(key)) return;
    line.remove_prefix(key.size());
    if (line.size() >= 2 && line.front() == '"' && line.back() == '"') line = line.substr(1, line.size() - 2);
    name = line;
  });
  return name;
}

json machine_facts() {
  json facts = json::object();
  const std::string os = parse_os_name(read_text("/etc/os-release"));
  facts["os"] = os.empty() ? json(nullptr) : json(os);
  utsname system{};
  if (::uname(&system) == 0) {
    facts["kernel"] = std::string(system.sysname) + " " + system.release;
    facts["architecture"] = system.machine;
  }
  facts["cpu"] = parse_cpuinfo(read_text("/proc/cpuinfo"));
  facts["cpu"]["cores"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  const guard::MemInfo memory = guard::read_meminfo();
  facts["memory"] = {{"total_bytes", or_null(memory.total_bytes)},
                     {"available_bytes", or_null(memory.available_bytes)},
                     {"cgroup_limit_bytes", or_null(guard::cgroup_memory_limit())}};
  return facts;
}

}  // namespace tetrad::cli
