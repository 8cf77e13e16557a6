// Paths of the fixtures and folders of copies of them, for the plugin tests.
#pragma once

#include <tetrad/base/error.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace tetrad_test {

namespace fs = std::filesystem;

inline fs::path fixture(const std::string& id) {
  return fs::path(TETRAD_FIXTURES) / id / (id + ".so");
}

inline std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline fs::path write_file(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
  return file;
}

// A folder of the test's own, removed at its end.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "tetrad-plugin-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  // A copy of a fixture in this folder.
  fs::path copy(const std::string& id, const std::string& name) const {
    fs::copy_file(fixture(id), path_ / name);
    return path_ / name;
  }

 private:
  fs::path path_;
};

// The message and exit code of the tetrad::Error that f throws.
template <class F>
std::string error_of(F&& f, tetrad::ExitCode expected) {
  try {
    f();
  } catch (const tetrad::Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(expected)) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace tetrad_test
