#include "plugin/elf_note.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "sdk/base/printable.h"

namespace tetrad::plugin {
namespace {

constexpr std::uint64_t kMaxNoteSegment = 4U << 20;
constexpr std::uint64_t kMaxDynamic = 1U << 20;
constexpr std::uint64_t kMaxStrings = 256U << 20;
constexpr std::uint64_t kMaxSymbols = 4U << 20;
constexpr std::size_t kMaxProgramHeaders = 1024;

// A problem of the file; read_elf turns it into ElfImage::problem.
struct Problem : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class File {
 public:
  explicit File(const std::filesystem::path& path)
      // O_NONBLOCK: a FIFO among the candidates must not stop the host.
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {
    if (fd_ < 0) throw Problem(fmt::format("cannot be opened: {}", std::strerror(errno)));
    struct stat info {};
    if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd_);
      throw Problem("not a regular file");
    }
    size_ = static_cast<std::uint64_t>(info.st_size);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(fd_); }

  std::uint64_t size() const noexcept { return size_; }
  bool holds(std::uint64_t offset, std::uint64_t length) const noexcept {
    return offset <= size_ && length <= size_ - offset;
  }

  void read(std::uint64_t offset, void* out, std::size_t length, const char* what) const {
    if (!holds(offset, length)) {
      throw Problem(fmt::format("truncated: its {} needs bytes {} to {}, the file has {}", what, offset,
                                offset + length, size_));
    }
    auto* at = static_cast<char*>(out);
    while (length > 0) {
      const ssize_t n = ::pread(fd_, at, length, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0)
        throw Problem(
            fmt::format("its {} cannot be read: {}", what, n == 0 ? "file shrank" : std::strerror(errno)));
      at += n;
      offset += static_cast<std::uint64_t>(n);
      length -= static_cast<std::size_t>(n);
    }
  }
  template <class T>
  T get(std::uint64_t offset, const char* what) const {
    T value;
    read(offset, &value, sizeof value, what);
    return value;
  }
  std::string bytes(std::uint64_t offset, std::uint64_t length, std::uint64_t limit, const char* what) const {
    if (length > limit)
      throw Problem(fmt::format("its {} is {} bytes long, more than the limit of {}", what, length, limit));
    if (!holds(offset, length)) read(offset, nullptr, length, what);  // throws
    std::string text(length, '\0');
    read(offset, text.data(), length, what);
    return text;
  }

 private:
  int fd_;
  std::uint64_t size_ = 0;
};

std::string machine_name(std::uint16_t machine) {
  switch (machine) {
    case EM_X86_64:
      return "x86_64";
    case EM_AARCH64:
      return "aarch64";
    case EM_386:
      return "i386";
    case EM_ARM:
      return "arm";
    case EM_RISCV:
      return "riscv";
    case EM_PPC64:
      return "ppc64";
    default:
      return fmt::format("machine {}", machine);
  }
}

// The string that starts at `offset` of a string table; empty when it is not terminated inside the table.
std::string string_at(const std::string& table, std::uint64_t offset) {
  if (offset >= table.size()) return {};
  const std::size_t end = table.find('\0', offset);
  if (end == std::string::npos) return {};
  return table.substr(offset, end - offset);
}

Elf64_Ehdr read_header(const File& file, ElfImage& image) {
  if (file.size() == 0) throw Problem("an empty file");
  unsigned char ident[EI_NIDENT] = {};
  file.read(0, ident, std::min<std::uint64_t>(file.size(), sizeof ident), "ELF identification");
  if (file.size() < SELFMAG || std::memcmp(ident, ELFMAG, SELFMAG) != 0) throw Problem("not an ELF file");
  if (file.size() < sizeof ident)
    throw Problem(fmt::format("truncated: only {} bytes of an ELF header", file.size()));
  if (ident[EI_CLASS] != ELFCLASS64) throw Problem("not a 64-bit ELF file");
  if (ident[EI_DATA] != ELFDATA2LSB) throw Problem("not a little-endian ELF file");
  const auto header = file.get<Elf64_Ehdr>(0, "ELF header");
  image.machine = machine_name(header.e_machine);
  if (image.machine != host_machine())
    throw Problem(fmt::format("built for {}, this host is {}", image.machine, host_machine()));
  if (header.e_type != ET_DYN)
    throw Problem(fmt::format("not a shared library (ELF type {})", header.e_type));
  if (header.e_version != EV_CURRENT)
    throw Problem(fmt::format("ELF version {} is unknown", header.e_version));
  return header;
}

