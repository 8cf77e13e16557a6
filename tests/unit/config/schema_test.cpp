// Schemas: suggestions, option schemas from metadata, exports, commands, and the configs that we ship.
#include "config/commands.h"
#include "config/emit.h"
#include "config/schema_export.h"
#include "config/suggest.h"
#include "support/error_text.h"
#include "unit/config/support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace tetrad::config::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using tetrad::test::error_text;

TEST(Suggest, Distances) {
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("ab", "ba"), 1U) << "a swap is one edit";
  EXPECT_EQ(edit_distance("eval-cache", "Eval_Cache"), 0U);
  const std::vector<std::string> words = {"plugin", "options", "path", "dtype"};
  EXPECT_EQ(nearest("plugn", words), "plugin");
  EXPECT_EQ(nearest("opitons", words), "options");
  EXPECT_EQ(nearest("xyz", words), std::nullopt);
  EXPECT_EQ(nearest("", words), std::nullopt);
}

TEST(CoreSchema, DefaultsAreValidAndEveryKeyIsDocumented) {
  const std::function<void(const Field&)> check = [&](const Field& field) {
    EXPECT_FALSE(field.doc.empty()) << field.key;
    EXPECT_TRUE(field.doc.ends_with(".")) << field.key;
    const int sources = (field.required ? 1 : 0) + (field.default_value ? 1 : 0);
    const bool container = field.type == Type::section || field.type == Type::options ||
                           field.type == Type::text_map || field.type == Type::free_map;
    EXPECT_TRUE(sources == 1 || (sources == 0 && (field.nullable || container))) << field.key;
    for (const Field& child : field.fields) check(child);
  };
  check(core_schema());
  const Workplace place;
  place.write("c.yaml", required_keys);
  EXPECT_EQ(place.errors({"c.yaml"}), "");
  place.write("shown.yaml", to_yaml(place.resolve({"c.yaml"}).root));
  EXPECT_EQ(place.errors({"shown.yaml"}), "") << "each default passes its own check";
}

TEST(OptionSchema, WrongMetadataIsThePluginsFault) {
  const auto error = [](const char* options) {
    return error_text([&] { option_schema_from_json("linear", "p", json::parse(options)); });
  };
  const std::string tail = "; rebuild the plugin with a corrected plugin.json";
  EXPECT_EQ(error("{}"), "[plugin] plugin 'p': 'options' in its metadata must be a list");
  EXPECT_EQ(error("[3]"), "[plugin] plugin 'p': option #1 in its metadata: must be an object" + tail);
  EXPECT_EQ(error(R"([{"type": "bool"}])"),
            "[plugin] plugin 'p': option #1 in its metadata: 'key' must be a non-empty text" + tail);
  EXPECT_EQ(
      error(R"([{"key": "a.b", "type": "bool"}])"),
      "[plugin] plugin 'p': option 'a.b' in its metadata: a key consists of letters, digits, '_' and '-'" +
          tail);
  const auto option_error = [&](const std::string& rest) {
    const std::string text = error((R"([{"key": "a", )" + rest + "}]").c_str());
    const std::string head = "[plugin] plugin 'p': option 'a' in its metadata: ";
    return text.starts_with(head) && text.ends_with(tail)
               ? text.substr(head.size(), text.size() - head.size() - tail.size())
               : text;
  };
  EXPECT_EQ(option_error(R"("type": "float")"),
            "unknown type 'float'; known are bool, int, number, string, enum");
  EXPECT_EQ(option_error(R"("type": "enum")"), "type enum needs 'values'");
  EXPECT_EQ(option_error(R"("type": "int", "values": ["x"])"), "'values' is for type enum only");
  EXPECT_EQ(option_error(R"("type": "bool", "min": 1)"), "'min' is for types int and number only");
  EXPECT_EQ(option_error(R"("type": "int", "max": "8")"), "'max' must be a number");
  EXPECT_EQ(option_error(R"("type": "int", "default": 1.5)"), "the default 1.5 is not an integer");
  EXPECT_EQ(option_error(R"("type": "int", "default": 18446744073709551615)"),
            "the default 18446744073709551615 is not an integer");
  EXPECT_EQ(option_error(R"("type": "int", "default": 9, "max": 8)"), "the default 9 is not an integer <= 8");
  EXPECT_EQ(option_error(R"("type": "enum", "values": ["x", "y"], "default": "z")"),
            "the default \"z\" is not one of x, y");
  EXPECT_EQ(option_error(R"("type": "string", "default": 1)"), "the default 1 is not text");
  EXPECT_EQ(option_error(R"("type": "bool", "doc": 1)"), "'doc' must be a text");
  EXPECT_EQ(option_error(R"("type": "bool", "deprecated_by": "b")"),
            "'deprecated_by' must name another option that is not deprecated");
  EXPECT_EQ(option_error(R"("type": "bool"}, {"key": "a", "type": "int")"), "stands twice");
  EXPECT_TRUE(option_schema_from_json("linear", "p", nullptr).fields.empty());
}

