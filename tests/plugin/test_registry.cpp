// Search order, duplicates, shadows, unsafe permissions, choices, and the messages of each.
#include <sys/stat.h>
#include <tetrad/base/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "plugin/fixture_files.h"
#include "plugin/registry.h"

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;
using tetrad::ExitCode;
using tetrad_test::error_of;
using tetrad_test::fixture;
using tetrad_test::Folder;
namespace fs = std::filesystem;
namespace plugin = tetrad::plugin;
using plugin::Place;
using plugin::PlaceClass;
using plugin::Registry;

namespace {

Place command_line(const Folder& folder) {
  return {PlaceClass::command_line, folder.path(), {}};
}
Place config(const Folder& folder) {
  return {PlaceClass::config, folder.path(), {}};
}
Place install(const Folder& folder) {
  return {PlaceClass::install, folder.path(), {}};
}

std::string find_error(const Registry& registry, const std::string& kind, const std::string& id) {
  return error_of([&] { registry.find(kind, id); }, ExitCode::plugin_refused);
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

TEST(Registry, FindsByIdAndByPath) {
  Folder folder;
  folder.copy("good", "any-name.so");
  const Registry registry({install(folder)});
  const plugin::Candidate found = registry.find("echo", "good");
  EXPECT_EQ(found.file, folder / "any-name.so");
  EXPECT_EQ(found.metadata->version, "1.2.3");
  EXPECT_TRUE(found.warnings.empty());
  EXPECT_EQ(found.build_id.size(), 40U);
  EXPECT_EQ(found.metadata->options_for("echo").size(), 3U);
  EXPECT_EQ(registry.find("echo", fixture("good").string()).place, PlaceClass::explicit_path);
}

TEST(Registry, EarlierPlaceWinsAndTheLaterOneSaysSo) {
  Folder first;
  Folder second;
  first.copy("good", "good.so");
  second.copy("good", "good.so");
  const Registry registry({command_line(first), install(second)});
  EXPECT_EQ(registry.find("echo", "good").file, first / "good.so");
  ASSERT_EQ(registry.candidates().size(), 2U);
  EXPECT_EQ(registry.candidates()[1].shadow, (first / "good.so").string() + " in --plugin-path comes first");
}

TEST(Registry, ARefusedFileIsNotPassedOverSilently) {
  Folder first;
  Folder second;
  first.copy("wrong-hash", "good.so");  // its own id is wrong-hash
  tetrad_test::write_file(first / "good2.so", "");
  fs::remove(first / "good.so");
  tetrad_test::write_file(first / "good.so",
                          "\x7f"
                          "ELF");
  second.copy("good", "good.so");
  const Registry registry({command_line(first), install(second)});
  EXPECT_EQ(first_line(find_error(registry, "echo", "good")),
            "[plugin] plugin 'good' (file " + (first / "good.so").string() +
                "): refused: truncated: only 4 bytes of an ELF header");
}

TEST(Registry, SameIdTwiceInOnePlaceListsBoth) {
  Folder folder;
  folder.copy("good", "a.so");
  folder.copy("good", "b.so");
  const Registry registry({config(folder)});
  for (const plugin::Candidate& candidate : registry.candidates()) EXPECT_FALSE(candidate.usable());
  EXPECT_EQ(first_line(find_error(registry, "echo", "good")),
            "[plugin] plugin 'good' (file " + (folder / "a.so").string() +
                "): refused: the id 'good' appears twice in plugins.path: " + (folder / "a.so").string() +
                " and " + (folder / "b.so").string() + "; remove one");
}

TEST(Registry, SameFileTwiceIsOneCandidate) {
  Folder first;
  Folder second;
  first.copy("good", "good.so");
  fs::create_hard_link(first / "good.so", first / "hard.so");
  fs::create_symlink(first / "good.so", second / "soft.so");
  const Registry registry({command_line(first), config(second), command_line(first)});
  EXPECT_EQ(registry.candidates().size(), 1U);
  EXPECT_EQ(registry.places()[1].note, "1 plugin file, 1 of them seen before");
  EXPECT_EQ(registry.find("echo", "good").file, first / "good.so");
}

TEST(Registry, WorldWritableFilesAndFoldersAreRefused) {
  Folder folder;
  folder.copy("good", "good.so");
  ::chmod((folder / "good.so").c_str(), 0757);
  EXPECT_EQ(plugin::judge_file(folder / "good.so", PlaceClass::config).refusal,
            "the file is world-writable (mode 757); chmod o-w it after checking who wrote it");
  ::chmod((folder / "good.so").c_str(), 0755);
  EXPECT_EQ(plugin::judge_file(folder / "good.so", PlaceClass::config).refusal, "");
  ::chmod(folder.path().c_str(), 0777);
  EXPECT_EQ(plugin::judge_file(folder / "good.so", PlaceClass::config).refusal,
            "its folder " + folder.path().string() +
                " is world-writable (mode 777); chmod o-w it after checking who wrote it");
  // A link into a safe-looking folder does not hide where the file really lies.
  Folder safe;
  fs::create_symlink(folder / "good.so", safe / "good.so");
  EXPECT_THAT(plugin::judge_file(safe / "good.so", PlaceClass::config).refusal, HasSubstr("world-writable"));
}

TEST(Registry, FailureListsCandidatesPlacesAndANearName) {
  Folder folder;
  folder.copy("good", "good.so");
  folder.copy("wrong-hash", "wrong-hash.so");
  tetrad_test::write_file(folder / "text.so", "hello, this is no library at all");
  tetrad_test::write_file(folder / "readme.txt", "not looked at");
  const Registry registry({config(folder), Place{PlaceClass::install, "/nonexistent/plugins", {}}});
  const std::string text = find_error(registry, "echo", "godo");
  EXPECT_THAT(
      text,
      StartsWith("[plugin] there is no plugin 'godo' of kind echo; did you mean 'good'?\ncandidates:\n"));
  EXPECT_THAT(text, HasSubstr("\n  good (file " + (folder / "good.so").string() +
                              "): usable, but its id is not 'godo'\n"));
  EXPECT_THAT(text,
              HasSubstr("\n  text (file " + (folder / "text.so").string() + "): refused: not an ELF file\n"));
  EXPECT_THAT(text, HasSubstr("wrong-hash.so): refused: SDK interface hash 0123456789ab != host "));
  EXPECT_THAT(text, EndsWith("\nplaces searched:\n  --plugin-path: not set\n  plugins.path " +
                             folder.path().string() +
                             ": 3 plugin files\n  TETRAD_PLUGIN_PATH: not set\n  install folder "
                             "/nonexistent/plugins: does not exist"));
  EXPECT_EQ(first_line(find_error(registry, "echo", "something-else-entirely")),
            "[plugin] there is no plugin 'something-else-entirely' of kind echo");
}

TEST(Registry, WrongKind) {
  Folder folder;
  folder.copy("good", "good.so");
  const Registry registry({config(folder)});
  EXPECT_EQ(first_line(find_error(registry, "linear", "good")),
            "[plugin] plugin 'good' (file " + (folder / "good.so").string() +
                "): refused: it is of kind echo, the config asks for kind linear");
  EXPECT_EQ(first_line(find_error(registry, "linear", "godo")),
            "[plugin] there is no plugin 'godo' of kind linear");
}

TEST(Registry, CudaHalfMustMatch) {
  Folder folder;
  folder.copy("good", "good.so");
  EXPECT_FALSE(plugin::judge_file(folder / "good.so", PlaceClass::config).cuda_file);
  folder.copy("good", "good.cuda.so");
  plugin::Candidate found = plugin::judge_file(folder / "good.so", PlaceClass::config);
  ASSERT_TRUE(found.cuda_file);
  EXPECT_EQ(found.refusal, "");
  EXPECT_EQ(found.cuda_refusal, "it was not built as a CUDA half; list its sources under CUDA_SOURCES");
  fs::remove(folder / "good.cuda.so");
  folder.copy("throws-create", "good.cuda.so");
  EXPECT_EQ(plugin::judge_file(folder / "good.so", PlaceClass::config).cuda_refusal,
            "its id is 'throws-create', that of good.so is 'good'; build both together");
  const Registry registry({config(folder)});
  EXPECT_EQ(registry.candidates().size(), 1U) << "a CUDA half is no candidate of its own";
}

TEST(Fingerprint, EachFieldIsNamedWithBothValues) {
  const plugin::Fingerprint host = plugin::host_fingerprint();
  const auto refusal = [&](const char* key, const nlohmann::json& value) {
    plugin::Fingerprint other = host;
    other.fields[key] = value;
    return plugin::compare(other, host).refusal;
  };
  EXPECT_EQ(plugin::compare(host, host).refusal, "");
  EXPECT_EQ(refusal("machine", "riscv"),
            std::string("machine riscv != host ") + plugin::host_machine() + "; rebuild against this SDK");
  EXPECT_EQ(refusal("cxx11_abi", 0), "_GLIBCXX_USE_CXX11_ABI 0 != host 1; rebuild against this SDK");
  EXPECT_EQ(refusal("cxx_library", "libc++"),
            "C++ library libc++ != host libstdc++; rebuild against this SDK");
  EXPECT_EQ(refusal("cxx_library_debug", 1), "_GLIBCXX_DEBUG 1 != host 0; rebuild against this SDK");
  EXPECT_EQ(refusal("pointer_bits", 32), "pointer bits 32 != host 64; rebuild against this SDK");
  EXPECT_EQ(refusal("rtti", 0), "C++ RTTI 0 != host 1; rebuild against this SDK");
  EXPECT_EQ(refusal("exceptions", 0), "C++ exceptions 0 != host 1; rebuild against this SDK");
  EXPECT_THAT(refusal("tsan", 1 - host.fields["tsan"].get<int>()), StartsWith("ThreadSanitizer "));
  EXPECT_THAT(refusal("asan", 1 - host.fields["asan"].get<int>()), StartsWith("AddressSanitizer "));
  EXPECT_THAT(refusal("interface_hash", std::string(64, 'a')),
              StartsWith("SDK interface hash aaaaaaaaaaaa != host "));
  EXPECT_EQ(refusal("torch_version", nullptr), "") << "a plugin without libtorch fits every host";
}

TEST(Fingerprint, LibtorchAndCuda) {
  plugin::Fingerprint host = plugin::host_fingerprint();
  host.fields["torch_version"] = "2.11.0";
  host.fields["cuda"] = {{"version", "13.0.88"}};
  plugin::Fingerprint other = host;
  other.fields["torch_version"] = "2.12.0";
  EXPECT_EQ(plugin::compare(other, host).refusal, "libtorch 2.12.0 != host 2.11.0; rebuild against this SDK");
  other = host;
  other.fields["cuda"] = {{"version", "13.1.0"}};
  EXPECT_EQ(plugin::compare(other, host).refusal, "");
  other.fields["cuda"] = {{"version", "12.8.0"}};
  EXPECT_EQ(plugin::compare(other, host).refusal, "CUDA 12.8.0 != host 13.0.88; rebuild against this SDK");
  host.fields["torch_version"] = nullptr;
  host.fields["cuda"] = nullptr;
  EXPECT_THAT(plugin::compare(other, host).refusal,
              StartsWith("it needs libtorch 2.11.0, and this host was built without"));
  other.fields["torch_version"] = nullptr;
  EXPECT_THAT(plugin::compare(other, host).refusal,
              StartsWith("it needs CUDA 12.8.0, and this host was built without CUDA"));
}

TEST(Fingerprint, AnotherCompilerIsAWarning) {
  const plugin::Fingerprint host = plugin::host_fingerprint();
  plugin::Fingerprint other = host;
  other.fields["compiler_major"] = 99;
  other.fields["cxx_library_release"] = 98;
  other.fields["cxx_abi"] = 2000;
  const plugin::Comparison comparison = plugin::compare(other, host);
  EXPECT_EQ(comparison.refusal, "");
  ASSERT_EQ(comparison.warnings.size(), 3U);
  EXPECT_THAT(comparison.warnings[0], HasSubstr(" 99, the host by "));
}

TEST(Search, OrderOfPlaces) {
  ::setenv("TETRAD_PLUGIN_PATH", "/e1::/e2/", 1);
  const std::vector<Place> places = plugin::search_places({"/c/x/.."}, {"relative", ""});
  ::unsetenv("TETRAD_PLUGIN_PATH");
  ASSERT_EQ(places.size(), 5U);
  EXPECT_EQ(places[0].folder, "/c");
  EXPECT_EQ(places[0].cls, PlaceClass::command_line);
  EXPECT_EQ(places[1].folder, fs::current_path() / "relative");
  EXPECT_EQ(places[2].folder, "/e1");
  EXPECT_EQ(places[3].folder, "/e2");
  EXPECT_EQ(places[3].cls, PlaceClass::environment);
  EXPECT_EQ(places[4].cls, PlaceClass::install);
  EXPECT_THAT(places[4].folder.string(), EndsWith("/lib/tetrad/plugins"));
  EXPECT_FALSE(std::any_of(places.begin(), places.end(),
                           [](const Place& p) { return p.folder == fs::current_path(); }));
}
