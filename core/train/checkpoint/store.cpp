#include "train/checkpoint/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "io/atomic_file.h"
#include "sdk/base/printable.h"
#include "train/checkpoint/checksum.h"
#include "train/checkpoint/manifest.h"

namespace tetrad::train {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view latest_name = "latest", unfinished = ".tmp", removed = ".old";

std::string folder_name(std::int64_t step) {
  return fmt::format("step-{:08}", step);
}

// The step of a folder's name "step-N" followed by `ending`.
std::optional<std::int64_t> step_of(std::string_view name, std::string_view ending = {}) {
  if (!name.starts_with("step-") || !name.ends_with(ending)) return {};
  name.remove_prefix(5);
  name.remove_suffix(ending.size());
  std::int64_t step = -1;
  const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (failed != std::errc() || end != name.data() + name.size() || step < 0) return {};
  return step;
}

[[noreturn]] void fail(const fs::path& where, const std::string& what) {
  throw Error(fmt::format("[checkpoint] {}: {}", printable(where.string()), what));
}

void flush_folder(const fs::path& folder) {
  const io::DirectoryFlush flush = io::flush_directory(folder);
  if (flush.error == 0) return;
  fail(folder, fmt::format("{}: {}", flush.opened ? "flushing to the disk failed" : "cannot be opened",
                           std::strerror(flush.error)));
}

// Puts `from` in the place of `to`; where `to` is there already, the two change places at once, so that at no
// moment the name is missing.
void move_into_place(const fs::path& from, const fs::path& to) {
  if (!fs::exists(to)) {
    if (std::rename(from.c_str(), to.c_str()) != 0)
      fail(to, fmt::format("renaming failed: {}", std::strerror(errno)));
    return;
  }
  constexpr unsigned exchange = 2;  // RENAME_EXCHANGE
  if (::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), exchange) != 0) {
    fail(to, fmt::format("a checkpoint of this step is there already, and this file system cannot replace it "
                         "in one step ({}); move it away",
                         std::strerror(errno)));
  }
}

// Bytes that the writer takes, with their checksum.
struct Digest {
  io::SafetensorsWriter& writer;
  const std::string& name;
  Checksum checksum = {};

  void operator()(std::span<const std::byte> bytes) {
    checksum.update(bytes);
    writer.append(name, bytes);
  }
};

ManifestGroup write_group(const fs::path& folder, const std::string& group,
                          const std::vector<const SavedTensor*>& tensors,
                          const std::function<void(std::string_view)>& boundary) {
  const std::string file = group_file(group);
  boundary("create " + file);
  std::vector<io::TensorSpec> specs;
  for (const SavedTensor* tensor : tensors) specs.push_back(tensor->spec);
  io::SafetensorsWriter writer(folder / file, std::move(specs));
  ManifestGroup result{group, writer.file_bytes(), {}};
  for (const SavedTensor* tensor : tensors) {
    boundary("write " + tensor->spec.name);
    Digest digest{writer, tensor->spec.name};
    tensor->write(std::ref(digest));
    result.tensors.push_back({tensor->spec, digest.checksum.hex()});
  }
  boundary("finish " + file);
  writer.finish();
  return result;
}

// JSON has no such numbers, and a state that comes back with other values is worse than an error now.
bool all_finite(const nlohmann::json& value) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  return !value.is_structured() || std::all_of(value.begin(), value.end(), all_finite);
}

void check_content(const CheckpointContent& content) {
  const auto refuse = [](const std::string& what) { throw Error("[checkpoint] cannot save: " + what); };
  if (content.step < 0) refuse(fmt::format("step {} is negative", content.step));
  if (!content.state.is_object()) refuse("the state is not an object");
  if (!all_finite(content.state)) refuse("the state holds a number that is not finite");
  std::set<std::string_view> names;
  for (const SavedTensor& tensor : content.tensors) {
    if (!is_group_name(tensor.group)) refuse(fmt::format("'{}' is no name of a group", tensor.group));
    if (!names.insert(tensor.spec.name).second)
      refuse(fmt::format("there are two tensors '{}'", tensor.spec.name));
  }
}

}  // namespace

CheckpointStore::CheckpointStore(StoreSettings settings) : settings_(std::move(settings)) {
  if (settings_.keep_last < 1)
    throw Error(ExitCode::usage,
                fmt::format("[checkpoint] keep_last {} is less than 1", settings_.keep_last));
  const fs::path& folder = settings_.folder;
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) fail(folder, fmt::format("cannot be made: {}", failed.message()));
  lock_ = ::open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail(folder, fmt::format("cannot be written: {}", std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    fail(folder, "another run is saving its checkpoints here; wait for it, or choose another folder");
  }
  remove_leftovers();
}

CheckpointStore::~CheckpointStore() {
  ::close(lock_);
}