// What `schema` says is what validation does: each value is tried against both.
TEST(JsonSchema, DescribesTheSameRanges) {
  const json schema = json_schema(std::vector<OptionSchema>{backend_x()});
  EXPECT_EQ(schema["$schema"], "http://json-schema.org/draft-07/schema#");
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(schema["properties"]["chat"]["properties"]["top_p"]["exclusiveMinimum"], 0.0);
  EXPECT_EQ(schema["properties"]["chat"]["properties"]["top_p"]["maximum"], 1.0);
  EXPECT_EQ(schema["properties"]["chat"]["properties"]["turns"]["minimum"].dump(), "1");
  EXPECT_EQ(schema["properties"]["path"]["enum"], (json{"training", "bridge"}));
  EXPECT_EQ(schema["properties"]["model"]["properties"]["device"]["anyOf"][1]["pattern"],
            "^cuda:(0|[1-9][0-9]*)$");
  EXPECT_EQ(schema["properties"]["linear"]["allOf"][0]["if"]["properties"]["plugin"]["const"], "backend-x");
  const json& options = schema["properties"]["linear"]["allOf"][0]["then"]["properties"]["options"];
  EXPECT_EQ(options["additionalProperties"], false);
  EXPECT_EQ(options["properties"]["level"]["maximum"], 8);
  EXPECT_EQ(options["properties"]["cache"]["deprecated"], true);
  EXPECT_TRUE(schema["properties"].contains("extends"));
}

TEST(Listing, ShowsTypeDefaultUnitAndDoc) {
  const std::string listing = schema_listing(std::vector<OptionSchema>{backend_x()}, "");
  EXPECT_THAT(listing, HasSubstr("\nguard.poll_secs: a number >= 0.05 (seconds) [default: 0.5]\n  Time "
                                 "between two measurements.\n"));
  EXPECT_THAT(listing, HasSubstr("\nlinear.plugin: text [required]\n"));
  EXPECT_THAT(listing, HasSubstr("\nlinear.options of plugin backend-x:\n\nlinear.options.eval_cache: true "
                                 "or false [default: true]\n"));
  EXPECT_EQ(schema_listing({}, "chat.seed"),
            "chat.seed: an integer [default: 0]\n  Seed of the random choice: same seed, same text.\n");
  EXPECT_EQ(error_text([] { schema_listing({}, "chat.sed"); }),
            "[config] no such key in the schema: 'chat.sed'; did you mean 'chat.seed'?");
  std::istringstream lines(listing);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 220U) << line;
}

TEST(Markdown, HasATableForEverySection) {
  const std::string page = schema_markdown(std::vector<OptionSchema>{backend_x()});
  for (const char* heading : {"## Keys\n", "### chat\n", "#### linear.options of backend-x\n"})
    EXPECT_THAT(page, HasSubstr(heading));
  EXPECT_THAT(page, HasSubstr("| `turns` | an integer >= 1 | `1` |"));
  EXPECT_THAT(page, HasSubstr("cuda, cuda:\\<n> |")) << "not HTML";
}

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

template <class F>
Ran run(const Workplace& place, F&& command) {
  std::ostringstream out;
  std::ostringstream err;
  const CommandContext context{out, err, lookup,
                               [] {
                                 return std::vector<OptionSchema>{backend_x(), backend_y()};
                               },
                               place.surroundings()};
  const int code = command(context);
  return {code, out.str(), err.str()};
}

TEST(Commands, Validate) {
  const Workplace place;
  place.write("good.yaml", required_keys);
  place.write("bad.yaml", required_keys + "chat: {seed: x, truns: 1}\n");
  const auto validate = [&](std::vector<std::string> files, bool as_json) {
    return run(place, [&](const CommandContext& context) {
      return validate_command({std::move(files), {}, as_json}, context);
    });
  };
  EXPECT_EQ(validate({"good.yaml"}, false).out, "good.yaml: ok\n");
  EXPECT_EQ(error_text([&] {
              validate({"good.yaml", "bad.yaml"}, false);
            }),
            "bad.yaml:3:14: chat.seed: expected an integer, got 'x'\nbad.yaml:3:17: unknown key 'truns' in "
            "chat; did you mean 'turns'?");
  const Ran ran = validate({"good.yaml", "bad.yaml"}, true);
  EXPECT_EQ(ran.code, 2);
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["ok"], false);
  EXPECT_EQ(report["files"][0]["ok"], true);
  EXPECT_EQ(report["files"][0]["hash"].get<std::string>().size(), 64U);
  EXPECT_EQ(report["files"][1]["errors"][1]["line"], 3);
  EXPECT_EQ(report["files"][1]["errors"][1]["column"], 17);
  EXPECT_EQ(validate({"good.yaml"}, true).code, 0);
}

