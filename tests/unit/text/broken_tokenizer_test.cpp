// Broken tokenizer.json files: each field wrong in some way gives one error that names file, field and value.
#include "golden.h"
#include "support/error_text.h"
#include "support/temp_dir.h"
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace tetrad::text {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string error_of(const json& document) {
  return test::error_text([&] { Tokenizer::parse(document.dump(), "t.json"); });
}

std::string error_with(const json& patch) {
  return error_of(test::patched(patch));
}

// The base tokenizer with one field, given by JSON pointer, replaced.
std::string error_at(const char* pointer, const json& value) {
  json document = test::variant("qwen");
  document[json::json_pointer(pointer)] = value;
  return error_of(document);
}

json special(int id, const char* content) {
  return {{"id", id}, {"content", content}, {"special", true}};
}

TEST(BrokenTokenizer, Files) {
  const test::TempDir dir;
  const auto load = [&] { return test::error_text([&] { Tokenizer::load(dir.path()); }); };
  const std::string file = (dir / "tokenizer.json").string();
  EXPECT_EQ(load(), "[text] " + file + ": cannot be read: No such file or directory");
  dir.write("tokenizer.json", "");
  EXPECT_THAT(load(), StartsWith("[text] " + file + ": is not valid JSON: "));
  dir.write("tokenizer.json", "[]");
  EXPECT_EQ(load(), "[text] " + file + ": the document must be an object, not array");
  dir.write("tokenizer.json", "{\"model\": \"\xff\"}");
  EXPECT_THAT(load(), StartsWith("[text] " + file + ": is not valid JSON: "));
  dir.write("tokenizer.json", std::string(100000, '['));
  EXPECT_EQ(load(), "[text] " + file + ": JSON is nested more than 200 deep");
  std::filesystem::remove(dir / "tokenizer.json");
  std::filesystem::create_directory(dir / "tokenizer.json");
  EXPECT_THAT(load(), StartsWith("[text] " + file + ": cannot be read"));
  std::filesystem::remove(dir / "tokenizer.json");
  dir.write("tokenizer.json", "{");
  std::filesystem::resize_file(dir / "tokenizer.json", (std::uintmax_t{256} << 20) + 1);  // sparse
  EXPECT_EQ(load(), "[text] " + file + ": has 268435457 bytes; at most 268435456 are accepted");
}

TEST(BrokenTokenizer, EveryTruncationIsAnError) {
  const std::string whole = test::variant("llama3").dump();
  std::mt19937 rng(1);
  for (int i = 0; i < 300; ++i) {
    const auto cut = rng() % (whole.size() - 1);
    EXPECT_THAT(test::error_text([&] { Tokenizer::parse(whole.substr(0, cut), "t.json"); }),
                StartsWith("[text] t.json: is not valid JSON: "));
  }
}

// Replaces every value of the document, one after the other, by values of other types: an error with the
// file's name, or a tokenizer that works; never a crash.
TEST(BrokenTokenizer, EveryFieldOfAnotherType) {
  json document = test::variant("added-flags-nfc");
  document["post_processor"] = test::variant("llama3")["post_processor"];
  // Few tokens, so that the walk over all fields stays short.
  document["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}, {"e", 3}};
  document["model"]["merges"] = json::array({json::array({"a", "b"})});
  document["added_tokens"] = json::array({special(4, "<s>"), special(5, "</s>")});
  document["post_processor"]["processors"][1]["special_tokens"]["<s>"]["ids"] = {4};
  document["post_processor"]["processors"][1]["special_tokens"]["</s>"]["ids"] = {5};
  ASSERT_EQ(error_of(document), "no error");
  int errors = 0, fields = 0;
  const json flat = document.flatten();
  std::vector<std::string> pointers;
  for (const auto& [pointer, value] : flat.items()) {
    for (std::string p = pointer; !p.empty(); p = p.substr(0, p.rfind('/'))) pointers.push_back(p);
  }
  const json others[] = {nullptr,          true,           17,        -1, 1e300, "text", "", json::array(),
                         json::array({1}), json::object(), {{"x", 1}}};
  for (const auto& pointer : pointers) {
    for (const auto& other : others) {
      json changed = document;
      changed[json::json_pointer(pointer)] = other;
      const std::string error = error_of(changed);
      if (error != "no error") {
        EXPECT_THAT(error, StartsWith("[text] t.json: ")) << pointer << " " << other;
        ++errors;
      }
      ++fields;
    }
  }
  EXPECT_GT(fields, 1000);
  EXPECT_GT(errors, fields / 2);
}

TEST(BrokenTokenizer, Document) {
  EXPECT_EQ(error_with({{"extra", 1}}),
            "[text] t.json: the document has the unknown key 'extra' (known: version, truncation, padding, "
            "added_tokens, "
            "normalizer, pre_tokenizer, post_processor, decoder, model)");
  EXPECT_EQ(error_with({{"version", "2.0"}}), "[text] t.json: version is '2.0'; only 1.0 is known");
  json without = test::variant("gpt2");
  without.erase("model");
  EXPECT_EQ(error_of(without), "[text] t.json: the document has no 'model'");
  without = test::variant("gpt2");
  without["model"].erase("merges");
  EXPECT_EQ(error_of(without), "[text] t.json: model has no 'merges'");
}

TEST(BrokenTokenizer, UnknownConstructs) {
  EXPECT_EQ(error_at("/model/type", "Unigram"),
            "[text] t.json: model.type is 'Unigram'; only BPE is supported");
  EXPECT_EQ(error_at("/normalizer", {{"type", "NFKC"}}),
            "[text] t.json: normalizer.type is 'NFKC'; supported normalizers: NFC, Sequence");
  EXPECT_EQ(
      error_at("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}}),
      "[text] t.json: normalizer.normalizers[0].type is 'Lowercase'; supported normalizers: NFC, Sequence");
  EXPECT_EQ(error_at("/pre_tokenizer/pretokenizers/0/type", "Metaspace"),
            "[text] t.json: pre_tokenizer.pretokenizers[0].type is 'Metaspace'; supported pre-tokenizers: "
            "ByteLevel, Split, "
            "Digits, Sequence");
  EXPECT_EQ(
      error_at("/pre_tokenizer", nullptr),
      "[text] t.json: model is used without a ByteLevel pre-tokenizer; only byte-level BPE is supported");
  EXPECT_EQ(
      error_at("/pre_tokenizer/pretokenizers/0/behavior", "Splitted"),
      "[text] t.json: pre_tokenizer.pretokenizers[0].behavior is 'Splitted'; supported: Removed, Isolated, "
      "MergedWithPrevious, MergedWithNext, Contiguous");
  EXPECT_EQ(error_at("/pre_tokenizer/pretokenizers/0/bonus", 1),
            "[text] t.json: pre_tokenizer.pretokenizers[0] has the unknown key 'bonus' (known: type, "
            "pattern, behavior, invert)");
  EXPECT_EQ(error_at("/post_processor", {{"type", "BertProcessing"}}),
            "[text] t.json: post_processor.type is 'BertProcessing'; supported post-processors: ByteLevel, "
            "TemplateProcessing, Sequence");
  EXPECT_EQ(error_at("/decoder", nullptr), "[text] t.json: decoder is null; only ByteLevel is supported");
  EXPECT_EQ(error_at("/decoder/type", "WordPiece"),
            "[text] t.json: decoder.type is 'WordPiece'; supported decoders: ByteLevel");
  EXPECT_EQ(error_at("/model/byte_fallback", true),
            "[text] t.json: model.byte_fallback is true; only byte-level vocabularies are supported");
  EXPECT_EQ(error_at("/model/dropout", 0.1),
            "[text] t.json: model.dropout is 0.1; BPE dropout makes encoding random and is not supported");
  EXPECT_EQ(error_at("/model/dropout", 0.0), "no error");
  EXPECT_EQ(error_at("/model/end_of_word_suffix", "</w>"),
            "[text] t.json: model.end_of_word_suffix is '</w>'; only empty is supported");
}

TEST(BrokenTokenizer, VocabularyAndMerges) {
  EXPECT_EQ(error_at("/model/vocab", json::object()), "[text] t.json: model.vocab is empty");
  EXPECT_EQ(error_at("/model/vocab/zzz", -1),
            "[text] t.json: model.vocab gives 'zzz' the id -1; an id is an integer in 0..100000000");
  EXPECT_EQ(error_at("/model/vocab/zzz", 1.5),
            "[text] t.json: model.vocab gives 'zzz' the id 1.5; an id is an integer in 0..100000000");
  EXPECT_EQ(error_at("/model/vocab/zzz", 99999999),
            "[text] t.json: model.vocab has 401 tokens but an id of 99999999");
  EXPECT_EQ(error_at("/model/vocab/zzz", 0),
            "[text] t.json: model.vocab gives the id 0 to both '!' and 'zzz'");
  EXPECT_EQ(error_at("/model/merges/3", {"a", "zzz"}),
            "[text] t.json: model.merges[3] names 'zzz', which is not in model.vocab");
  EXPECT_EQ(error_at("/model/merges/3", {"z", "z"}),
            "[text] t.json: model.merges[3] names 'zz', which is not in model.vocab");
  for (const json& bad : {json("ab"), json("a b c"), json("a  b")}) {
    EXPECT_EQ(error_at("/model/merges/3", bad), "[text] t.json: model.merges[3] is '" +
                                                    bad.get<std::string>() +
                                                    "'; a merge is two tokens with one space between them");
  }
  EXPECT_EQ(error_at("/model/merges/3", {"a", "b", "c"}),
            R"([text] t.json: model.merges[3] is ["a","b","c"]; a merge is "a b" or ["a", "b"])");
  EXPECT_EQ(error_at("/model/unk_token", "<unk>"),
            "[text] t.json: model.unk_token is '<unk>', which is not in model.vocab");
}

TEST(BrokenTokenizer, AddedTokens) {
  const auto error = [](const std::vector<json>& tokens) { return error_with({{"added_tokens", tokens}}); };
  EXPECT_EQ(error({special(400, "<s>")}), "no error");
  EXPECT_EQ(error({special(401, "<s>")}),
            "[text] t.json: added_tokens[0] gives '<s>' the id 401, but the next free id is 400");
  EXPECT_EQ(error({special(5, "<s>")}),
            "[text] t.json: added_tokens[0] gives '<s>' the id 5, but the next free id is 400");
  EXPECT_EQ(error({special(400, "a")}),
            "[text] t.json: added_tokens[0] gives 'a' the id 400, but model.vocab says 64");
  EXPECT_EQ(error({special(400, "<s>"), special(401, "<s>")}),
            "[text] t.json: added_tokens[1] repeats the token '<s>'");
  EXPECT_EQ(error({special(400, "<s>"), special(400, "</s>")}),
            "[text] t.json: added_tokens[1] gives '</s>' the id 400 of '<s>'");
  EXPECT_EQ(error({special(400, "")}), "[text] t.json: added_tokens[0].content is empty");
  EXPECT_EQ(error({json{{"id", 400}}}), "[text] t.json: added_tokens[0] has no 'content'");
  EXPECT_THAT(error({json{{"id", 400}, {"content", "<s>"}, {"strip", true}}}),
              HasSubstr("added_tokens[0] has the unknown key 'strip'"));
  EXPECT_EQ(error({json{{"id", "400"}, {"content", "<s>"}}}),
            "[text] t.json: added_tokens[0].id must be an integer, not string");
  EXPECT_EQ(error({json{{"id", 400}, {"content", "<s>"}, {"lstrip", 1}}}),
            "[text] t.json: added_tokens[0].lstrip must be true or false, not number");
}

TEST(BrokenTokenizer, PostProcessor) {
  json document = test::variant("template");
  document["post_processor"]["special_tokens"]["<s>"]["ids"] = {7};
  EXPECT_EQ(error_of(document),
            "[text] t.json: post_processor.special_tokens.<s>.ids[0] is 7, but the vocabulary has another "
            "id, or none, for '<s>'");
  document = test::variant("template");
  document["post_processor"]["special_tokens"].erase("</s>");
  EXPECT_EQ(error_of(document),
            "[text] t.json: post_processor.single[2].SpecialToken.id is '</s>', which special_tokens does "
            "not define");
}

TEST(BrokenTokenizer, Patterns) {
  const auto error = [](const char* pattern) {
    return error_at("/pre_tokenizer/pretokenizers/0/pattern/Regex", pattern);
  };
  const std::string where = "[text] t.json: pre_tokenizer.pretokenizers[0].pattern ";
  EXPECT_EQ(error(""), where + "is empty");
  EXPECT_THAT(error("(a"), HasSubstr("does not compile at offset 2: "));
  for (const char* unknown : {"\\w+",  "\\ba", "^a",         "a$",     "[[:alpha:]]", "[a&&b]",  "a{1,3}+",
                              "a{,3}", "\\h",  "\\p{Alpha}", "\\pL",   "(?x:a b)",    "(?<n>a)", "\\K",
                              "\\R",   "\\X",  "(*COMMIT)",  "\\k<n>", "\\1",         "[^\\S]",  "\\xff",
                              "a\\",   "[]",   "[a",         "(?m)."}) {
    EXPECT_THAT(error(unknown), HasSubstr("which has no known equivalent here")) << unknown;
  }
  EXPECT_EQ(error_at("/pre_tokenizer/pretokenizers/0/pattern", {{"Regex", "a"}, {"String", "b"}}),
            where + "must have one of 'Regex' and 'String'");
}

TEST(BrokenTokenizer, HostilePatternEnds) {
  json document = test::variant("qwen");
  document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a+)+b|(a|a)*c";
  const Tokenizer tokenizer = Tokenizer::parse(document.dump(), "t.json");
  EXPECT_THAT(test::error_text([&] { tokenizer.encode(std::string(64, 'a')); }),
              StartsWith("[text] a tokenizer regex failed at byte 0 of a piece of 64 bytes: "));
}

}  // namespace
}  // namespace tetrad::text
