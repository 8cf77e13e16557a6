#include "plugin/registry.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tetrad::plugin {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".so";
constexpr std::string_view kCudaSuffix = ".cuda.so";

std::string stem_of(const fs::path& file) {
  std::string name = file.filename().string();
  if (name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  return name;
}

// Why the permissions of a file, or of the folder it really lies in, rule it out; empty when they do not.
std::string unsafe(const fs::path& file) {
  std::error_code ec;
  const fs::path real = fs::canonical(file, ec);
  if (ec) return fmt::format("cannot be opened: {}", ec.message());
  for (const fs::path& path : {real, real.parent_path()}) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return fmt::format("cannot be opened: {}", std::strerror(errno));
    if ((info.st_mode & S_IWOTH) != 0) {
      return fmt::format("{} is world-writable (mode {:o}); chmod o-w it after checking who wrote it",
                         path == real ? "the file" : "its folder " + path.string(), info.st_mode & 07777);
    }
  }
  return {};
}

// Metadata, fingerprint and file of one half of a plugin. Fills metadata, build_id, refusal and warnings.
void judge(const fs::path& file, const Fingerprint& host, Candidate& result) {
  result.refusal = unsafe(file);
  if (result.refusal.starts_with("cannot")) return;
  const ElfImage image = read_elf(file);
  result.build_id = image.build_id;
  std::string reason = image.problem;
  if (image.note) {
    try {
      result.metadata = parse_metadata(*image.note);
      result.id = result.metadata->id;
    } catch (const Error& e) {
      if (reason.empty()) reason = e.what();
    }
  } else if (reason.empty()) {
    reason = "not a Tetrad plugin: it has no Tetrad note; build it with tetrad_add_plugin()";
  }
  if (reason.empty()) {
    Comparison comparison = compare(result.metadata->fingerprint, host);
    reason = std::move(comparison.refusal);
    result.warnings = std::move(comparison.warnings);
  }
  if (result.refusal.empty()) result.refusal = std::move(reason);
}

void judge_cuda_half(const Fingerprint& host, Candidate& main) {
  std::string name = main.file.filename().string();
  if (!name.ends_with(kSuffix)) return;
  name.resize(name.size() - kSuffix.size());
  const fs::path file = main.file.parent_path() / (name + std::string(kCudaSuffix));
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return;
  main.cuda_file = file;
  Candidate half;
  judge(file, host, half);
  main.cuda_refusal = half.refusal;
  if (!half.refusal.empty() || !main.metadata) return;
  const auto differs = [&](const char* what, const std::string& cuda, const std::string& cpu) {
    if (cuda != cpu && main.cuda_refusal.empty()) {
      main.cuda_refusal = fmt::format("its {} is '{}', that of {} is '{}'; build both together", what, cuda,
                                      main.file.filename().string(), cpu);
    }
  };
  differs("id", half.metadata->id, main.metadata->id);
  differs("version", half.metadata->version, main.metadata->version);
  differs("interface hash", half.metadata->fingerprint.fields["interface_hash"].get<std::string>(),
          main.metadata->fingerprint.fields["interface_hash"].get<std::string>());
  if (main.cuda_refusal.empty() && half.metadata->fingerprint.fields["cuda"].is_null()) {
    main.cuda_refusal = "it was not built as a CUDA half; list its sources under CUDA_SOURCES";
  }
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

// The id nearest to a misspelt one among the candidates that `eligible` accepts, as "; did you mean 'x'?";
// empty when none is near.
template <class Eligible>
std::string nearest(const std::vector<Candidate>& candidates, const std::string& id, Eligible&& eligible) {
  std::string near;
  std::size_t best = std::max<std::size_t>(2, id.size() / 3) + 1;
  for (const Candidate& candidate : candidates) {
    if (!eligible(candidate)) continue;
    const std::size_t distance = edit_distance(id, candidate.id);
    if (distance < best) {
      best = distance;
      near = candidate.id;
    }
  }
  return near.empty() ? near : fmt::format("; did you mean '{}'?", near);
}

std::string kinds_text(const Metadata& metadata) {
  return fmt::format("{}", fmt::join(metadata.kinds, ", "));
}

}  // namespace

bool is_path(std::string_view path) noexcept {
  return path.find('/') != std::string_view::npos;
}

std::string Candidate::describe_refusal() const {
  return fmt::format("plugin '{}' (file {}): refused: {}", id, file.string(), refusal);
}

Candidate judge_file(const fs::path& file, PlaceClass place, const Fingerprint& host) {
  Candidate result;
  result.id = stem_of(file);
  std::error_code ignored;
  result.file = fs::absolute(file, ignored).lexically_normal();
  result.place = place;
  judge(result.file, host, result);
  judge_cuda_half(host, result);
  return result;
}

Registry::Registry(std::vector<Place> places, const Fingerprint& host)
    : places_(std::move(places)), host_(host) {
  for (Place& place : places_) scan(place, host);
  mark_shadows();
}

