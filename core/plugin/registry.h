// The registry of plugin files: what lies in the search places, read without running any of it, each file
// with a verdict. find() gives the one plugin that a config means by an id or a path, or an Error that lists
// every candidate with the reason it was not taken and every place that was searched.
//
// Rules: a file found twice (same device and inode) is one candidate. For one id the first place class that
// has it decides (--plugin-path before the config before the environment before the install folder); later
// ones are shadowed. Two different files with one id in the same class are an error that lists both. A
// refused file shadows too: falling back to another copy would be silent. World-writable files and folders
// are refused, because anybody could have written them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/elf_note.h"
#include "plugin/metadata.h"
#include "plugin/search.h"

namespace tetrad::plugin {

struct Candidate {
  std::string id;              // of the metadata; the file's stem where that cannot be read
  std::filesystem::path file;  // absolute, as found
  PlaceClass place = PlaceClass::install;
  std::optional<Metadata> metadata;  // absent: no note, or one that cannot be read
  std::string build_id;
  std::string refusal;  // why this file cannot be used; empty: it can
  std::vector<std::string> warnings;
  std::string shadow;  // why another file of the same id was preferred; empty: it was not
  std::optional<std::filesystem::path> cuda_file;  // <id>.cuda.so beside it
  std::string cuda_refusal;                        // why that half cannot be used

  bool usable() const noexcept { return refusal.empty() && shadow.empty(); }
  // "plugin 'x' (file /a/x.so): refused: libtorch 2.12.0 != host 2.11.0; rebuild against this SDK"
  std::string describe_refusal() const;
};

// Judges one file. Never throws for what is wrong with the file.
Candidate judge_file(const std::filesystem::path& file, PlaceClass place,
                     const Fingerprint& host = host_fingerprint());

class Registry {
 public:
  // Scans the places at once; some milliseconds for tens of files.
  explicit Registry(std::vector<Place> places, const Fingerprint& host = host_fingerprint());

  const std::vector<Place>& places() const noexcept { return places_; }
  // In order of place, then file name.
  const std::vector<Candidate>& candidates() const noexcept { return candidates_; }

  // The plugin that `kind: {plugin: id}` means. `id` with a '/' in it is the path of a file (relative: from
  // the working directory), judged like any other. Throws Error(plugin_refused).
  Candidate find(std::string_view kind, const std::string& id) const;
  // Like find() for any kind, and without a verdict: for `plugins inspect`. Throws only when there is no such
  // file.
  Candidate locate(const std::string& id_or_path) const;

  // One line per place, for error messages.
  std::string places_text() const;

 private:
  std::string candidates_text(std::string_view kind, const std::string& id) const;
  void scan(Place& place, const Fingerprint& host);
  void mark_shadows();

  std::vector<Place> places_;
  std::vector<Candidate> candidates_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> seen_;  // device, inode
  Fingerprint host_;
};

// True when `path` has a folder in it and so names a file, not an id.
bool is_path(std::string_view path) noexcept;

}  // namespace tetrad::plugin
