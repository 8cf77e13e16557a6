// Where a config value or key came from. Every value of a config tree carries one, so that every later
// message can point at the text the user wrote: a place in a file, a --set argument, or the schema's default.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace tetrad::config {

struct Origin {
  enum class Kind : std::uint8_t { none, file, set, default_value };

  Kind kind = Kind::none;
  // The file's name as the user or an `extends` spelled it, or the whole text of the --set argument.
  std::shared_ptr<const std::string> source;
  int line = 0;    // from 1; 0 = the file as a whole. For --set: the number of the argument, from 1.
  int column = 0;  // from 1, in characters (Unicode code points)
  // Names of the environment variables that went into the value ("HOME, USER"); null when none did.
  std::shared_ptr<const std::string> environment;

  static Origin file(std::shared_ptr<const std::string> name, int line, int column);
  static Origin set(std::shared_ptr<const std::string> argument, int number);
  static Origin schema_default();

  // What an error line starts with: "configs/a.yaml:3:5", "--set path=bridge".
  std::string prefix() const;
  // What `config show --origin` prints: "configs/a.yaml:3:5", "--set #1", "default"; "(env HOME)" is
  // appended.
  std::string label() const;
};

}  // namespace tetrad::config
