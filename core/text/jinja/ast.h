// Syntax tree of a template. Two node types, told apart by their kind; which fields a kind uses stands beside
// it.
#pragma once

#include "text/jinja/value.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace tetrad::text::jinja {

enum class ExprKind {
  constant,   // value
  name,       // name
  list,       // operands
  dict,       // operands: key, value, key, value ...
  attribute,  // operands[0] . name
  item,       // operands[0] [ operands[1] ]
  slice,      // operands[0] [ operands[1] : operands[2] : operands[3] ], null where left out
  call,       // operands[0] is what is called; then arguments; keywords
  filter,     // operands[0] | name ( operands[1..], keywords )
  test,       // operands[0] is name ( operands[1..] )
  unary,      // name: "-", "+", "not"
  binary,     // name: + - * / // % ** ~ and or
  compare,    // operands[0] names[0] operands[1] names[1] operands[2] ...
  condition,  // operands[0] if operands[1] else operands[2] (null when left out)
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Expr {
  ExprKind kind;
  int line;
  std::string name;
  Value value;
  std::vector<ExprPtr> operands;
  std::vector<std::string> names;
  std::vector<std::pair<std::string, ExprPtr>> keywords;
};

enum class StmtKind {
  text,     // text
  print,    // expr
  branch,   // clauses in order; an else clause has no condition
  loop,     // for targets in expr [if condition]: body, else_body
  assign,   // set targets = expr; with one target of the form ns.attribute
  capture,  // set target: body: endset
  macro,    // macro name(parameters): body
  block,    // body in the same scope (generation blocks)
  break_loop,
  continue_loop,
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Clause {
  ExprPtr condition;
  Body body;
};

struct Parameter {
  std::string name;
  ExprPtr fallback;  // null when the argument must be given
};

struct Stmt {
  StmtKind kind;
  int line;
  std::string text;  // text; the macro's name
  ExprPtr expr, condition;
  std::vector<std::string> targets;
  std::string attribute;  // of assign and capture
  std::vector<Clause> clauses;
  std::vector<Parameter> parameters;
  Body body, else_body;
};

}  // namespace tetrad::text::jinja
