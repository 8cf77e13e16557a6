// Files that somebody broke, by accident or on purpose: each gets a verdict, none is run, nothing crashes.
#include <elf.h>
#include <tetrad/base/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <vector>

#include "plugin/fixture_files.h"
#include "plugin/registry.h"

using testing::HasSubstr;
using testing::StartsWith;
using tetrad_test::fixture;
using tetrad_test::Folder;
using tetrad_test::read_file;
using tetrad_test::write_file;
namespace fs = std::filesystem;
namespace plugin = tetrad::plugin;

namespace {

std::string refusal_of_bytes(const Folder& folder, const std::string& bytes) {
  return plugin::judge_file(write_file(folder / "x.so", bytes), plugin::PlaceClass::config).refusal;
}

std::string with_header(std::string bytes, const std::function<void(Elf64_Ehdr&)>& change) {
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  change(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

std::string with_segment(std::string bytes, std::uint32_t type,
                         const std::function<void(Elf64_Phdr&)>& change) {
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (int i = 0; i < header.e_phnum; ++i) {
    char* at = bytes.data() + header.e_phoff + static_cast<std::size_t>(i) * sizeof(Elf64_Phdr);
    Elf64_Phdr segment;
    std::memcpy(&segment, at, sizeof segment);
    if (segment.p_type != type) continue;
    // Of several note segments, the one with ours.
    if (type == PT_NOTE &&
        bytes.substr(segment.p_offset, segment.p_filesz).find("Tetrad") == std::string::npos)
      continue;
    change(segment);
    std::memcpy(at, &segment, sizeof segment);
    return bytes;
  }
  ADD_FAILURE() << "no such segment";
  return bytes;
}

// The good plugin with one text of its note replaced by another of the same length.
std::string with_text(std::string bytes, const std::string& from, const std::string& to) {
  EXPECT_EQ(from.size(), to.size());
  const std::size_t at = bytes.find(from);
  EXPECT_NE(at, std::string::npos);
  return bytes.replace(at, from.size(), to);
}

}  // namespace

TEST(HostileFiles, NotALibrary) {
  Folder folder;
  EXPECT_EQ(refusal_of_bytes(folder, ""), "an empty file");
  EXPECT_EQ(refusal_of_bytes(folder, "MZ"), "not an ELF file");
  EXPECT_EQ(refusal_of_bytes(folder, std::string(5000, 'x')), "not an ELF file");
  fs::create_directory(folder / "folder.so");
  EXPECT_EQ(plugin::judge_file(folder / "folder.so", plugin::PlaceClass::config).refusal,
            "not a regular file");
  EXPECT_EQ(plugin::judge_file(folder / "absent.so", plugin::PlaceClass::config).refusal,
            "cannot be opened: No such file or directory");
}

TEST(HostileFiles, OtherElfFiles) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const std::string host = plugin::host_machine();
  EXPECT_EQ(refusal_of_bytes(folder, good), "");
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_machine = EM_RISCV; })),
            "built for riscv, this host is " + host);
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_machine = 4242; })),
            "built for machine 4242, this host is " + host);
  EXPECT_EQ(
      refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; })),
      "not a 64-bit ELF file");
  EXPECT_EQ(
      refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_ident[EI_DATA] = ELFDATA2MSB; })),
      "not a little-endian ELF file");
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_type = ET_EXEC; })),
            "not a shared library (ELF type 2)");
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_phnum = 0; })),
            "it has no program headers");
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_phnum = 0xffff; })),
            "65535 program headers");
  EXPECT_EQ(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_phentsize = 8; })),
            "program headers of 8 bytes");
  EXPECT_THAT(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_phoff = ~0ULL - 8; })),
              StartsWith("truncated: its program header table"));
  EXPECT_THAT(refusal_of_bytes(folder, with_header(good, [](Elf64_Ehdr& h) { h.e_shoff = 1ULL << 40; })),
              StartsWith("truncated: its section header table"));
}