std::vector<Elf64_Phdr> read_program_headers(const File& file, const Elf64_Ehdr& header) {
  if (header.e_phnum == 0) throw Problem("it has no program headers");
  if (header.e_phentsize != sizeof(Elf64_Phdr))
    throw Problem(fmt::format("program headers of {} bytes", header.e_phentsize));
  if (header.e_phnum > kMaxProgramHeaders) throw Problem(fmt::format("{} program headers", header.e_phnum));
  std::vector<Elf64_Phdr> headers(header.e_phnum);
  file.read(header.e_phoff, headers.data(), headers.size() * sizeof(Elf64_Phdr), "program header table");
  return headers;
}

// Notes of one PT_NOTE segment.
void read_notes(const File& file, const Elf64_Phdr& segment, ElfImage& image) {
  const std::string data = file.bytes(segment.p_offset, segment.p_filesz, kMaxNoteSegment, "note segment");
  // Names and descriptors are padded to 4 bytes. The one kind of note that is aligned to 8,
  // .note.gnu.property, has sizes for which that comes to the same; linkers put it into one segment with the
  // others, though, and then zeros may stand between two sections.
  const auto padded = [](std::uint64_t n) { return (n + 3) / 4 * 4; };
  std::uint64_t at = 0;
  while (data.size() - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    std::memcpy(&note, data.data() + at, sizeof note);
    if (segment.p_align == 8 && note.n_namesz == 0) {
      at += 4;
      continue;
    }
    at += sizeof note;
    // 32-bit sizes in 64-bit sums: no overflow.
    const std::uint64_t name_size = padded(note.n_namesz);
    if (name_size > data.size() - at) throw Problem("a note's name passes the end of its segment");
    const std::string name = data.substr(at, note.n_namesz);
    at += name_size;
    if (note.n_descsz > data.size() - at) throw Problem("a note passes the end of its segment");
    const std::string text = data.substr(at, note.n_descsz);
    at += std::min<std::uint64_t>(padded(note.n_descsz), data.size() - at);
    if (name == std::string(kNoteName) + '\0' && note.n_type == kNoteType) {
      if (image.note) throw Problem("it has two Tetrad notes: TETRAD metadata was linked in twice");
      image.note = text;
    } else if (name == std::string("GNU") + '\0' && note.n_type == NT_GNU_BUILD_ID) {
      for (const char c : text) image.build_id += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
  }
}

std::uint64_t file_offset(const std::vector<Elf64_Phdr>& segments, std::uint64_t address, const char* what) {
  for (const Elf64_Phdr& s : segments) {
    if (s.p_type == PT_LOAD && address >= s.p_vaddr && address - s.p_vaddr < s.p_filesz) {
      return s.p_offset + (address - s.p_vaddr);
    }
  }
  throw Problem(fmt::format("its {} lies outside the file", what));
}

void read_dynamic(const File& file, const std::vector<Elf64_Phdr>& segments, const Elf64_Phdr& segment,
                  ElfImage& image) {
  const std::string data = file.bytes(segment.p_offset, segment.p_filesz, kMaxDynamic, "dynamic section");
  std::vector<Elf64_Dyn> entries(data.size() / sizeof(Elf64_Dyn));
  if (!entries.empty()) std::memcpy(entries.data(), data.data(), entries.size() * sizeof(Elf64_Dyn));
  const auto end =
      std::find_if(entries.begin(), entries.end(), [](const Elf64_Dyn& d) { return d.d_tag == DT_NULL; });
  entries.erase(end, entries.end());
  const auto value = [&](std::int64_t tag) -> std::optional<std::uint64_t> {
    for (const Elf64_Dyn& d : entries) {
      if (d.d_tag == tag) return d.d_un.d_val;
    }
    return std::nullopt;
  };
  const auto address = value(DT_STRTAB);
  const auto size = value(DT_STRSZ);
  if (!address || !size) throw Problem("its dynamic section names no string table");
  const std::string strings =
      file.bytes(file_offset(segments, *address, "string table"), *size, kMaxStrings, "string table");
  for (const Elf64_Dyn& d : entries) {
    if (d.d_tag == DT_NEEDED) image.needed.push_back(printable(string_at(strings, d.d_un.d_val)));
    if (d.d_tag == DT_SONAME) image.soname = printable(string_at(strings, d.d_un.d_val));
    if (d.d_tag == DT_RPATH || d.d_tag == DT_RUNPATH)
      image.run_path.push_back(printable(string_at(strings, d.d_un.d_val)));
  }
}

// Section headers are for tools, not for the loader: a library without them is fine, one whose table passes
// the end of the file has been cut.
void read_symbols(const File& file, const Elf64_Ehdr& header, ElfDetail detail, ElfImage& image) {
  if (header.e_shnum == 0) return;
  if (header.e_shentsize != sizeof(Elf64_Shdr))
    throw Problem(fmt::format("section headers of {} bytes", header.e_shentsize));
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  file.read(header.e_shoff, sections.data(), sections.size() * sizeof(Elf64_Shdr), "section header table");
  if (detail != ElfDetail::symbols) return;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_DYNSYM) continue;
    if (section.sh_entsize != sizeof(Elf64_Sym) || section.sh_link >= sections.size())
      throw Problem("a malformed dynamic symbol table");
    const Elf64_Shdr& string_section = sections[section.sh_link];
    const std::string table =
        file.bytes(section.sh_offset, section.sh_size, kMaxSymbols * sizeof(Elf64_Sym), "symbol table");
    const std::string strings =
        file.bytes(string_section.sh_offset, string_section.sh_size, kMaxStrings, "string table");
    for (std::size_t i = 1; i < table.size() / sizeof(Elf64_Sym); ++i) {
      Elf64_Sym symbol;
      std::memcpy(&symbol, table.data() + i * sizeof symbol, sizeof symbol);
      const std::string name = printable(string_at(strings, symbol.st_name), 1000);
      if (name.empty()) continue;
      if (symbol.st_shndx == SHN_UNDEF) {
        image.imported.push_back(name);
      } else if (symbol.st_shndx != SHN_ABS) {  // versions' names are absolute symbols
        image.exported.push_back(name);
      }
    }
  }
  std::sort(image.exported.begin(), image.exported.end());
  std::sort(image.imported.begin(), image.imported.end());
}