TEST(Commands, Show) {
  const Workplace place;
  place.write("c.yaml", required_keys + "chat: {seed: 3}\n");
  const auto show = [&](ShowArguments arguments) {
    return run(place, [&](const CommandContext& context) { return show_command(arguments, context); }).out;
  };
  EXPECT_EQ(show({{"c.yaml", {}}, false, false, "chat.seed"}), "3\n");
  EXPECT_EQ(show({{"c.yaml", {}}, true, false, "chat.seed"}), "3  # c.yaml:3:14\n");
  EXPECT_THAT(show({{"c.yaml", {}}, false, false, ""}), HasSubstr("\nchat:\n  prompt: null\n"));
  const json both = json::parse(show({{"c.yaml", {"chat.turns=2"}}, true, true, ""}));
  EXPECT_EQ(both["config"]["chat"]["turns"], 2);
  EXPECT_EQ(both["origins"]["chat.turns"], "--set #1");
  EXPECT_EQ(both["origins"]["chat.seed"], "c.yaml:3:14");
  EXPECT_EQ(both["origins"]["chat.top_k"], "default");
  EXPECT_EQ(error_text([&] {
              show({{"c.yaml", {}}, false, false, "chat.sed"});
            }),
            "[config] no such key: 'chat.sed'; did you mean 'chat.seed'?");
}

TEST(Commands, SchemaAndDiff) {
  const Workplace place;
  place.write("a.yaml", required_keys);
  place.write("b.yaml", required_keys + "chat: {seed: 3}\n");
  const auto difference = [&](const std::string& b, bool as_json) {
    return run(place,
               [&](const CommandContext& context) {
                 return diff_command({"a.yaml", b, {}, as_json}, context);
               })
        .out;
  };
  EXPECT_EQ(difference("a.yaml", false), "no difference\n");
  EXPECT_EQ(difference("b.yaml", false), "chat.seed\n  a.yaml: 0  # default\n  b.yaml: 3  # b.yaml:3:14\n");
  EXPECT_EQ(json::parse(difference("b.yaml", true))["changes"][0]["b"]["value"], 3);
  const Ran schema = run(place, [](const CommandContext& context) {
    return schema_command({true, false, ""}, context);
  });
  EXPECT_EQ(json::parse(schema.out)["properties"]["linear"]["allOf"].size(), 2U);
}

TEST(ShippedConfigs, ResolveAndPinWhatTheyPromise) {
  const Surroundings surroundings{environment(), TETRAD_SOURCE_DIR};
  // The plugins' own option schemas come from their metadata at run time; here their options stay unchecked.
  const auto resolved = [&](const std::string& file, const std::vector<std::string>& sets = {}) {
    return config::resolve(std::vector<std::string>{"configs/" + file}, sets, {}, surroundings);
  };
  const Resolved fp2 = resolved("fp2-model.yaml");
  EXPECT_EQ(fp2.at("path").as_string(), "training");
  EXPECT_EQ(fp2.at("linear.plugin").as_string(), "backend-nvfp4");
  EXPECT_TRUE(fp2.at("linear.options.eval_cache").as_bool());
  EXPECT_EQ(fp2.at("kv_cache.plugin").as_string(), "kvc-persistent");
  EXPECT_EQ(fp2.at("chat.collapse").as_string(), "stop");
  EXPECT_TRUE(fp2.at("chat.prompt").is_null()) << "it chats";
  EXPECT_EQ(fp2.at("model.path").as_string(), std::string(TETRAD_SOURCE_DIR) + "/models/default");
  const std::string refusal = error_text([&] { resolved("fp2-model.yaml", {"path=bridge"}); });
  EXPECT_EQ(refusal,
            "--set path=bridge: 'path' is pinned to 'training' by configs/fp2-model.yaml:6:3: this config is "
            "training-path only; "
            "use configs/bridge.yaml");
  EXPECT_EQ(resolved("bridge.yaml").at("path").as_string(), "bridge");
  EXPECT_EQ(resolved("bridge.yaml").at("chat.collapse").as_string(), "flag");
  EXPECT_EQ(resolved("bf16.yaml").at("linear.plugin").as_string(), "backend-bf16");
}

}  // namespace
}  // namespace tetrad::config::test