TEST(HostileFiles, SegmentsThatLie) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const auto refusal = [&](std::uint32_t type, const std::function<void(Elf64_Phdr&)>& change) {
    return refusal_of_bytes(folder, with_segment(good, type, change));
  };
  EXPECT_THAT(refusal(PT_NOTE, [](Elf64_Phdr& p) { p.p_filesz = 1ULL << 40; }),
              HasSubstr("more than the limit"));
  EXPECT_THAT(refusal(PT_NOTE, [](Elf64_Phdr& p) { p.p_filesz = 3U << 20; }),
              StartsWith("truncated: its note segment"));
  EXPECT_THAT(refusal(PT_NOTE, [](Elf64_Phdr& p) { p.p_offset = ~0ULL - 1; }),
              StartsWith("truncated: its note segment"));
  EXPECT_THAT(refusal(PT_NOTE, [](Elf64_Phdr& p) { p.p_filesz -= 64; }), StartsWith("a note passes the end"));
  EXPECT_THAT(refusal(PT_NOTE, [](Elf64_Phdr& p) { p.p_type = PT_NULL; }),
              StartsWith("not a Tetrad plugin: it has no Tetrad note"));
  EXPECT_THAT(refusal(PT_LOAD, [](Elf64_Phdr& p) { p.p_filesz = p.p_memsz = ~0ULL; }),
              StartsWith("truncated: a segment of"));
  EXPECT_THAT(refusal(PT_LOAD, [](Elf64_Phdr& p) { p.p_memsz = p.p_filesz - 1; }),
              HasSubstr("size in memory is smaller"));
  EXPECT_EQ(refusal(PT_DYNAMIC, [](Elf64_Phdr& p) { p.p_type = PT_NULL; }), "it has no dynamic section");
  EXPECT_EQ(refusal(PT_DYNAMIC, [](Elf64_Phdr& p) { p.p_filesz = 0; }),
            "its dynamic section names no string table");
}

// The verdict of a file cut anywhere is a refusal, and its metadata stays readable once the note is whole.
TEST(HostileFiles, CutAtEvery64Bytes) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const fs::path file = write_file(folder / "cut.so", good);
  bool readable = true;
  for (std::size_t size = (good.size() - 1) / 64 * 64;; size -= 64) {
    fs::resize_file(file, size);
    const plugin::Candidate cut = plugin::judge_file(file, plugin::PlaceClass::config);
    ASSERT_NE(cut.refusal, "") << "cut at " << size << " of " << good.size();
    ASSERT_TRUE(readable || !cut.metadata) << "cut at " << size;
    ASSERT_TRUE(cut.metadata || size < 16384) << "the note lies near the start; cut at " << size;
    readable = cut.metadata.has_value();
    plugin::read_elf(file, plugin::ElfDetail::symbols);
    if (size == 0) break;
  }
  EXPECT_FALSE(readable);
}

TEST(HostileFiles, RandomDamageNeverCrashesTheReader) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const fs::path path = write_file(folder / "damaged.so", good);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::mt19937 random(20261123);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::size_t> places;
    const int changes = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < changes; ++i) {
      // Half of the damage goes into the headers, where it matters most.
      const std::size_t range = random() % 2 == 0 ? std::min<std::size_t>(1024, good.size()) : good.size();
      places.push_back(random() % range);
      file.seekp(static_cast<std::streamoff>(places.back())).put(static_cast<char>(random()));
    }
    file.flush();
    const plugin::Candidate candidate = plugin::judge_file(path, plugin::PlaceClass::config);
    plugin::read_elf(path, plugin::ElfDetail::symbols);
    ASSERT_TRUE(candidate.metadata || !candidate.refusal.empty());
    for (const std::size_t at : places) file.seekp(static_cast<std::streamoff>(at)).put(good[at]);
  }
  file.flush();
  EXPECT_EQ(read_file(path), good);
}

