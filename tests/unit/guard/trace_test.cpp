// Recorded runs played to the policy again: tests/data/guard/*.jsonl, made with `host guard --log` on a real
// machine and cut to what the policy sees. The first line holds the limits and what the run was to end with.
// A change of the policy that ends one of them otherwise is seen here, without a clock and without memory.
#include "guard/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace tetrad::guard {
namespace {

using nlohmann::json;

struct Trace {
  std::string name;
  Limits limits;
  bool killed = false;
  int soft = 0;
  std::vector<Sample> samples;
  std::vector<std::string> verdicts;  // as recorded
};

std::optional<std::uint64_t> bytes(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<std::uint64_t>());
}

std::vector<Trace> traces() {
  std::vector<Trace> all;
  for (const auto& entry : std::filesystem::directory_iterator(TETRAD_SOURCE_DIR "/tests/data/guard")) {
    std::ifstream in(entry.path());
    std::string line;
    std::getline(in, line);
    const json head = json::parse(line);
    Trace trace;
    trace.name = entry.path().stem().string();
    trace.limits.limit_bytes = bytes(head.at("limit_bytes"));
    trace.limits.device_limit_bytes = bytes(head.at("device_limit_bytes"));
    trace.limits.soft_bytes = bytes(head.at("soft_bytes"));
    trace.limits.host_floor_bytes = head.at("host_floor_bytes").get<std::uint64_t>();
    trace.limits.over_secs = head.at("over_s").get<double>();
    trace.limits.poll_secs = head.at("poll_s").get<double>();
    trace.killed = head.at("killed").get<bool>();
    trace.soft = head.at("soft").get<int>();
    while (std::getline(in, line)) {
      const json one = json::parse(line);
      Sample sample;
      sample.mono_ns = static_cast<std::int64_t>(one.at("mono_ms").get<double>() * 1e6);
      sample.tree_bytes = bytes(one.at("tree_bytes"));
      sample.device_bytes = bytes(one.at("device_bytes"));
      sample.available_bytes = bytes(one.at("available_bytes"));
      sample.unified = one.at("unified").get<bool>();
      sample.reaction_secs = one.at("reaction_ms").get<double>() * 1e-3;
      trace.samples.push_back(sample);
      trace.verdicts.push_back(one.at("verdict").get<std::string>());
    }
    all.push_back(std::move(trace));
  }
  return all;
}

const char* word(Verdict verdict) {
  constexpr const char* words[] = {"ok", "soft", "over", "kill"};
  return words[static_cast<int>(verdict)];
}

// Index of the sample that ends the run; the number of samples where none does.
std::size_t end_of(const Limits& limits, const std::vector<Sample>& samples) {
  State state;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (judge(limits, state, samples[i]).verdict == Verdict::kill) return i;
  }
  return samples.size();
}

std::size_t first_over(const Trace& trace) {
  for (std::size_t i = 0; i < trace.samples.size(); ++i) {
    const Sample& sample = trace.samples[i];
    const std::uint64_t sum =
        sample.tree_bytes.value_or(0) + (sample.unified ? sample.device_bytes.value_or(0) : 0);
    if (sum > *trace.limits.limit_bytes) return i;
    if (!sample.unified && sample.device_bytes.value_or(0) > trace.limits.device_limit_bytes.value_or(~0ULL))
      return i;
  }
  return trace.samples.size();
}

TEST(Traces, ThereAreSome) {
  const auto all = traces();
  EXPECT_GE(all.size(), 6U);
  EXPECT_GE(std::count_if(all.begin(), all.end(), [](const Trace& t) { return t.killed; }), 3);
  EXPECT_GE(std::count_if(all.begin(), all.end(), [](const Trace& t) { return !t.killed; }), 3);
}

TEST(Traces, EachReadingIsJudgedAsItWas) {
  for (const Trace& trace : traces()) {
    SCOPED_TRACE(trace.name);
    State state;
    int soft = 0;
    bool killed = false;
    for (std::size_t i = 0; i < trace.samples.size(); ++i) {
      const Decision decision = judge(trace.limits, state, trace.samples[i]);
      ASSERT_STREQ(word(decision.verdict), trace.verdicts[i].c_str()) << "reading " << i;
      soft += decision.verdict == Verdict::soft ? 1 : 0;
      killed = killed || decision.verdict == Verdict::kill;
    }
    EXPECT_EQ(killed, trace.killed);
    EXPECT_EQ(soft, trace.soft);
  }
}

// Readings that are lost or unknown, and a clock that began elsewhere, end no run that would not have ended,
// and save none.
TEST(Traces, LostAndUnknownReadingsChangeNoEnd) {
  std::mt19937 random(31);
  for (const Trace& trace : traces()) {
    SCOPED_TRACE(trace.name);
    const std::size_t over = first_over(trace);
    for (int round = 0; round < 200; ++round) {
      std::vector<Sample> samples;
      for (std::size_t i = 0; i < trace.samples.size(); ++i) {
        const bool last = i + 1 == trace.samples.size();
        const unsigned draw = last ? 100 : random() % 100;
        if (draw < 10) continue;
        Sample sample = trace.samples[i];
        sample.mono_ns += 1'000'000'000'000'000;
        if (draw < 20) sample.tree_bytes.reset();
        if (draw >= 15 && draw < 25) sample.available_bytes.reset();
        samples.push_back(sample);
      }
      const std::size_t end = end_of(trace.limits, samples);
      if (!trace.killed) {
        ASSERT_EQ(end, samples.size()) << "round " << round;
      } else if (over < trace.samples.size() && trace.limits.over_secs == 0) {
        ASSERT_LT(end, samples.size()) << "round " << round;
      }
    }
  }
}

// With room to spare nobody is ended; with a limit that the run passes everybody is, at the first reading
// over it at the latest.
TEST(Traces, TheLimitDecides) {
  for (const Trace& trace : traces()) {
    SCOPED_TRACE(trace.name);
    std::uint64_t tree = 0, device = 0;
    for (const Sample& sample : trace.samples) {
      const std::uint64_t on_device = sample.device_bytes.value_or(0);
      tree = std::max(tree, sample.tree_bytes.value_or(0) + (sample.unified ? on_device : 0));
      if (!sample.unified) device = std::max(device, on_device);
    }
    Limits wide = trace.limits;
    wide.limit_bytes = tree + tree / 4;
    wide.device_limit_bytes = device + device / 4;
    wide.host_floor_bytes = 0;
    EXPECT_EQ(end_of(wide, trace.samples), trace.samples.size());
    Limits tight = wide;
    tight.over_secs = 0;
    tight.limit_bytes = tree / 2;
    tight.device_limit_bytes = device / 2;
    Trace judged = trace;
    judged.limits = tight;
    EXPECT_LE(end_of(tight, trace.samples), first_over(judged));
    EXPECT_LT(end_of(tight, trace.samples), trace.samples.size());
  }
}

}  // namespace
}  // namespace tetrad::guard
