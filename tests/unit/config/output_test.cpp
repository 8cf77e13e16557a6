// A resolved config written and read again is the same config; hashes, JSON, differences, paths.
#include "config/diff.h"
#include "config/emit.h"
#include "unit/config/support.h"

#include <tetrad/base/sha256.h>

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

namespace tetrad::config::test {
namespace {

using nlohmann::json;

// Random values of each field's type, biased to what is awkward to write down.
class RandomConfig {
 public:
  explicit RandomConfig(std::uint32_t seed) : rng_(seed) {}

  std::string text() {
    static const std::array<const char*, 40> awkward = {
        "",     " ",        "null", "~",      "true",     "no",           "Off",          "8",
        "010",  "0x1f",     ".inf", "1e5",    "-",        "- a",          "a: b",         "#",
        "a #b", "[a]",      "{a}",  "'",      "\"",       "\\",           "\n",           "\r\n",
        "\t",   "${env:X}", "$${",  "$$${a}", "${",       "<<",           "*a",           "&a",
        "!a",   "%",        "@",    "\x7F",   "\xC2\x85", "\xE2\x80\xA8", "\xEF\xBB\xBF", "\xF0\x9F\x98\x80"};
    std::string result;
    for (unsigned pieces = rng_() % 4; pieces > 0; --pieces) {
      switch (rng_() % 3) {
        case 0:
          result += awkward[rng_() % awkward.size()];
          break;
        case 1:
          result += static_cast<char>(1 + rng_() % 126);
          break;
        default:
          result += "word";
          break;
      }
    }
    return result;
  }

  json value(const Field& field) {
    if (field.nullable && rng_() % 3 == 0) return nullptr;
    if (!field.values.empty() && (field.type == Type::choice || rng_() % 2 == 0)) {
      std::string word = field.values[rng_() % field.values.size()];
      if (word.ends_with("<n>")) word = word.substr(0, word.size() - 3) + std::to_string(rng_() % 12 + 1);
      return word;
    }
    switch (field.type) {
      case Type::boolean:
        return rng_() % 2 == 0;
      case Type::integer:
        return static_cast<std::int64_t>(number(field, true));
      case Type::number:
        return number(field, false);
      case Type::list: {
        json list = json::array();
        for (unsigned n = rng_() % 4 + (field.non_empty ? 1U : 0U); n > 0; --n)
          list.push_back(value(*field.element));
        return list;
      }
      case Type::free_map: {
        json map = json::object();
        for (unsigned n = rng_() % 3; n > 0; --n)
          map["key." + std::to_string(n)] = json::array({text(), nullptr, 1, 0.5, {{"inner", text()}}});
        return map;
      }
      default: {
        std::string result = text();
        if (field.non_empty) result += "x";
        if (field.meaning == Meaning::input_path || field.meaning == Meaning::output_path) {
          for (char& c : result) c = c == '/' || c == '.' ? '_' : c;  // so that it stays as it is
          result = "/" + result;
        }
        return result;
      }
    }
  }

  json section(const Field& schema, const std::vector<Field>& options) {
    json result = json::object();
    for (const Field& field : schema.fields) {
      if (!field.deprecated_by.empty() || field.type == Type::text_map) continue;
      if (field.meaning == Meaning::plugin_id) {
        result[field.key] = field.plugin_kind == "linear" ? "backend-x" : "cache-x";
      } else if (field.type == Type::section) {
        result[field.key] = section(
            field, field.find("plugin") != nullptr && field.key == "linear" ? options : std::vector<Field>());
      } else if (field.type == Type::options) {
        Field map;
        map.fields = options;
        result[field.key] = section(map, {});
      } else if (rng_() % 4 != 0) {
        result[field.key] = value(field);
      }
    }
    if (schema.key == "eval") result.erase("stride");  // bound by the window
    return result;
  }