TEST(HostileFiles, BrokenMetadata) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const auto refusal = [&](const std::string& from, const std::string& to) {
    return refusal_of_bytes(folder, with_text(good, from, to));
  };
  EXPECT_THAT(refusal("\"version\": \"1.2.3\",", "\"version\": \"1.2.3\" "),
              StartsWith("metadata: not JSON: "));
  EXPECT_EQ(refusal("\"version\": \"1.2.3\"", "\"version\": 1234567"),
            "metadata: version must be a JSON string, not number");
  EXPECT_EQ(refusal("\"version\"", "\"varsion\""), "metadata: version is missing");
  EXPECT_EQ(refusal("\"kinds\": [\"echo\"]", "\"kinds\":       []"), "metadata: kinds is empty");
  EXPECT_EQ(refusal("\"kinds\": [\"echo\"]", "\"kinds\": [1234.5]"),
            "metadata: kinds must be a list of strings");
  EXPECT_THAT(refusal("\"id\": \"good\"", "\"id\": \"Good\""), StartsWith("metadata: id may hold a-z"));
  EXPECT_THAT(refusal("\"id\": \"good\"", "\"id\": \"../x\""), StartsWith("metadata: id may hold a-z"));
  EXPECT_EQ(refusal("{\"note\":1,", "{\"note\":2,"), "metadata: its format is 2, this host reads 1");
  EXPECT_EQ(refusal("\"interface_hash\":", "\"interface_bash\":"),
            "metadata: fingerprint.interface_hash is missing");
  EXPECT_EQ(refusal("\"pointer_bits\":64", "\"pointer_bits\":-4"),
            "metadata: fingerprint.pointer_bits must be a JSON number, not number");
  EXPECT_EQ(refusal("\"torch_version\":null", "\"torch_version\":1234"),
            "metadata: fingerprint.torch_version must be a string or null");
}

TEST(HostileFiles, BrokenOptionSchemas) {
  Folder folder;
  const std::string good = read_file(fixture("good"));
  const auto refusal = [&](const std::string& from, const std::string& to) {
    return refusal_of_bytes(folder, with_text(good, from, to));
  };
  EXPECT_EQ(refusal("\"type\": \"string\"", "\"type\": \"strung\""),
            "metadata: options[0].type 'strung' is not bool, int, number, string or enum");
  EXPECT_EQ(refusal("\"default\": 1,", "\"default\":1.5"),
            "metadata: not JSON: " + refusal("\"default\": 1,", "\"default\":1.5").substr(20));
  EXPECT_EQ(refusal("\"default\": 1,", "\"default\":\"\","),
            "metadata: options[1].default does not fit type int");
  EXPECT_EQ(refusal("\"default\": 1,", "\"default\": 0,"),
            "metadata: options[1].default is outside min and max");
  EXPECT_EQ(refusal("\"default\": \"plain\"", "\"default\": \"plane\""),
            "metadata: options[2].default is not one of its values");
  EXPECT_EQ(refusal("\"values\": [\"plain\", \"loud\"]", "\"values\":                []"),
            "metadata: options[2].values must be a list of strings");
  EXPECT_EQ(refusal("\"key\": \"repeat\"", "\"key\": \"prefix\""),
            "metadata: options[1].key 'prefix' appears twice");
  EXPECT_EQ(refusal("\"min\": 1,", "\"min\":\"\","), "metadata: options[1].min does not fit type int");
  EXPECT_EQ(refusal("\"device\": \"cuda\"", "\"device\": \"tpus\""),
            "metadata: capabilities[1].device 'tpus' is not cpu or cuda");
  EXPECT_EQ(refusal("\"support\": \"native\"", "\"support\": \"nature\""),
            "metadata: capabilities[0].support 'nature' is not native, emulated or unsupported");
  EXPECT_EQ(refusal("\"float32\": 1e-6", "\"float32\": -1e6"),
            "metadata: numerics.bounds.float32 must be a number >= 0");
}

TEST(HostileFiles, DeepMetadataIsBounded) {
  EXPECT_EQ(tetrad_test::error_of([] { plugin::parse_metadata(std::string(100000, '[')); },
                                  tetrad::ExitCode::plugin_refused),
            "metadata: nested deeper than 32 levels");
}
