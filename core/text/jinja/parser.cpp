#include "text/jinja/parser.h"

#include "text/jinja/builtins.h"
#include "text/jinja/lexer.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <set>

namespace tetrad::text::jinja {
namespace {

constexpr int kMaxDepth = 150;

ExprPtr make(ExprKind kind, int line, std::string name = {}) {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = line;
  expr->name = std::move(name);
  return expr;
}

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  Body run() {
    // Macros may be called before the text that defines them is reached, so their names are collected first.
    for (std::size_t i = 0; i + 1 < tokens_.size(); ++i) {
      if (tokens_[i].kind == TokenKind::block_begin && tokens_[i + 1].text == "macro" &&
          i + 2 < tokens_.size()) {
        macros_.insert(tokens_[i + 2].text);
      }
    }
    Body body = statements({});
    if (peek().kind != TokenKind::end) fail("an unexpected end of a block");
    return body;
  }

 private:
  // --- tokens ---
  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  int line() const { return peek().line; }
  [[noreturn]] void fail(const std::string& message) const { fail_at(name_, line(), message); }

  bool is_op(std::string_view op, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::op && peek(ahead).text == op;
  }
  bool is_word(std::string_view word, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::name && peek(ahead).text == word;
  }
  bool skip_op(std::string_view op) {
    if (!is_op(op)) return false;
    next();
    return true;
  }
  bool skip_word(std::string_view word) {
    if (!is_word(word)) return false;
    next();
    return true;
  }
  void expect_op(std::string_view op) {
    if (!skip_op(op)) fail("expected '" + std::string(op) + "', found '" + peek().text + "'");
  }
  void expect_block_end() {
    if (peek().kind != TokenKind::block_end) fail("expected the end of the tag, found '" + peek().text + "'");
    next();
  }
  std::string identifier() {
    static const std::set<std::string, std::less<>> reserved = {"if",  "else", "elif", "for", "in",
                                                                "not", "and",  "or",   "is"};
    if (peek().kind != TokenKind::name || reserved.contains(peek().text)) {
      fail("expected a name, found '" + peek().text + "'");
    }
    return next().text;
  }

  struct Depth {
    explicit Depth(Parser& p) : parser(p) {
      if (++parser.depth_ > kMaxDepth)
        parser.fail("the template is nested more than " + std::to_string(kMaxDepth) + " deep");
    }
    ~Depth() { --parser.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    Parser& parser;
  };

  // --- statements ---
  std::unique_ptr<Stmt> statement(StmtKind kind) const {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = line();
    return stmt;
  }

  bool at_closing(std::initializer_list<std::string_view> words) const {
    return peek().kind == TokenKind::block_begin && peek(1).kind == TokenKind::name &&
           std::find(words.begin(), words.end(), peek(1).text) != words.end();
  }

  // Statements up to, not including, a block that starts with one of `closing`.
  Body statements(std::initializer_list<std::string_view> closing) {
    const Depth depth(*this);
    Body body;
    while (peek().kind != TokenKind::end && !at_closing(closing)) {
      if (peek().kind == TokenKind::text) {
        auto stmt = statement(StmtKind::text);
        stmt->text = next().text;
        body.push_back(std::move(stmt));
      } else if (peek().kind == TokenKind::print_begin) {
        auto stmt = statement(StmtKind::print);
        next();
        stmt->expr = expression();
        if (peek().kind != TokenKind::print_end) fail("expected }}, found '" + peek().text + "'");
        next();
        body.push_back(std::move(stmt));
      } else {
        body.push_back(block());
      }
    }
    return body;
  }

  void close(std::string_view word) {
    if (!at_closing({word})) fail("expected {% " + std::string(word) + " %}");
    next();
    next();
    expect_block_end();
  }

  std::unique_ptr<Stmt> block() {
    auto stmt = statement(StmtKind::block);
    next();
    if (skip_word("if")) return branch(std::move(stmt));
    if (skip_word("for")) return loop(std::move(stmt));
    if (skip_word("set")) return set(std::move(stmt));
    if (skip_word("macro")) return macro(std::move(stmt));
    if (skip_word("generation")) {  // marks the assistant's part for training masks; rendering ignores it
      expect_block_end();
      stmt->body = statements({"endgeneration"});
      close("endgeneration");
      return stmt;
    }
    if (is_word("break") || is_word("continue")) {
      if (loops_ == 0) fail("'" + peek().text + "' outside a loop");
      stmt->kind = next().text == "break" ? StmtKind::break_loop : StmtKind::continue_loop;
      expect_block_end();
      return stmt;
    }
    fail("the statement '" + peek().text +
         "' is not supported (known: if, for, set, macro, break, continue, generation)");
  }

