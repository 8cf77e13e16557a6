#include "cli/parity/runner.h"

#include "cli/launch/engine_environment.h"
#include "cli/parity/arm_run.h"

#include <fmt/format.h>
#include <signal.h>
#include <tetrad/base/error.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <vector>

namespace tetrad::cli {

namespace fs = std::filesystem;

namespace {

volatile std::sig_atomic_t caught = 0;

// While no engine runs, its supervisor does not take signals; they are kept for the next step between arms.
class CaughtSignals {
 public:
  CaughtSignals() {
    caught = 0;
    struct sigaction action {};
    action.sa_handler = [](int signal) { caught = signal; };
    for (std::size_t i = 0; i < signals.size(); ++i) {
      ::sigaction(signals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(signals[i], &action, nullptr);
    }
  }
  ~CaughtSignals() {
    for (std::size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &before_[i], nullptr);
  }
  CaughtSignals(const CaughtSignals&) = delete;
  CaughtSignals& operator=(const CaughtSignals&) = delete;

 private:
  static constexpr std::array<int, 3> signals = {SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, 3> before_{};
};

std::vector<const parity::Arm*> in_order(const parity::Plan& plan) {
  std::vector<const parity::Arm*> order = {&plan.arms[plan.reference]};
  for (const parity::Arm& arm : plan.arms) {
    if (arm.index != plan.reference) order.push_back(&arm);
  }
  return order;
}

void say(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace

RunOfArms run_arms(const parity::Plan& plan, const fs::path& result_folder, const std::string& engine) {
  if (plan.settings.at("train_steps") > 0) prepare_for_training();
  const CaughtSignals signals;
  RunOfArms result;
  std::size_t number = 0;
  for (const parity::Arm* arm : in_order(plan)) {
    say(fmt::format("[parity] arm {}/{} {} ...", ++number, plan.arms.size(), arm->label));
    if (is_done(plan, *arm, result_folder)) {
      ++result.kept;
      say(" done before\n");
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    ArmEnd end;
    if (caught == 0) end = run_arm(plan, *arm, result_folder, engine);
    if (caught != 0) end.signal = caught;
    if (end.signal != 0) {
      say(" interrupted\n");
      result.signal = end.signal;
      return result;
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (end.ok) {
      ++result.ok;
      say(fmt::format(" {:.1f} s\n", seconds));
      continue;
    }
    ++result.failed;
    say(fmt::format(" failed with exit code {} after {:.1f} s\n", end.exit_code, seconds));
    say(fmt::format("error: {}\n", end.error));
    if (arm->index == plan.reference) {
      result.reference_failed = true;
      return result;
    }
  }
  return result;
}

}  // namespace tetrad::cli
