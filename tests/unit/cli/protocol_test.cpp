// Framing and messages of the control channel: round trips in any cut, hostile sizes, random bytes, dead
// peers.
#include "cli/protocol/channel.h"
#include "cli/protocol/frame.h"
#include "cli/protocol/messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <random>
#include <thread>

namespace tetrad::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string header(std::uint32_t size) {
  std::string bytes;
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>((size >> shift) & 0xffU));
  return bytes;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(Frame, LayoutIsLittleEndianLengthThenJson) {
  EXPECT_EQ(encode_frame(json{{"a", 1}}), std::string("\x07\0\0\0{\"a\":1}", 11));
}

TEST(Frame, AnyCutOfTheStreamGivesTheSameMessages) {
  std::mt19937 random(7);
  std::string stream;
  std::vector<json> sent;
  for (int i = 0; i < 200; ++i) {
    json message{{"i", i}, {"text", std::string(random() % 3000, static_cast<char>('a' + i % 26))}};
    stream += encode_frame(message);
    sent.push_back(std::move(message));
  }
  for (const std::size_t largest : {1UL, 3UL, 700UL, 70000UL, 10000000UL}) {
    FrameDecoder decoder;
    std::vector<json> got;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t n = std::min(stream.size() - at, 1 + random() % largest);
      decoder.append({stream.data() + at, n});
      at += n;
      while (auto payload = decoder.next()) got.push_back(parse_payload(*payload));
    }
    EXPECT_EQ(got, sent) << "chunks up to " << largest;
    EXPECT_FALSE(decoder.mid_frame());
  }
}

TEST(Frame, HostileSizesAreRefusedFromTheHeaderAlone) {
  for (const std::uint32_t size :
       {0U, static_cast<std::uint32_t>(max_frame_bytes) + 1, 0x7fffffffU, 0xffffffffU}) {
    FrameDecoder decoder;
    decoder.append(header(size));
    EXPECT_THAT(error_of([&] { decoder.next(); }),
                HasSubstr("a frame announces " + std::to_string(size) + " bytes"));
  }
  FrameDecoder decoder;
  decoder.append(header(static_cast<std::uint32_t>(max_frame_bytes)));
  EXPECT_FALSE(decoder.next().has_value());
  EXPECT_TRUE(decoder.mid_frame());
}

TEST(Frame, RandomBytesGiveAnErrorOrNothing) {
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::string payload(1 + random() % 40, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    FrameDecoder decoder;
    decoder.append(header(static_cast<std::uint32_t>(payload.size())) + payload);
    const auto got = decoder.next();
    ASSERT_TRUE(got.has_value());
    try {
      parse_message(parse_payload(*got));
      ADD_FAILURE() << "random bytes were taken for a message";
    } catch (const Error&) {
    }
  }
}