  std::unique_ptr<Stmt> branch(std::unique_ptr<Stmt> stmt) {
    stmt->kind = StmtKind::branch;
    for (bool last = false; !last;) {
      Clause clause;
      if (!stmt->clauses.empty()) {
        next();  // {%
        last = next().text == "else";
      }
      if (!last) clause.condition = expression();
      expect_block_end();
      clause.body = last ? statements({"endif"}) : statements({"elif", "else", "endif"});
      stmt->clauses.push_back(std::move(clause));
      if (at_closing({"endif"})) break;
      if (!at_closing({"elif", "else"})) fail("an 'if' without {% endif %}");
    }
    close("endif");
    return stmt;
  }

  std::unique_ptr<Stmt> loop(std::unique_ptr<Stmt> stmt) {
    stmt->kind = StmtKind::loop;
    const bool bracketed = skip_op("(");
    do {
      stmt->targets.push_back(identifier());
    } while (skip_op(",") && peek().kind == TokenKind::name && !is_word("in"));
    if (bracketed) expect_op(")");
    if (!skip_word("in")) fail("expected 'in', found '" + peek().text + "'");
    stmt->expr = disjunction();  // a condition after it filters the elements; it is not a ternary
    if (skip_word("if")) stmt->condition = expression();
    if (is_word("recursive")) fail("recursive loops are not supported");
    expect_block_end();
    ++loops_;
    stmt->body = statements({"else", "endfor"});
    --loops_;
    if (at_closing({"else"})) {
      close("else");
      stmt->else_body = statements({"endfor"});
    }
    close("endfor");
    return stmt;
  }

  std::unique_ptr<Stmt> set(std::unique_ptr<Stmt> stmt) {
    stmt->targets.push_back(identifier());
    if (skip_op(".")) {
      stmt->attribute = identifier();
    } else {
      while (skip_op(",")) stmt->targets.push_back(identifier());
    }
    if (skip_op("=")) {
      stmt->kind = StmtKind::assign;
      stmt->expr = tuple();
      expect_block_end();
      return stmt;
    }
    if (stmt->targets.size() > 1) fail("expected '='");
    if (is_op("|")) fail("a filter on {% set %}...{% endset %} is not supported");
    stmt->kind = StmtKind::capture;
    expect_block_end();
    stmt->body = statements({"endset"});
    close("endset");
    return stmt;
  }

  std::unique_ptr<Stmt> macro(std::unique_ptr<Stmt> stmt) {
    if (depth_ > 1) fail("a macro inside another block is not supported");
    stmt->kind = StmtKind::macro;
    stmt->text = identifier();
    if (is_function(stmt->text)) fail("a macro named like the function " + stmt->text);
    expect_op("(");
    while (!skip_op(")")) {
      if (!stmt->parameters.empty()) expect_op(",");
      Parameter parameter;
      parameter.name = identifier();
      if (skip_op("=")) parameter.fallback = expression();
      stmt->parameters.push_back(std::move(parameter));
    }
    expect_block_end();
    const int outer_loops = std::exchange(loops_, 0);
    stmt->body = statements({"endmacro"});
    loops_ = outer_loops;
    close("endmacro");
    return stmt;
  }

  // --- expressions, by rising precedence ---
  // One expression, or a list of them separated by commas (a Python tuple).
  ExprPtr tuple() {
    ExprPtr first = expression();
    if (!is_op(",")) return first;
    ExprPtr list = make(ExprKind::list, line());
    list->operands.push_back(std::move(first));
    while (skip_op(",")) {
      if (peek().kind == TokenKind::block_end || peek().kind == TokenKind::print_end) break;
      list->operands.push_back(expression());
    }
    return list;
  }

  ExprPtr expression() {
    const Depth depth(*this);
    ExprPtr value = disjunction();
    while (is_word("if")) {
      ExprPtr node = make(ExprKind::condition, line());
      next();
      node->operands.push_back(std::move(value));
      node->operands.push_back(disjunction());
      node->operands.push_back(skip_word("else") ? expression() : nullptr);
      value = std::move(node);
    }
    return value;
  }

  ExprPtr binary(ExprPtr left, std::string op, ExprPtr right) const {
    ExprPtr node = make(ExprKind::binary, left->line, std::move(op));
    node->operands.push_back(std::move(left));
    node->operands.push_back(std::move(right));
    return node;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (skip_word("or")) left = binary(std::move(left), "or", conjunction());
    return left;
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (skip_word("and")) left = binary(std::move(left), "and", negation());
    return left;
  }

  ExprPtr negation() {
    if (!is_word("not")) return comparison();
    const Depth depth(*this);
    ExprPtr node = make(ExprKind::unary, line(), "not");
    next();
    node->operands.push_back(negation());
    return node;
  }