void read_all(const File& file, ElfDetail detail, ElfImage& image) {
  const Elf64_Ehdr header = read_header(file, image);
  const std::vector<Elf64_Phdr> segments = read_program_headers(file, header);
  for (const Elf64_Phdr& s : segments) {
    if (s.p_type == PT_NOTE) read_notes(file, s, image);
  }
  // The loader maps these; a byte that is missing would be a bus error inside dlopen.
  bool has_load = false;
  for (const Elf64_Phdr& s : segments) {
    if (s.p_type != PT_LOAD) continue;
    has_load = true;
    if (s.p_memsz < s.p_filesz) throw Problem("a segment's size in memory is smaller than in the file");
    if (!file.holds(s.p_offset, s.p_filesz)) {
      throw Problem(fmt::format("truncated: a segment of {} bytes starts at {}, the file has {}", s.p_filesz,
                                s.p_offset, file.size()));
    }
  }
  if (!has_load) throw Problem("it has nothing to load");
  const auto dynamic = std::find_if(segments.begin(), segments.end(),
                                    [](const Elf64_Phdr& s) { return s.p_type == PT_DYNAMIC; });
  if (dynamic == segments.end()) throw Problem("it has no dynamic section");
  read_dynamic(file, segments, *dynamic, image);
  read_symbols(file, header, detail, image);
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "ELF fields are read as they lie in the file");

const char* host_machine() noexcept {
#if defined(__x86_64__)
  return "x86_64";
#else
  return "aarch64";
#endif
}

ElfImage read_elf(const std::filesystem::path& file, ElfDetail detail) {
  ElfImage image;
  try {
    read_all(File(file), detail, image);
  } catch (const Problem& problem) {
    image.problem = problem.what();
  }
  return image;
}

std::string own_build_id() {
  const std::string id = read_elf("/proc/self/exe").build_id;
  return id.empty() ? "none" : id;
}

}  // namespace tetrad::plugin