 private:
  double number(const Field& field, bool integer) {
    const double low = field.min.value_or(-1e6);
    const double high = field.max.value_or(1e6);
    double share = static_cast<double>(rng_() % 1000001) / 1000000;
    double result = low + (high - low) * share;
    if (integer) result = std::floor(result);
    if (!integer && rng_() % 3 == 0) result = std::floor(result);
    return in_range(field, result) ? result : high;
  }

  std::mt19937 rng_;
};

// JSON is YAML, all but the ${...} references and the one control character that JSON does not escape.
std::string as_yaml_text(const json& config) {
  json copy = config;
  const std::function<void(json&)> escape = [&](json& node) {
    if (node.is_string()) node = escape_references(node.get<std::string>());
    for (auto& child : node) {
      if (node.is_structured()) escape(child);
    }
  };
  escape(copy);
  std::string text = copy.dump(2);
  for (std::size_t at = 0; (at = text.find('\x7F', at)) != std::string::npos;) text.replace(at, 1, "\\u007f");
  return text;
}

// What was given is what came out.
void expect_within(const json& given, const json& got, const std::string& place) {
  if (!given.is_object()) {
    EXPECT_EQ(got, given) << place;
    return;
  }
  for (const auto& [key, value] : given.items()) {
    ASSERT_TRUE(got.contains(key)) << place << " " << key;
    expect_within(value, got[key], place + "/" + key);
  }
}

TEST(RoundTrip, ShownConfigsResolveToThemselves) {
  const Workplace place;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    RandomConfig random(seed);
    const json config = random.section(core_schema(), backend_x().fields);
    place.write("random.yaml", as_yaml_text(config) + "\n");
    ASSERT_EQ(place.errors({"random.yaml"}), "") << "seed " << seed << "\n" << as_yaml_text(config);
    const Resolved first = place.resolve({"random.yaml"});
    const json first_json = to_json(first.root);
    expect_within(config, first_json, "seed " + std::to_string(seed));
    if (testing::Test::HasFailure()) return;
    for (const ShowOrigins origins : {ShowOrigins::no, ShowOrigins::yes}) {
      place.write("shown.yaml", to_yaml(first.root, origins));
      ASSERT_EQ(place.errors({"shown.yaml"}), "") << "seed " << seed << "\n" << to_yaml(first.root, origins);
      const Resolved second = place.resolve({"shown.yaml"});
      ASSERT_TRUE(same_value(first.root, second.root)) << "seed " << seed << "\n"
                                                       << to_yaml(first.root, origins);
      ASSERT_EQ(config_hash(first.root), config_hash(second.root));
      ASSERT_TRUE(diff(first.root, second.root).empty());
    }
  }
}

TEST(RoundTrip, PinsSurvive) {
  const Workplace place;
  place.write("c.yaml", required_keys + "pin: {path: \"use 'x': ${env:TETRAD_WORD}\", chat.seed: \"#1\"}\n");
  const Resolved first = place.resolve({"c.yaml"});
  place.write("shown.yaml", to_yaml(first.root));
  EXPECT_TRUE(same_value(first.root, place.resolve({"shown.yaml"}).root));
  EXPECT_NE(place.errors({"shown.yaml"}, {"path=bridge"}), "");
}

TEST(Yaml, IsReadableAndShowsOrigins) {
  const Workplace place;
  place.write("c.yaml", required_keys + "chat: {prompt: \"Say: hi\", turns: 2}\n");
  const Resolved resolved = place.resolve({"c.yaml"}, {"chat.seed=7"});
  const std::string shown = to_yaml(resolved.root, ShowOrigins::yes);
  EXPECT_NE(shown.find("\n  prompt: \"Say: hi\"                         # c.yaml:3:16\n"), std::string::npos)
      << shown;
  EXPECT_NE(shown.find("\n  seed: 7                                   # --set #1\n"), std::string::npos)
      << shown;
  EXPECT_NE(shown.find("\n  temperature: 0.0                          # default\n"), std::string::npos)
      << shown;
  EXPECT_EQ(to_yaml(resolved.root).find('#'), std::string::npos);
  EXPECT_EQ(shown.rfind("task: chat", 0), 0U) << "schema order";
}

TEST(Json, KeepsNumbersApartFromIntegers) {
  const Workplace place;
  place.write("c.yaml", required_keys + "chat: {temperature: 1}\n");
  const json config = to_json(place.resolve({"c.yaml"}).root);
  EXPECT_EQ(config["chat"]["temperature"].dump(), "1.0");
  EXPECT_EQ(config["chat"]["seed"].dump(), "0");
  EXPECT_TRUE(config["chat"]["prompt"].is_null());
  EXPECT_EQ(config["linear"]["options"].dump(),
            R"({"block_size":16,"eval_cache":true,"label":"","level":3,"mode":"fast","scale":1.0})");
  const Options options = options_from_json(json::parse(config["linear"]["options"].dump()));
  EXPECT_TRUE(options.get<bool>("eval_cache"));
  EXPECT_EQ(options.get<std::int64_t>("level"), 3);
  EXPECT_EQ(options.get<double>("scale"), 1.0);
  EXPECT_EQ(options.get<std::string>("mode"), "fast");
}

TEST(Hash, IsThatOfTheSortedJson) {
  const Workplace place;
  place.write("a.yaml", "chat: {seed: 1}\n" + required_keys);
  place.write("b.yaml", "# another way to say it\n" + required_keys + "chat:\n  seed: +1\n");
  const Resolved a = place.resolve({"a.yaml"});
  const Resolved b = place.resolve({"b.yaml"});
  EXPECT_EQ(config_hash(a.root), config_hash(b.root));
  EXPECT_EQ(config_hash(a.root), sha256_hex(json::parse(to_json(a.root).dump(4)).dump()));
  EXPECT_NE(config_hash(a.root), config_hash(place.resolve({"a.yaml"}, {"chat.seed=2"}).root));
}

TEST(Diff, NamesTheKeysThatDiffer) {
  const Workplace place;
  place.write("a.yaml", required_keys + "guard: {sensors: [x]}\n");
  place.write("b.yaml", "linear: {plugin: backend-y, options: {groups: 1}}\nkv_cache: {plugin: cache-x}\n");
  const auto changes = diff(place.resolve({"a.yaml"}).root, place.resolve({"b.yaml"}).root);
  std::string text;
  for (const Change& change : changes) {
    text += change.path + ":" + (change.a ? to_json(*change.a).dump() : "-") + ":" +
            (change.b ? to_json(*change.b).dump() : "-") + "\n";
  }
  EXPECT_EQ(text,
            "linear.plugin:\"backend-x\":\"backend-y\"\nlinear.options.eval_cache:true:-\nlinear.options."
            "block_size:16:-\n"
            "linear.options.level:3:-\nlinear.options.scale:1.0:-\nlinear.options.mode:\"fast\":-\nlinear."
            "options.label:\"\":-\n"
            "linear.options.groups:-:1\nguard.sensors:[\"x\"]:[]\n");
}

TEST(Paths, InputsAreLookedForBesideTheConfigOutputsAreNot) {
  const Workplace place;
  place.write("repo/models/m/config.json", "{}");
  place.write("repo/configs/near/config.json", "{}");
  place.write("repo/configs/c.yaml", required_keys + "model: {path: models/m}\nrun: {dir: models}\n");
  const auto model = [&](const std::vector<std::string>& sets) {
    return place.resolve({"repo/configs/c.yaml"}, sets).at("model.path").as_string();
  };
  EXPECT_EQ(model({}), place.path("repo/models/m")) << "one folder above the config's";
  EXPECT_EQ(model({"model.path=near"}), place.path("repo/configs/near")) << "beside the config";
  EXPECT_EQ(model({"model.path=nowhere"}), place.path("nowhere"));
  EXPECT_EQ(model({"model.path=/a/../b"}), "/b");
  place.write("models/m/x", "");
  EXPECT_EQ(model({}), place.path("models/m")) << "the current directory comes first";
  EXPECT_EQ(place.resolve({"repo/configs/c.yaml"}).at("run.dir").as_string(), place.path("models"));
}

}  // namespace
}  // namespace tetrad::config::test