  ExprPtr comparison() {
    ExprPtr first = sum();
    ExprPtr node;
    for (;;) {
      std::string op;
      static constexpr std::array<std::string_view, 6> kOperators = {"==", "!=", "<", "<=", ">", ">="};
      if (peek().kind == TokenKind::op &&
          std::find(kOperators.begin(), kOperators.end(), peek().text) != kOperators.end()) {
        op = next().text;
      } else if (skip_word("in")) {
        op = "in";
      } else if (is_word("not") && is_word("in", 1)) {
        next();
        next();
        op = "not in";
      } else {
        break;
      }
      if (!node) {
        node = make(ExprKind::compare, first->line);
        node->operands.push_back(std::move(first));
      }
      node->names.push_back(std::move(op));
      node->operands.push_back(sum());
    }
    return node ? std::move(node) : std::move(first);
  }

  ExprPtr left_chain(std::initializer_list<std::string_view> ops, ExprPtr (Parser::*operand)()) {
    ExprPtr left = (this->*operand)();
    for (;;) {
      const auto op = std::find_if(ops.begin(), ops.end(), [&](std::string_view o) { return is_op(o); });
      if (op == ops.end()) return left;
      next();
      left = binary(std::move(left), std::string(*op), (this->*operand)());
    }
  }

  ExprPtr sum() { return left_chain({"+", "-"}, &Parser::concatenation); }
  ExprPtr concatenation() { return left_chain({"~"}, &Parser::product); }
  ExprPtr product() { return left_chain({"*", "/", "//", "%"}, &Parser::power); }
  ExprPtr power() { return left_chain({"**"}, &Parser::filtered_unary); }
  ExprPtr filtered_unary() { return unary(true); }

  ExprPtr unary(bool with_filters) {
    const Depth depth(*this);
    ExprPtr node;
    if (is_op("-") || is_op("+")) {
      node = make(ExprKind::unary, line(), peek().text);
      next();
      node->operands.push_back(unary(false));
    } else {
      node = primary();
    }
    node = postfix(std::move(node));
    return with_filters ? filters(std::move(node)) : std::move(node);
  }

  ExprPtr primary() {
    const Token& token = peek();
    if (token.kind == TokenKind::name) return name_or_constant();
    ExprPtr node = make(ExprKind::constant, token.line);
    if (token.kind == TokenKind::string) {
      std::string text;
      while (peek().kind == TokenKind::string) text += next().text;  // adjacent strings are one
      node->value = Value(std::move(text));
      return node;
    }
    if (token.kind == TokenKind::integer) {
      std::int64_t number = 0;
      const auto result = std::from_chars(token.text.data(), token.text.data() + token.text.size(), number);
      if (result.ec != std::errc{}) fail("the integer " + token.text + " is too large");
      node->value = Value(number);
      next();
      return node;
    }
    if (token.kind == TokenKind::real) {
      node->value = Value(std::stod(next().text));
      return node;
    }
    if (skip_op("(")) return parenthesis();
    if (skip_op("[")) {
      node->kind = ExprKind::list;
      while (!skip_op("]")) {
        if (!node->operands.empty()) expect_op(",");
        if (skip_op("]")) break;
        node->operands.push_back(expression());
      }
      return node;
    }
    if (skip_op("{")) {
      node->kind = ExprKind::dict;
      while (!skip_op("}")) {
        if (!node->operands.empty()) expect_op(",");
        if (skip_op("}")) break;
        node->operands.push_back(expression());
        expect_op(":");
        node->operands.push_back(expression());
      }
      return node;
    }
    fail("expected an expression, found '" + token.text + "'");
  }

  // After "(": a bracketed expression or a tuple, which is a list here.
  ExprPtr parenthesis() {
    ExprPtr list = make(ExprKind::list, line());
    bool comma = false;
    while (!skip_op(")")) {
      if (!list->operands.empty()) {
        expect_op(",");
        comma = true;
        if (skip_op(")")) break;
      }
      list->operands.push_back(expression());
    }
    if (!comma && list->operands.size() == 1) return std::move(list->operands[0]);
    return list;
  }

  ExprPtr name_or_constant() {
    const int at = line();
    const std::string word = peek().text;
    ExprPtr node = make(ExprKind::constant, at);
    if (word == "true" || word == "True" || word == "false" || word == "False") {
      node->value = Value(word[0] == 't' || word[0] == 'T');
      next();
    } else if (word == "none" || word == "None") {
      next();
    } else {
      node->kind = ExprKind::name;
      node->name = identifier();
    }
    return node;
  }

  ExprPtr postfix(ExprPtr node) {
    for (;;) {
      if (skip_op(".")) {
        node = attribute(std::move(node));
      } else if (skip_op("[")) {
        node = subscript(std::move(node));
      } else if (is_op("(")) {
        node = call(std::move(node));
      } else {
        return node;
      }
    }
  }

