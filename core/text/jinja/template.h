// A compiled template. Loading parses it and refuses what is not supported; rendering is deterministic and
// bounded (steps, output, nesting), because templates come from model directories and are as untrusted as any
// file there. They can only read their variables: there is no access to files, the environment or the
// program.
#pragma once

#include "text/jinja/ast.h"

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

namespace tetrad::text::jinja {

class Template {
 public:
  // `name` stands for the template in errors: "[text] NAME:LINE: ...".
  Template(std::string_view source, std::string name);

  // `now` is what strftime_now() tells. Throws Error with name and line, also for raise_exception().
  std::string render(Dict variables, std::time_t now) const;

 private:
  std::string name_;
  std::shared_ptr<const Body> body_;
};

}  // namespace tetrad::text::jinja
