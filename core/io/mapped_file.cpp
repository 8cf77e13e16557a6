#include "io/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace tetrad::io {
namespace {

std::uintptr_t page_size() noexcept {
  return static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file) : path_(file) {
  // O_NONBLOCK: opening a FIFO must not hang; it is refused below as no regular file.
  fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0)
    throw Error(fmt::format("[file] {}: cannot be opened: {}", file.string(), std::strerror(errno)));
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    const int error = errno;
    close();
    throw Error(fmt::format("[file] {}: {}", file.string(), std::strerror(error)));
  }
  if (!S_ISREG(info.st_mode)) {
    close();
    throw Error(fmt::format("[file] {}: not a regular file", file.string()));
  }
  size_ = static_cast<std::size_t>(info.st_size);
  mtime_ns_ = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd_, 0);
  if (mapped == MAP_FAILED) {
    const int error = errno;
    close();
    throw Error(
        fmt::format("[file] {}: cannot map {} bytes: {}", file.string(), size_, std::strerror(error)));
  }
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  close();
}

MappedFile::MappedFile(MappedFile&& other) noexcept {
  *this = std::move(other);
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  close();
  path_ = std::move(other.path_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  mtime_ns_ = other.mtime_ns_;
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

void MappedFile::close() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (fd_ >= 0) ::close(fd_);
  data_ = nullptr;
  fd_ = -1;
}

void MappedFile::prefetch(std::span<const std::byte> range) const noexcept {
  if (range.empty()) return;
  const std::uintptr_t page = page_size();
  const auto address = reinterpret_cast<std::uintptr_t>(range.data());
  const std::uintptr_t begin = address / page * page;
  ::madvise(reinterpret_cast<void*>(begin), address + range.size() - begin, MADV_WILLNEED);
}

void MappedFile::release(std::span<const std::byte> range, PageCache cache) const noexcept {
  const std::uintptr_t page = page_size();
  const auto address = reinterpret_cast<std::uintptr_t>(range.data());
  const auto base = reinterpret_cast<std::uintptr_t>(data_);
  // Inwards, because a page at the edge may hold the neighbour's first bytes; the file's own end counts as a
  // page's.
  const std::uintptr_t begin = (address + page - 1) / page * page;
  std::uintptr_t end = (address + range.size()) / page * page;
  if (address + range.size() == base + size_) end = (base + size_ + page - 1) / page * page;
  if (range.empty() || begin >= end) return;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  if (cache == PageCache::drop) {
    ::posix_fadvise(fd_, static_cast<off_t>(begin - base), static_cast<off_t>(end - begin),
                    POSIX_FADV_DONTNEED);
  }
}

}  // namespace tetrad::io
