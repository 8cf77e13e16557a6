#include "text/post_processor.h"

#include <string>

namespace tetrad::text {
namespace {

void append_special(const JsonView& special_tokens, const JsonView& item, const PostProcessor::IdOf& id_of,
                    std::vector<std::int32_t>& out) {
  const JsonView name_view = item.at("id");
  const std::string name = name_view.string();
  if (!special_tokens.has(name.c_str()))
    name_view.fail("is '" + name + "', which special_tokens does not define");
  const JsonView definition = special_tokens.at(name.c_str());
  const JsonView ids = definition.at("ids"), tokens = definition.at("tokens");
  if (ids.array_size() != tokens.array_size()) definition.fail("has ids and tokens of different lengths");
  for (std::size_t i = 0; i < ids.array_size(); ++i) {
    const auto id = static_cast<std::int32_t>(ids.at(i).integer(0, INT32_MAX));
    const std::string token = tokens.at(i).string();
    if (id_of(token) != id) {
      ids.at(i).fail("is " + std::to_string(id) + ", but the vocabulary has another id, or none, for '" +
                     token + "'");
    }
    out.push_back(id);
  }
}

PostProcessor parse_template(const JsonView& json, const PostProcessor::IdOf& id_of) {
  json.expect_keys({"type", "single", "pair", "special_tokens"});
  PostProcessor out;
  const JsonView single = json.at("single");
  bool seen_text = false;
  for (std::size_t i = 0; i < single.array_size(); ++i) {
    const JsonView item = single.at(i);
    item.expect_keys({"SpecialToken", "Sequence"});
    if (item.value().size() != 1) item.fail("must have one of 'SpecialToken' and 'Sequence'");
    if (item.has("Sequence")) {
      if (seen_text) item.fail("is a second text; only one is supported");
      if (item.at("Sequence").at("id").string() != "A") item.at("Sequence").at("id").fail("must be 'A'");
      seen_text = true;
    } else {
      append_special(json.at("special_tokens"), item.at("SpecialToken"), id_of,
                     seen_text ? out.after : out.before);
    }
  }
  if (!seen_text) single.fail("has no text");
  return out;
}

}  // namespace

PostProcessor PostProcessor::parse(const JsonView& json, const IdOf& id_of) {
  if (json.is_null()) return {};
  const std::string type = json.at("type").string();
  if (type == "ByteLevel") {
    json.expect_keys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return {};
  }
  if (type == "TemplateProcessing") return parse_template(json, id_of);
  if (type == "Sequence") {
    json.expect_keys({"type", "processors"});
    const JsonView list = json.at("processors");
    PostProcessor out;
    for (std::size_t i = 0; i < list.array_size(); ++i) {
      const PostProcessor step = parse(list.at(i), id_of);
      out.before.insert(out.before.begin(), step.before.begin(), step.before.end());
      out.after.insert(out.after.end(), step.after.begin(), step.after.end());
    }
    return out;
  }
  json.at("type").fail("is '" + type +
                       "'; supported post-processors: ByteLevel, TemplateProcessing, Sequence");
}

}  // namespace tetrad::text
