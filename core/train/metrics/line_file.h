// A file that grows at its end, each piece handed to the system in one call: what a killed process leaves are
// whole pieces.
#pragma once

#include <filesystem>
#include <string_view>

namespace tetrad::train {

class AppendFile {
 public:
  enum class Existing { append, refuse };

  // Throws Error "[metrics] FILE: ..." when it cannot be opened (or is there already and must not be).
  AppendFile(std::filesystem::path file, Existing existing);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;

  void write(std::string_view bytes);
  // Returns when everything is on the disk.
  void flush();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace tetrad::train