  ExprPtr attribute(ExprPtr subject) {
    ExprPtr node = make(ExprKind::attribute, line());
    if (peek().kind == TokenKind::integer) {  // x.0 is x[0]
      node->kind = ExprKind::item;
      node->operands.push_back(std::move(subject));
      node->operands.push_back(primary());
      return node;
    }
    if (peek().kind != TokenKind::name) fail("expected an attribute's name, found '" + peek().text + "'");
    node->name = next().text;
    static const std::set<std::string, std::less<>> loop_attributes = {
        "index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"};
    if (subject->kind == ExprKind::name && subject->name == "loop" && !loop_attributes.contains(node->name)) {
      fail("loop." + node->name + " is not supported");
    }
    if (node->name.starts_with("_")) fail("the attribute '" + node->name + "' is not allowed");
    node->operands.push_back(std::move(subject));
    return node;
  }

  ExprPtr subscript(ExprPtr subject) {
    ExprPtr node = make(ExprKind::item, line());
    node->operands.push_back(std::move(subject));
    ExprPtr parts[3];
    int colons = 0;
    while (!is_op("]")) {
      if (skip_op(":")) {
        if (++colons > 2) fail("a slice with more than two ':'");
      } else {
        if (parts[colons]) fail("expected ']', found '" + peek().text + "'");
        parts[colons] = expression();
      }
    }
    expect_op("]");
    if (colons == 0 && !parts[0]) fail("an empty subscript");
    node->operands.push_back(std::move(parts[0]));
    if (colons > 0) {
      node->kind = ExprKind::slice;
      node->operands.push_back(std::move(parts[1]));
      node->operands.push_back(std::move(parts[2]));
    }
    return node;
  }

  void arguments(Expr& node) {
    expect_op("(");
    bool first = true;
    while (!skip_op(")")) {
      if (!std::exchange(first, false)) expect_op(",");
      if (skip_op(")")) break;
      if (is_op("*") || is_op("**")) fail("argument unpacking is not supported");
      if (peek().kind == TokenKind::name && is_op("=", 1)) {
        std::string keyword = next().text;
        next();
        node.keywords.emplace_back(std::move(keyword), expression());
      } else {
        if (!node.keywords.empty()) fail("a positional argument after a keyword");
        node.operands.push_back(expression());
      }
    }
  }

  ExprPtr call(ExprPtr callee) {
    const std::string& name = callee->name;
    if (callee->kind == ExprKind::name) {
      if (!is_function(name) && !macros_.contains(name)) fail("the function '" + name + "' is not supported");
    } else if (callee->kind == ExprKind::attribute) {
      if (!is_method(name)) fail("the method '." + name + "()' is not supported");
    } else {
      fail("calling the result of an expression is not supported");
    }
    ExprPtr node = make(ExprKind::call, callee->line);
    node->operands.push_back(std::move(callee));
    arguments(*node);
    return node;
  }

  ExprPtr filters(ExprPtr node) {
    for (;;) {
      if (skip_op("|")) {
        ExprPtr filter = make(ExprKind::filter, line(), identifier());
        if (!is_filter(filter->name)) fail("the filter '" + filter->name + "' is not supported");
        filter->operands.push_back(std::move(node));
        if (is_op("(")) arguments(*filter);
        node = std::move(filter);
      } else if (is_word("is")) {
        node = test(std::move(node));
      } else {
        return node;
      }
    }
  }

  ExprPtr test(ExprPtr subject) {
    ExprPtr node = make(ExprKind::test, line());
    next();
    const bool negated = skip_word("not");
    if (peek().kind != TokenKind::name) fail("expected a test's name, found '" + peek().text + "'");
    node->name = next().text;
    if (!is_test(node->name)) fail("the test 'is " + node->name + "' is not supported");
    node->operands.push_back(std::move(subject));
    const Token& after = peek();
    if (is_op("(")) {
      arguments(*node);
      if (!node->keywords.empty()) fail("keyword arguments of a test are not supported");
    } else if (after.kind == TokenKind::string || after.kind == TokenKind::integer ||
               after.kind == TokenKind::real || is_op("[") || is_op("{") ||
               (after.kind == TokenKind::name && !is_word("else") && !is_word("or") && !is_word("and") &&
                !is_word("if"))) {
      if (is_word("is")) fail("tests cannot be chained");
      node->operands.push_back(postfix(primary()));
    }
    if (!negated) return node;
    ExprPtr outer = make(ExprKind::unary, node->line, "not");
    outer->operands.push_back(std::move(node));
    return outer;
  }

  std::vector<Token> tokens_;
  const std::string& name_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;
  std::set<std::string, std::less<>> macros_;
};

}  // namespace

Body parse(std::string_view source, const std::string& name) {
  return Parser(tokenize(source, name), name).run();
}

}  // namespace tetrad::text::jinja