void CheckpointStore::boundary(std::string_view what) const {
  if (settings_.at_boundary) settings_.at_boundary(what);
}

// What cannot be removed is in nobody's way: a folder of these names is never read, and the next start tries
// again.
void CheckpointStore::remove_leftovers() const {
  std::error_code ignored;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(settings_.folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool half_written =
        name.starts_with(fmt::format(".{}.", latest_name)) && name.ends_with(unfinished);
    if (step_of(name, unfinished) || step_of(name, removed) || half_written)
      leftovers.push_back(entry.path());
  }
  for (const fs::path& path : leftovers) fs::remove_all(path, ignored);
}

fs::path CheckpointStore::save(const CheckpointContent& content) {
  check_content(content);
  const std::string name = folder_name(content.step);
  const fs::path target = settings_.folder / name, work = settings_.folder / (name + std::string(unfinished));
  const auto at = [this](std::string_view what) { boundary(what); };
  try {
    boundary("make folder");
    fs::remove_all(work);
    fs::create_directory(work);
    Manifest manifest;
    manifest.step = content.step;
    manifest.identity = content.identity;
    std::map<std::string, std::vector<const SavedTensor*>> groups;
    for (const SavedTensor& tensor : content.tensors) groups[tensor.group].push_back(&tensor);
    for (const auto& [group, tensors] : groups)
      manifest.groups.push_back(write_group(work, group, tensors, at));

    const std::string state = content.state.dump();
    manifest.state_bytes = state.size();
    manifest.state_sha256 = sha256_hex(state);
    boundary("write state");
    io::write_file(work / state_name, std::string_view(state));
    boundary("write manifest");
    io::write_file(work / manifest_name, std::string_view(manifest_text(manifest)));
    boundary("flush folder");
    flush_folder(work);
    boundary("verify");
    Checkpoint::open(work).verify();
    boundary("rename");
    move_into_place(work, target);
    flush_folder(settings_.folder);
    boundary("move latest");
    io::write_file(settings_.folder / latest_name, name + "\n");
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(work, ignored);
    std::string last = "there is no earlier checkpoint";
    try {
      if (const auto good = latest())
        last = fmt::format("the last good checkpoint is {}", printable(good->string()));
    } catch (const Error& none) {
      last = none.what();
    }
    throw Error(
        fmt::format("[checkpoint] step {} could not be saved: {}; {}", content.step, error.what(), last));
  }
  boundary("remove old");
  remove_old(target);
  boundary("done");
  return target;
}

// Leftovers are renamed first: a folder that is being removed must not look like a checkpoint. Checkpoints of
// later steps, from before a run was taken back, do not count and stay.
void CheckpointStore::remove_old(const fs::path& newest) const {
  std::error_code ignored;
  const std::int64_t step = *step_of(newest.filename().string());
  fs::remove_all(settings_.folder / (newest.filename().string() + std::string(unfinished)), ignored);
  int kept = 1;
  auto all = checkpoints(settings_.folder);
  for (auto each = all.rbegin(); each != all.rend(); ++each) {
    if (*step_of(each->filename().string()) >= step || kept++ < settings_.keep_last) continue;
    const fs::path old = settings_.folder / (each->filename().string() + std::string(removed));
    boundary("remove " + each->filename().string());
    fs::rename(*each, old, ignored);
    if (!ignored) fs::remove_all(old, ignored);
  }
}

std::optional<fs::path> CheckpointStore::latest_checkpoint(const fs::path& folder) {
  const fs::path file = folder / latest_name;
  std::error_code failed;
  if (!fs::exists(file, failed)) return {};
  std::ifstream in(file, std::ios::binary);
  std::string name(64, '\0');
  in.read(name.data(), static_cast<std::streamsize>(name.size()));
  name.resize(static_cast<std::size_t>(in.gcount()));
  if (name.ends_with('\n')) name.pop_back();
  if (!step_of(name)) fail(file, fmt::format("does not name a checkpoint but '{}'", printable(name)));
  if (!fs::is_directory(folder / name, failed))
    fail(file, fmt::format("names {}, which is not there; give another checkpoint's folder", name));
  return folder / name;
}

std::vector<fs::path> CheckpointStore::checkpoints(const fs::path& folder) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory(ignored)) found.emplace_back(*step, entry.path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> result;
  for (auto& [step, path] : found) result.push_back(std::move(path));
  return result;
}

fs::path CheckpointStore::find(const fs::path& given) {
  std::error_code ignored;
  if (fs::exists(given / manifest_name, ignored)) return given;
  if (auto latest = latest_checkpoint(given)) return *std::move(latest);
  throw Error(
      ExitCode::usage,
      fmt::format("[checkpoint] {}: neither a checkpoint (a folder with {}) nor a folder of checkpoints "
                  "(with a file '{}')",
                  printable(given.string()), manifest_name, latest_name));
}

}  // namespace tetrad::train
