// The doctor's parsers on texts of other machines, and its probes against programs that hang, fail and talk
// too much.
#include "cli/doctor/gpu.h"
#include "cli/doctor/machine.h"
#include "cli/doctor/probe.h"
#include "guard/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

namespace tetrad::cli {
namespace {

using nlohmann::json;
using End = ProbeResult::End;

std::int64_t in_seconds(double seconds) {
  return guard::monotonic_ns() + static_cast<std::int64_t>(seconds * 1e9);
}

TEST(Machine, ReadsBothKindsOfCpuinfo) {
  const json x86 = parse_cpuinfo(
      "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512f bmi2\n\nprocessor\t: 1\nmodel "
      "name\t: other\n");
  EXPECT_EQ(x86["model"], "AMD EPYC");
  EXPECT_EQ(x86["features"], json({"avx2", "avx512f"}));
  const json arm =
      parse_cpuinfo("processor : 0\nFeatures : fp asimd sve bf16 i8mm crc32\nCPU part : 0xd85\n");
  EXPECT_EQ(arm["model"], "0xd85");
  EXPECT_EQ(arm["features"], json({"asimd", "bf16", "i8mm", "sve"}));
  EXPECT_TRUE(parse_cpuinfo("")["model"].is_null());
}

TEST(Machine, ReadsTheSystemsName) {
  EXPECT_EQ(parse_os_name("NAME=x\nPRETTY_NAME=\"Ubuntu 24.04 LTS\"\n"), "Ubuntu 24.04 LTS");
  EXPECT_EQ(parse_os_name("PRETTY_NAME=Plain"), "Plain");
  EXPECT_EQ(parse_os_name(""), "");
}

TEST(Gpu, ReadsDiscreteAndUnifiedMachines) {
  const json gpus = parse_gpus(
      "0, NVIDIA H100 80GB HBM3, 580.95.05, 9.0, 81559, 81008\n"
      "1, NVIDIA GB10, 580.173.02, 12.1, [N/A], [Not Supported]\n");
  ASSERT_EQ(gpus.size(), 2U);
  EXPECT_EQ(gpus[0]["name"], "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(gpus[0]["memory_total_bytes"], 81559ULL << 20);
  EXPECT_EQ(gpus[0]["compute_capability"], "9.0");
  EXPECT_EQ(gpus[1]["compute_capability"], "12.1");
  EXPECT_TRUE(gpus[1]["memory_total_bytes"].is_null()) << "unknown is never 0";
  EXPECT_TRUE(gpus[1]["memory_free_bytes"].is_null());
}

TEST(Gpu, OtherTextIsNoGpu) {
  for (const char* text :
       {"", "\n\n", "No devices were found\n", "x, y, z\n", "a, b, c, d, e, f\n", ",,,,,\n"}) {
    EXPECT_EQ(parse_gpus(text).size(), 0U) << text;
  }
}

TEST(Gpu, EveryEndHasItsWords) {
  ProbeResult result;
  EXPECT_EQ(gpu_facts(result)["status"], "none");
  result.end = End::late;
  EXPECT_EQ(gpu_facts(result)["status"], "late");
  result.end = End::ended;
  result.exit_code = 9;
  result.output = "NVIDIA-SMI has failed\nmore\n";
  EXPECT_EQ(gpu_facts(result)["status"], "failed");
  EXPECT_EQ(gpu_facts(result)["problem"], "nvidia-smi ended with exit code 9: NVIDIA-SMI has failed");
  result.exit_code = 0;
  result.output = "0, A, 1, 9.0, 1, 1\n";
  EXPECT_EQ(gpu_facts(result)["status"], "ok");
}

TEST(Probe, CollectsOutputAndExitCode) {
  Probe probe("/bin/sh", {"-c", "echo out; echo err >&2; exit 7"});
  const ProbeResult result = probe.collect(in_seconds(20));
  EXPECT_EQ(result.end, End::ended);
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_EQ(result.output, "out\n");
}

TEST(Probe, AMissingProgramIsNotStarted) {
  Probe probe("no-such-program-here", {});
  EXPECT_EQ(probe.collect(in_seconds(20)).end, End::not_started);
}

TEST(Probe, AHangingProgramIsLateAndGone) {
  {
    Probe probe("/bin/sh", {"-c", "trap '' TERM; echo begun; exec sleep 1000"});
    const ProbeResult result = probe.collect(in_seconds(0.3));
    EXPECT_EQ(result.end, End::late);
    EXPECT_EQ(result.output, "begun\n");
  }
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST(Probe, AProgramThatClosesItsOutputIsStillWaitedFor) {
  Probe probe("/bin/sh", {"-c", "exec >&-; sleep 0.1; exit 3"});
  EXPECT_EQ(probe.collect(in_seconds(20)).exit_code, 3);
}

TEST(Probe, EndlessOutputIsBounded) {
  Probe probe("/bin/sh", {"-c", "exec cat /dev/zero"});
  const ProbeResult result = probe.collect(in_seconds(0.3));
  EXPECT_EQ(result.end, End::late);
  EXPECT_LE(result.output.size(), (std::size_t{1} << 20) + 4096);
}

}  // namespace
}  // namespace tetrad::cli
