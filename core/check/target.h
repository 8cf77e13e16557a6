// What is checked: one plugin file, the options that its objects are made with, and the device they are
// checked on.
#pragma once

#include "check/contract.h"

#include <c10/core/Device.h>
#include <tetrad/base/options.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace tetrad::check {

struct Target {
  std::string id;
  std::filesystem::path file;
  std::vector<std::string> kinds;
  std::map<std::string, Options> options;  // by kind; complete
  std::string device = "cpu";              // cpu | cuda | cuda:N
  Contract contract;

  bool cuda() const { return device.starts_with("cuda"); }
};

}  // namespace tetrad::check