TEST(Frame, MutatedMessagesNeverDoMoreThanThrow) {
  RunMessage run;
  run.command = "chat";
  run.plugins.push_back({"linear", "backend-nvfp4", "/a/b.so", "0.1.0", {{"x", 1}}});
  run.guard_limit_bytes = 5;
  const std::string good = to_json(run).dump();
  std::mt19937 random(13);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    for (unsigned n = 1 + random() % 3; n > 0; --n) bad[random() % bad.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bad.resize(random() % bad.size());
    try {
      parse_message(parse_payload(bad));
      ++accepted;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(accepted, 0) << "a changed letter inside a string is still a message";
}

TEST(Frame, DeepNestingIsRefused) {
  const std::string deep = "{\"a\":" + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_THAT(error_of([&] { parse_payload(deep); }), HasSubstr("nested deeper than 128"));
}

TEST(Frame, InvalidUtf8IsRefusedBothWays) {
  EXPECT_THAT(error_of([] { encode_frame(json{{"a", "\xff"}}); }), HasSubstr("cannot be sent"));
  EXPECT_THAT(error_of([] { parse_payload("{\"a\":\"\xff\"}"); }), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of([] { parse_payload("[1]"); }), HasSubstr("must be a JSON object, not array"));
}

TEST(Messages, EveryTypeSurvivesTheRoundTrip) {
  RunMessage run;
  run.command = "generate";
  run.config = {{"path", "training"}};
  run.config_file = "configs/fp2-model.yaml";
  run.config_hash = "ab12";
  run.plugins.push_back({"linear", "backend-bf16", "/x/backend-bf16.so", "0.1.0", {{"k", "v"}}});
  run.args = {{"prompt", "h\u00e9"}, {"ids", {1, 2}}};
  run.run_dir = "/runs/1";
  run.guard_limit_bytes = 1ULL << 40;
  const auto again = std::get<RunMessage>(parse_message(to_json(run)));
  EXPECT_EQ(to_json(again), to_json(run));
  EXPECT_EQ(again.plugins.at(0).id, "backend-bf16");
  EXPECT_EQ(again.guard_limit_bytes, 1ULL << 40);

  run.run_dir.reset();
  run.guard_limit_bytes.reset();
  EXPECT_TRUE(to_json(run)["run_dir"].is_null());
  EXPECT_TRUE(to_json(run)["guard"]["limit_bytes"].is_null());
  EXPECT_FALSE(std::get<RunMessage>(parse_message(to_json(run))).run_dir.has_value());

  EXPECT_EQ(std::get<StopMessage>(parse_message(to_json(StopMessage{"interrupt"}))).reason, "interrupt");
  const auto soft = std::get<SoftMessage>(parse_message(to_json(SoftMessage{3, 100, 90, 120})));
  EXPECT_EQ(soft.epoch, 3U);
  EXPECT_EQ(soft.bytes_now, 100U);
  EXPECT_EQ(soft.soft_bytes, 90U);
  EXPECT_EQ(soft.limit_bytes, 120U);
  EXPECT_THROW(parse_message({{"v", 1}, {"type", "soft"}, {"epoch", -1}}), Error);
  const PhaseMessage phase{"model_loaded", 7, std::nullopt, {}};
  EXPECT_EQ(to_json(phase).dump(),
            R"({"bytes_forecast":null,"bytes_now":7,"name":"model_loaded","type":"phase","v":1})");
  EXPECT_EQ(std::get<PhaseMessage>(parse_message(to_json(phase))).bytes_now, 7U);
  const auto status = std::get<StatusMessage>(parse_message(to_json(StatusMessage{4, "nan"})));
  EXPECT_EQ(status.exit_code, 4);
  EXPECT_EQ(status.message, "nan");
}

TEST(Messages, WrongFieldsAreNamed) {
  const auto error = [](json message) { return error_of([&] { parse_message(message); }); };
  EXPECT_THAT(error({{"type", "stop"}}), HasSubstr("no field 'v'"));
  EXPECT_THAT(error({{"v", 2}, {"type", "stop"}}), HasSubstr("protocol version 2, this one 1"));
  EXPECT_THAT(error({{"v", 1.0}, {"type", "stop"}}), HasSubstr("protocol version 1.0"));
  EXPECT_THAT(error({{"v", 1}, {"type", "nope"}}), HasSubstr("unknown message type 'nope'"));
  EXPECT_THAT(error({{"v", 1}, {"type", 3}}),
              HasSubstr("field 'type' of a message must be a string, not number"));
  EXPECT_THAT(error({{"v", 1}, {"type", "status"}, {"exit_code", 256}, {"message", ""}}),
              HasSubstr("256 is outside"));
  EXPECT_THAT(error({{"v", 1}, {"type", "phase"}, {"name", "x"}, {"bytes_now", -1}}),
              HasSubstr("byte count or null"));
}

TEST(Channel, CarriesLargeMessagesAcrossThreads) {
  const auto [a, b] = make_channel_pair();
  Channel left(a);
  Channel right(b);
  const json big{{"text", std::string(5 << 20, 'x')}};
  std::thread sender([&] { EXPECT_TRUE(left.send(big)); });
  EXPECT_EQ(right.receive(), big);
  sender.join();
  EXPECT_FALSE(right.try_receive().has_value());
  EXPECT_FALSE(right.closed());
}

TEST(Channel, PostNeverBlocksOnAPeerThatDoesNotRead) {
  const auto [a, b] = make_channel_pair();
  Channel left(a);
  Channel right(b);
  const json big{{"text", std::string(5 << 20, 'y')}};
  left.post(big);
  EXPECT_TRUE(left.pending());
  std::optional<json> got;
  while (!got) {
    got = right.try_receive();
    left.flush();
  }
  EXPECT_EQ(*got, big);
  EXPECT_FALSE(left.pending());
}

TEST(Channel, EndOfStreamIsNothingAndATruncationIsAnError) {
  {
    const auto [a, b] = make_channel_pair();
    Channel right(b);
    {
      Channel left(a);
      left.send(to_json(StopMessage{"interrupt"}));
    }
    EXPECT_TRUE(right.receive().has_value());
    EXPECT_FALSE(right.receive().has_value());
    EXPECT_TRUE(right.closed());
    EXPECT_FALSE(right.send(json::object()));
  }
  const auto [a, b] = make_channel_pair();
  Channel right(b);
  const std::string cut = encode_frame(to_json(StopMessage{"interrupt"})).substr(0, 9);
  ASSERT_EQ(::send(a, cut.data(), cut.size(), 0), static_cast<ssize_t>(cut.size()));
  ::close(a);
  EXPECT_THAT(error_of([&] { right.receive(); }), HasSubstr("in the middle of a message"));
}

TEST(Channel, DescriptorComesFromTheEnvironment) {
  ::unsetenv(control_fd_variable);
  EXPECT_THAT(error_of([] { Channel::fd_from_environment(); }), HasSubstr("TETRAD_CONTROL_FD is not set"));
  for (const char* bad : {"", "x", "3x", "-1", "99999", "0x3"}) {
    ::setenv(control_fd_variable, bad, 1);
    EXPECT_THAT(error_of([] { Channel::fd_from_environment(); }), HasSubstr("does not name an open socket"))
        << bad;
  }
  const auto [a, b] = make_channel_pair();
  ::setenv(control_fd_variable, std::to_string(b).c_str(), 1);
  EXPECT_EQ(Channel::fd_from_environment(), b);
  EXPECT_EQ(::getenv(control_fd_variable), nullptr);
  ::close(a);
  ::close(b);
}

}  // namespace
}  // namespace tetrad::cli
