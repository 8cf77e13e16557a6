#include "runs/words.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <array>
#include <utility>

namespace tetrad::runs {

namespace {

constexpr Words english = {
    .run = "Run",
    .command = "Command",
    .task = "Task",
    .started = "Started",
    .duration = "Duration",
    .result = "Result",
    .reason = "Reason",
    .path = "Path",
    .linear = "Linear layers",
    .kv_cache = "KV cache",
    .device = "Device, dtype",
    .weights = "Weights",
    .weight_hash = "Weight hash",
    .config = "Config",
    .overrides = "Overrides",
    .peak_memory = "Peak memory",
    .speed = "Timing",
    .versions = "Tetrad",
    .exit_code = "exit code",
    .seconds = "s",
    .eval_cache = "eval cache",
    .host_memory = "host",
    .process_tree = "all processes",
    .device_memory = "device",
    .load_time = "ready after",
    .first_token = "first token after",
    .unknown = "unknown",
    .none = "none",
    .on = "on",
    .off = "off",
    .hash = "hash",
    .comma = ", ",
    .colon = ":",
    .open = " (",
    .close = ")",
    .ok = "ok",
    .failed = "failed",
    .guard = "ended by the memory guard",
    .interrupted = "interrupted",
    .crashed = "crashed",
    .running = "still running",
    .lost = "cut off (it left no word of its end)",
    .turns = "Turns",
    .turn = "turn",
    .prefill_tokens = "prefill tokens",
    .prefill_time = "prefill ms",
    .output_tokens = "output tokens",
    .decode_rate = "decode tok/s",
    .stop_reason = "ended by",
    .collapse = "The answer repeats itself",
    .text = "Text",
    .prompt = "Prompt",
    .answer = "Answer",
    .cut = "cut here; the whole text is in transcript.txt",
    .evaluation = "Evaluation",
    .perplexity = "perplexity",
    .tokens = "tokens",
    .scored_tokens = "scored tokens",
    .window = "window",
    .stride = "stride",
    .text_file = "text",
    .logits = "Logits",
    .file = "file",
    .positions = "positions",
    .vocabulary = "vocabulary",
};

constexpr Words traditional_chinese = {
    .run = "執行紀錄",
    .command = "指令",
    .task = "工作",
    .started = "開始時間",
    .duration = "總時間",
    .result = "結果",
    .reason = "原因",
    .path = "路徑",
    .linear = "線性層",
    .kv_cache = "KV 快取",
    .device = "裝置、資料型別",
    .weights = "權重",
    .weight_hash = "權重雜湊",
    .config = "設定檔",
    .overrides = "覆寫的設定",
    .peak_memory = "記憶體峰值",
    .speed = "時間",
    .versions = "Tetrad 版本",
    .exit_code = "結束代碼",
    .seconds = "秒",
    .eval_cache = "eval 快取",
    .host_memory = "主記憶體",
    .process_tree = "所有行程合計",
    .device_memory = "裝置記憶體",
    .load_time = "就緒耗時",
    .first_token = "第一個 token 耗時",
    .unknown = "不明",
    .none = "無",
    .on = "開",
    .off = "關",
    .hash = "雜湊",
    .comma = "，",
    .colon = "：",
    .open = "（",
    .close = "）",
    .ok = "成功",
    .failed = "失敗",
    .guard = "被記憶體守衛終止",
    .interrupted = "被中斷",
    .crashed = "當掉",
    .running = "執行中",
    .lost = "中途斷掉（沒有留下結束紀錄）",
    .turns = "各輪對話",
    .turn = "輪次",
    .prefill_tokens = "預填 token 數",
    .prefill_time = "預填毫秒",
    .output_tokens = "輸出 token 數",
    .decode_rate = "解碼 tok/s",
    .stop_reason = "停止原因",
    .collapse = "回答不斷重複",
    .text = "內容",
    .prompt = "提示",
    .answer = "回答",
    .cut = "以下省略；全文在 transcript.txt",
    .evaluation = "評估",
    .perplexity = "困惑度（perplexity）",
    .tokens = "token 數",
    .scored_tokens = "計分的 token 數",
    .window = "視窗長度",
    .stride = "步幅",
    .text_file = "文字檔",
    .logits = "logits 輸出",
    .file = "檔案",
    .positions = "位置數",
    .vocabulary = "詞彙量",
};

}  // namespace

const Words& words(Language language) {
  return language == Language::traditional_chinese ? traditional_chinese : english;
}

Language parse_language(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    plain += c == '_' ? '-' : (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
  if (plain == "en") return Language::english;
  if (plain == "zh-tw") return Language::traditional_chinese;
  throw Error(ExitCode::usage, fmt::format("[cli] --lang: '{}' is neither en nor zh-TW", name));
}

std::string state_words(const Words& w, std::string_view state) {
  const std::array<std::pair<std::string_view, const char*>, 7> known = {{{"ok", w.ok},
                                                                          {"failed", w.failed},
                                                                          {"guard", w.guard},
                                                                          {"interrupted", w.interrupted},
                                                                          {"crashed", w.crashed},
                                                                          {"running", w.running},
                                                                          {"lost", w.lost}}};
  for (const auto& [name, text] : known) {
    if (name == state) return text;
  }
  return std::string(state);
}

}  // namespace tetrad::runs
