#include "text/jinja/template.h"

#include "text/jinja/builtins.h"
#include "text/jinja/lexer.h"
#include "text/jinja/operators.h"
#include "text/jinja/parser.h"

#include <tetrad/base/error.h>

#include <map>
#include <optional>

namespace tetrad::text::jinja {
namespace {

constexpr std::size_t kMaxSource = std::size_t{1} << 20;
constexpr std::int64_t kMaxSteps = 5'000'000;
constexpr int kStepsPerIteration = 10;  // an iteration builds its scope
constexpr int kMaxNestedLists = 5000;   // lists that hold lists: bounds how deep a value can become
constexpr int kMaxCalls = 30;

enum class Flow { normal, break_loop, continue_loop };

class Renderer {
 public:
  Renderer(const std::string& name, Dict variables, std::time_t now) : name_(name), now_(now) {
    scopes_.push_back(std::move(variables));
  }

  std::string run(const Body& body) {
    std::string out;
    execute(body, out);
    return out;
  }

 private:
  // Errors of values and builtins get the line of the node that caused them.
  template <class F>
  auto at_line(int line, F&& f) -> decltype(f()) {
    try {
      return f();
    } catch (const Error& e) {
      if (std::string_view(e.what()).starts_with("[text]")) throw;
      fail_at(name_, line, e.what());
    }
  }

  void step(int line, int count = 1) {
    if ((steps_ += count) > kMaxSteps)
      fail_at(name_, line, "the template takes more than " + std::to_string(kMaxSteps) + " steps");
  }

  // --- statements ---
  Flow execute(const Body& body, std::string& out) {
    for (const auto& stmt : body) {
      step(stmt->line);
      const Flow flow = execute(*stmt, out);
      if (flow != Flow::normal) return flow;
      if (out.size() > kMaxText)
        fail_at(name_, stmt->line, "the output exceeds " + std::to_string(kMaxText) + " bytes");
    }
    return Flow::normal;
  }

  Flow execute(const Stmt& stmt, std::string& out) {
    switch (stmt.kind) {
      case StmtKind::text:
        out += stmt.text;
        break;
      case StmtKind::print: {
        const Value value = evaluate(*stmt.expr);
        at_line(stmt.line, [&] { out += value.to_string(); });
        break;
      }
      case StmtKind::branch:
        for (const Clause& clause : stmt.clauses) {
          if (!clause.condition || evaluate(*clause.condition).truthy()) return execute(clause.body, out);
        }
        break;
      case StmtKind::loop:
        return loop(stmt, out);
      case StmtKind::assign:
        bind(stmt, evaluate(*stmt.expr));
        break;
      case StmtKind::capture: {
        std::string captured;
        scopes_.emplace_back();
        const Flow flow = execute(stmt.body, captured);
        scopes_.pop_back();
        if (flow != Flow::normal) return flow;
        bind(stmt, Value(std::move(captured)));
        break;
      }
      case StmtKind::macro:
        macros_[stmt.text] = &stmt;
        break;
      case StmtKind::block:
        return execute(stmt.body, out);
      case StmtKind::break_loop:
        return Flow::break_loop;
      case StmtKind::continue_loop:
        return Flow::continue_loop;
    }
    return Flow::normal;
  }

  void bind(const Stmt& stmt, Value value) {
    if (!stmt.attribute.empty()) {
      const Value target = lookup(stmt.targets[0]);
      if (!target.name_space()) fail_at(name_, stmt.line, "'" + stmt.targets[0] + "' is not a namespace");
      if (value.name_space()) fail_at(name_, stmt.line, "a namespace inside a namespace");
      if (stmt.attribute.starts_with("_"))
        fail_at(name_, stmt.line, "an attribute that starts with an underscore");
      assign(target.name_space()->attributes, stmt.attribute, std::move(value));
    } else {
      unpack(stmt.targets, std::move(value), scopes_.back(), stmt.line);
    }
  }

  void unpack(const std::vector<std::string>& targets, Value value, Dict& scope, int line) {
    if (targets.size() == 1) {
      assign(scope, targets[0], std::move(value));
      return;
    }
    if (!value.list() || value.list()->size() != targets.size()) {
      fail_at(name_, line,
              std::string("a ") + value.type_name() + " cannot be unpacked into " +
                  std::to_string(targets.size()) + " names");
    }
    for (std::size_t i = 0; i < targets.size(); ++i) assign(scope, targets[i], (*value.list())[i]);
  }

