// A shared library's header, notes and symbols, and the metadata in its note. Nothing of it is ever run.
#include "fuzz.h"
#include "plugin/elf_note.h"
#include "plugin/metadata.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  static const fuzz::MemoryFile memory;
  memory.assign(data, size);
  const plugin::ElfImage image = plugin::read_elf(memory.path(), plugin::ElfDetail::symbols);
  fuzz::require_printable(image.problem);
  if (image.note) fuzz::accepts([&] { plugin::parse_metadata(*image.note); });
  return 0;
}