void Registry::scan(Place& place, const Fingerprint& host) {
  std::error_code ec;
  const fs::file_status status = fs::status(place.folder, ec);
  if (!fs::exists(status)) {
    place.note = "does not exist";
    return;
  }
  if (!fs::is_directory(status)) {
    place.note = "not a folder";
    return;
  }
  std::vector<fs::path> files;
  for (fs::directory_iterator it(place.folder, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(kSuffix) && !name.ends_with(kCudaSuffix) && name.size() > kSuffix.size())
      files.push_back(it->path());
  }
  if (ec) {
    place.note = "cannot be read: " + ec.message();
    return;
  }
  std::sort(files.begin(), files.end());
  std::size_t repeated = 0;
  for (const fs::path& file : files) {
    struct stat info {};
    if (::stat(file.c_str(), &info) == 0) {
      const std::pair<std::uint64_t, std::uint64_t> identity(info.st_dev, info.st_ino);
      if (std::find(seen_.begin(), seen_.end(), identity) != seen_.end()) {
        ++repeated;
        continue;
      }
      seen_.push_back(identity);
    }
    candidates_.push_back(judge_file(file, place.cls, host));
  }
  place.note = fmt::format("{} plugin file{}", files.size(), files.size() == 1 ? "" : "s");
  if (repeated > 0) place.note += fmt::format(", {} of them seen before", repeated);
}

void Registry::mark_shadows() {
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    for (std::size_t j = 0; j < candidates_.size(); ++j) {
      Candidate& candidate = candidates_[i];
      const Candidate& other = candidates_[j];
      if (i == j || candidate.id != other.id || !candidate.shadow.empty()) continue;
      if (other.place < candidate.place) {
        candidate.shadow = fmt::format("{} in {} comes first", other.file.string(), place_name(other.place));
      } else if (other.place == candidate.place) {
        // Both are out: which one was meant cannot be told.
        candidate.refusal = fmt::format(
            "the id '{}' appears twice in {}: {} and {}; remove one", candidate.id, place_name(other.place),
            candidates_[std::min(i, j)].file.string(), candidates_[std::max(i, j)].file.string());
      }
    }
  }
}

std::string Registry::places_text() const {
  std::string text = "places searched:";
  for (const PlaceClass cls :
       {PlaceClass::command_line, PlaceClass::config, PlaceClass::environment, PlaceClass::install}) {
    bool any = false;
    for (const Place& place : places_) {
      if (place.cls != cls) continue;
      any = true;
      text += fmt::format("\n  {} {}: {}", place_name(cls), place.folder.string(), place.note);
    }
    if (!any) text += fmt::format("\n  {}: not set", place_name(cls));
  }
  return text;
}

std::string Registry::candidates_text(std::string_view kind, const std::string& id) const {
  std::string text = "candidates:";
  if (candidates_.empty()) text += " none";
  for (const Candidate& candidate : candidates_) {
    std::string reason = candidate.refusal.empty() ? candidate.shadow : "refused: " + candidate.refusal;
    if (reason.empty() && !candidate.metadata->has_kind(kind)) {
      reason = fmt::format("is of kind {}, not {}", kinds_text(*candidate.metadata), kind);
    }
    if (reason.empty()) reason = fmt::format("usable, but its id is not '{}'", id);
    text += fmt::format("\n  {} (file {}): {}", candidate.id, candidate.file.string(), reason);
  }
  return text;
}

Candidate Registry::find(std::string_view kind, const std::string& id) const {
  const auto fail = [&](const std::string& what, const std::string& details) {
    throw Error(ExitCode::plugin_refused, "[plugin] " + what + details);
  };
  const auto checked = [&](const Candidate& found, const std::string& details) {
    if (!found.refusal.empty()) fail(found.describe_refusal(), details);
    if (!found.metadata->has_kind(kind)) {
      fail(fmt::format("plugin '{}' (file {}): refused: it is of kind {}, the config asks for kind {}",
                       found.id, found.file.string(), kinds_text(*found.metadata), kind),
           details);
    }
    return found;
  };
  if (is_path(id)) return checked(judge_file(id, PlaceClass::explicit_path, host_), "");

  const std::string details = "\n" + candidates_text(kind, id) + "\n" + places_text();
  for (const Candidate& candidate : candidates_) {
    if (candidate.id == id && candidate.shadow.empty()) return checked(candidate, details);
  }
  const std::string near =
      nearest(candidates_, id, [&](const Candidate& c) { return c.usable() && c.metadata->has_kind(kind); });
  fail(fmt::format("there is no plugin '{}' of kind {}{}", id, kind, near), details);
  return {};
}

Candidate Registry::locate(const std::string& id_or_path) const {
  std::error_code ignored;
  if (is_path(id_or_path) || (id_or_path.ends_with(kSuffix) && fs::exists(id_or_path, ignored))) {
    if (!fs::exists(id_or_path, ignored))
      throw Error(ExitCode::plugin_refused, fmt::format("[plugin] there is no file {}", id_or_path));
    return judge_file(id_or_path, PlaceClass::explicit_path, host_);
  }
  for (const Candidate& candidate : candidates_) {
    if (candidate.id == id_or_path && candidate.shadow.empty()) return candidate;
  }
  const std::string near = nearest(candidates_, id_or_path, [](const Candidate&) { return true; });
  throw Error(ExitCode::plugin_refused,
              fmt::format("[plugin] there is no plugin '{}'{}\n{}", id_or_path, near, places_text()));
}

}  // namespace tetrad::plugin