  Flow loop(const Stmt& stmt, std::string& out) {
    const Value subject = evaluate(*stmt.expr);
    List elements = at_line(stmt.line, [&] { return elements_of(subject); });
    if (stmt.condition) {
      List kept;
      for (Value& element : elements) {
        step(stmt.line, kStepsPerIteration);
        scopes_.emplace_back();
        unpack(stmt.targets, element, scopes_.back(), stmt.line);
        if (evaluate(*stmt.condition).truthy()) kept.push_back(std::move(element));
        scopes_.pop_back();
      }
      elements = std::move(kept);
    }
    if (elements.empty()) return execute(stmt.else_body, out);
    const auto count = static_cast<std::int64_t>(elements.size());
    for (std::int64_t i = 0; i < count; ++i) {
      step(stmt.line, kStepsPerIteration);
      const auto at = [&](std::int64_t j) { return elements[static_cast<std::size_t>(j)]; };
      Dict scope;
      unpack(stmt.targets, at(i), scope, stmt.line);
      assign(scope, "loop",
             Dict{{"index", i + 1},
                  {"index0", i},
                  {"revindex", count - i},
                  {"revindex0", count - i - 1},
                  {"first", i == 0},
                  {"last", i + 1 == count},
                  {"length", count},
                  {"previtem", i > 0 ? at(i - 1) : Value(Undefined{"loop.previtem"})},
                  {"nextitem", i + 1 < count ? at(i + 1) : Value(Undefined{"loop.nextitem"})}});
      scopes_.push_back(std::move(scope));
      const Flow flow = execute(stmt.body, out);
      scopes_.pop_back();
      if (flow == Flow::break_loop) break;
    }
    return Flow::normal;
  }

  // --- expressions ---
  Value lookup(const std::string& name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const Value* value = find(*scope, name)) return *value;
    }
    return Undefined{name};
  }

  Value evaluate(const Expr& expr) {
    step(expr.line);
    const auto operand = [&](std::size_t i) { return evaluate(*expr.operands[i]); };
    const auto optional = [&](std::size_t i) { return expr.operands[i] ? operand(i) : Value(); };
    switch (expr.kind) {
      case ExprKind::constant:
        return expr.value;
      case ExprKind::name:
        return name_value(expr);
      case ExprKind::list:
        return list(expr);
      case ExprKind::dict:
        return dict(expr);
      case ExprKind::attribute: {
        const Value subject = operand(0);
        return at_line(expr.line, [&] { return attribute_of(subject, expr.name); });
      }
      case ExprKind::item: {
        const Value subject = operand(0), key = operand(1);
        return at_line(expr.line, [&] { return item_of(subject, key); });
      }
      case ExprKind::slice: {
        const Value subject = operand(0), start = optional(1), stop = optional(2), by = optional(3);
        return at_line(expr.line, [&] { return slice_of(subject, start, stop, by); });
      }
      case ExprKind::call:
        return call(expr);
      case ExprKind::filter: {
        const Value subject = operand(0);
        const Arguments given = arguments(expr);
        return at_line(expr.line, [&] { return apply_filter(expr.name, subject, given); });
      }
      case ExprKind::test: {
        const Value subject = operand(0);
        const Arguments given = arguments(expr);
        return at_line(expr.line, [&] { return Value(apply_test(expr.name, subject, given)); });
      }
      case ExprKind::unary: {
        const Value value = operand(0);
        return at_line(expr.line, [&] { return unary(expr.name, value); });
      }
      case ExprKind::binary: {
        Value left = operand(0);
        if (expr.name == "and") return left.truthy() ? operand(1) : left;
        if (expr.name == "or") return left.truthy() ? left : operand(1);
        const Value right = operand(1);
        return at_line(expr.line, [&] { return binary(expr.name, left, right); });
      }
      case ExprKind::compare: {
        Value left = operand(0);
        for (std::size_t i = 0; i < expr.names.size(); ++i) {
          Value right = operand(i + 1);
          if (!at_line(expr.line, [&] { return compare(expr.names[i], left, right); })) return false;
          left = std::move(right);
        }
        return true;
      }
      case ExprKind::condition:
        if (operand(1).truthy()) return operand(0);
        return expr.operands[2] ? operand(2) : Value(Undefined{"the else part"});
    }
    return Value();
  }

  Value name_value(const Expr& expr) const {
    Value value = lookup(expr.name);
    if (value.is_undefined()) {
      // They exist in Jinja, so that taking them as undefined would be a guess ("strftime_now is defined" is
      // common).
      if (is_function(expr.name)) return Value(Dict{{"function", expr.name}});
      if (calls_ > 0 && (expr.name == "caller" || expr.name == "varargs" || expr.name == "kwargs")) {
        fail_at(name_, expr.line, "'" + expr.name + "' inside a macro is not supported");
      }
    }
    return value;
  }

