// A stand-in for libnvidia-ml.so.1 that plays what the file named by FAKE_NVML_FILE says, read again at each
// call, so that a test plays a trace by replacing the file. Lines:
//   name NAME            of the one device (default "Fake GPU")
//   memory TOTAL FREE    bytes; without it MemoryInfo is "not supported"
//   memory_rc N          MemoryInfo answers N
//   row PID BYTES        a compute process; BYTES may be "na" (not available)
//   rows_rc N            the process list answers N
//   stride N             bytes from row to row (16, 24 or 32; default 24)
//   ats                  the device shares the CPU's address translation
//   slow MS              each call takes that long
//   hang                 no call returns
//   init_rc N            nvmlInit answers N
// Without the variable: one device with 8 GiB, all free, no process.
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Row {
  std::uint32_t pid;
  std::uint64_t bytes;
};

struct Script {
  std::string name = "Fake GPU";
  bool has_memory = false;
  std::uint64_t total = 0, free = 0;
  int memory_rc = 0, rows_rc = 0, init_rc = 0;
  std::vector<Row> rows;
  std::size_t stride = 24;
  bool ats = false;
};

void sleep_ms(long ms) {
  const timespec wait{ms / 1000, (ms % 1000) * 1'000'000};
  ::nanosleep(&wait, nullptr);
}

Script play() {
  Script script;
  const char* file = std::getenv("FAKE_NVML_FILE");
  if (file == nullptr) {
    script.has_memory = true;
    script.total = script.free = std::uint64_t{8} << 30;
    return script;
  }
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    words >> key;
    if (key == "name") std::getline(words >> std::ws, script.name);
    if (key == "memory") script.has_memory = static_cast<bool>(words >> script.total >> script.free);
    if (key == "memory_rc") words >> script.memory_rc;
    if (key == "rows_rc") words >> script.rows_rc;
    if (key == "init_rc") words >> script.init_rc;
    if (key == "stride") words >> script.stride;
    if (key == "ats") script.ats = true;
    if (key == "row") {
      Row row{};
      std::string bytes;
      words >> row.pid >> bytes;
      row.bytes = bytes == "na" ? ~std::uint64_t{0} : std::strtoull(bytes.c_str(), nullptr, 10);
      script.rows.push_back(row);
    }
    long ms = 0;
    if (key == "slow" && words >> ms) sleep_ms(ms);
    if (key == "hang") {
      for (;;) ::pause();
    }
  }
  return script;
}

void put(char* to, unsigned size, const std::string& text) {
  std::strncpy(to, text.c_str(), size - 1);
  to[size - 1] = '\0';
}

}  // namespace

extern "C" {

#define FAKE __attribute__((visibility("default")))

FAKE int nvmlInit_v2() {
  return play().init_rc;
}
FAKE int nvmlShutdown() {
  return 0;
}
FAKE const char* nvmlErrorString(int code) {
  switch (code) {
    case 3:
      return "Not Supported";
    case 15:
      return "GPU is lost";
    case 18:
      return "Driver/library version mismatch";
    default:
      return "Unknown Error";
  }
}
FAKE int nvmlSystemGetDriverVersion(char* text, unsigned size) {
  put(text, size, "999.1");
  return 0;
}
FAKE int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 1;
  return 0;
}
FAKE int nvmlDeviceGetHandleByIndex_v2(unsigned, void** device) {
  static int one;
  *device = &one;
  return 0;
}
FAKE int nvmlDeviceGetUUID(void*, char* text, unsigned size) {
  put(text, size, "GPU-fake-0");
  return 0;
}
FAKE int nvmlDeviceGetName(void*, char* text, unsigned size) {
  put(text, size, play().name);
  return 0;
}
FAKE int nvmlDeviceGetAddressingMode(void*, void* mode) {
  static_cast<std::uint32_t*>(mode)[1] = play().ats ? 2 : 0;
  return 0;
}
FAKE int nvmlDeviceGetMemoryInfo_v2(void*, void* at) {
  struct Memory {
    std::uint32_t version;
    std::uint64_t total, reserved, free, used;
  };
  auto* memory = static_cast<Memory*>(at);
  if (memory->version != (sizeof(Memory) | (2U << 24U))) return 25;
  const Script script = play();
  if (script.memory_rc != 0) return script.memory_rc;
  if (!script.has_memory) return 3;
  memory->total = script.total;
  memory->free = script.free;
  memory->used = script.total - script.free;
  return 0;
}
FAKE int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, void* at) {
  const Script script = play();
  if (script.rows_rc != 0) return script.rows_rc;
  const unsigned room = *count;
  *count = static_cast<unsigned>(script.rows.size());
  if (script.rows.size() > room) return 7;
  auto* to = static_cast<unsigned char*>(at);
  for (const Row& row : script.rows) {
    std::memset(to, 0, script.stride);
    std::memcpy(to, &row.pid, sizeof row.pid);
    std::memcpy(to + 8, &row.bytes, sizeof row.bytes);
    to += script.stride;
  }
  return 0;
}
}
