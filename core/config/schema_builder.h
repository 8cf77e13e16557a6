// A small builder of schema fields, so that the tables that use it read like a page of documentation:
//   Make("steps", Type::integer, "Optimizer steps.").at_least(1).by_default(100)
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/schema.h"

namespace tetrad::config {

struct Make {
  Field field;

  Make(std::string key, Type type, std::string doc) {
    field.key = std::move(key);
    field.type = type;
    field.doc = std::move(doc);
  }
  Make& by_default(bool value) { return with(Node::boolean(value, Origin::schema_default())); }
  Make& by_default(int value) { return with(Node::integer(value, Origin::schema_default())); }
  Make& by_default(double value) { return with(Node::number(value, Origin::schema_default())); }
  Make& by_default(const char* value) { return with(Node::string(value, Origin::schema_default())); }
  Make& by_default(std::initializer_list<int> values) {
    std::vector<Node> items;
    for (const int value : values) items.push_back(Node::integer(value, Origin::schema_default()));
    return with(Node::list(std::move(items), Origin::schema_default()));
  }
  Make& by_default_empty_list() { return with(Node::list({}, Origin::schema_default())); }
  Make& nullable() {
    field.nullable = true;
    return *this;
  }
  Make& required() {
    field.required = true;
    return *this;
  }
  Make& non_empty() {
    field.non_empty = true;
    return *this;
  }
  Make& at_least(double value) {
    field.min = value;
    return *this;
  }
  Make& above(double value) {
    field.min = value;
    field.exclusive_min = true;
    return *this;
  }
  Make& at_most(double value) {
    field.max = value;
    return *this;
  }
  Make& words(std::vector<std::string> values) {
    field.values = std::move(values);
    return *this;
  }
  Make& unit(std::string text) {
    field.unit = std::move(text);
    return *this;
  }
  Make& meaning(Meaning value) {
    field.meaning = value;
    return *this;
  }
  Make& kind(std::string value) {
    field.plugin_kind = std::move(value);
    return *this;
  }
  Make& elements(Field value) {
    field.element = std::make_shared<const Field>(std::move(value));
    return *this;
  }
  operator Field() { return std::move(field); }  // NOLINT(google-explicit-constructor): the end of the chain

 private:
  Make& with(Node value) {
    field.default_value = std::move(value);
    return *this;
  }
};

inline Field section(std::string key, std::string doc, std::vector<Field> fields) {
  Field field = Make(std::move(key), Type::section, std::move(doc));
  field.fields = std::move(fields);
  return field;
}

}  // namespace tetrad::config