  void check_nesting(const Value& element, int line) {
    if (element.name_space()) fail_at(name_, line, "a namespace inside another value");
    if ((element.list() || element.dict()) && ++nested_lists_ > kMaxNestedLists) {
      fail_at(name_, line, "more than " + std::to_string(kMaxNestedLists) + " nested lists");
    }
  }

  Value list(const Expr& expr) {
    List out;
    for (const auto& element : expr.operands) {
      out.push_back(evaluate(*element));
      check_nesting(out.back(), expr.line);
    }
    return out;
  }

  Value dict(const Expr& expr) {
    Dict out;
    for (std::size_t i = 0; i < expr.operands.size(); i += 2) {
      const Value key = evaluate(*expr.operands[i]);
      if (!key.string()) fail_at(name_, expr.line, "a dict key that is not a string");
      Value value = evaluate(*expr.operands[i + 1]);
      check_nesting(value, expr.line);
      assign(out, *key.string(), std::move(value));
    }
    return out;
  }

  Arguments arguments(const Expr& expr) {
    Arguments out;
    for (std::size_t i = 1; i < expr.operands.size(); ++i) {
      out.positional.push_back(evaluate(*expr.operands[i]));
    }
    for (const auto& [name, value] : expr.keywords) {
      out.keywords.emplace_back(name, evaluate(*value));
    }
    return out;
  }

  Value call(const Expr& expr) {
    const Expr& callee = *expr.operands[0];
    if (callee.kind == ExprKind::attribute) {
      const Value subject = evaluate(*callee.operands[0]);
      const Arguments given = arguments(expr);
      return at_line(expr.line, [&] { return call_method(subject, callee.name, given); });
    }
    const Arguments given = arguments(expr);
    if (is_function(callee.name)) {
      if (!lookup(callee.name).is_undefined())
        fail_at(name_, expr.line, "'" + callee.name + "' is a variable, not a function");
      for (const auto& keyword : given.keywords) check_nesting(keyword.second, expr.line);
      return at_line(expr.line, [&] { return call_function(callee.name, given, now_); });
    }
    const auto macro = macros_.find(callee.name);
    if (macro == macros_.end())
      fail_at(name_, expr.line, "the macro '" + callee.name + "' is called before its definition");
    return call_macro(*macro->second, given, expr.line);
  }

  Value call_macro(const Stmt& macro, const Arguments& given, int line) {
    if (++calls_ > kMaxCalls)
      fail_at(name_, line, "macros call each other more than " + std::to_string(kMaxCalls) + " deep");
    if (given.positional.size() > macro.parameters.size())
      fail_at(name_, line, "too many arguments for '" + macro.text + "'");
    // A macro sees the template's own variables, not those of the loops around the call.
    std::vector<Dict> outer;
    outer.swap(scopes_);
    scopes_.push_back(std::move(outer.front()));
    scopes_.emplace_back();
    for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
      const Parameter& parameter = macro.parameters[i];
      std::optional<Value> value;
      if (i < given.positional.size()) value = given.positional[i];
      for (const auto& [name, keyword] : given.keywords) {
        if (name == parameter.name) value = keyword;
      }
      if (!value)
        value = parameter.fallback ? evaluate(*parameter.fallback) : Value(Undefined{parameter.name});
      assign(scopes_.back(), parameter.name, std::move(*value));
    }
    for (const auto& keyword : given.keywords) {
      if (!find(scopes_.back(), keyword.first)) {
        fail_at(name_, line, "'" + macro.text + "' has no parameter '" + keyword.first + "'");
      }
    }
    std::string out;
    execute(macro.body, out);
    outer.front() = std::move(scopes_.front());
    scopes_ = std::move(outer);
    --calls_;
    return out;
  }

  const std::string& name_;
  std::time_t now_;
  std::vector<Dict> scopes_;
  std::map<std::string, const Stmt*> macros_;
  std::int64_t steps_ = 0;
  int nested_lists_ = 0;
  int calls_ = 0;
};

}  // namespace

Template::Template(std::string_view source, std::string name) : name_(std::move(name)) {
  if (source.size() > kMaxSource) {
    throw Error("[text] " + name_ + ": a template of " + std::to_string(source.size()) + " bytes; at most " +
                std::to_string(kMaxSource) + " are accepted");
  }
  body_ = std::make_shared<const Body>(parse(source, name_));
}

std::string Template::render(Dict variables, std::time_t now) const {
  return Renderer(name_, std::move(variables), now).run(*body_);
}

}  // namespace tetrad::text::jinja
