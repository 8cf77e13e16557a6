#include "parity/report/words.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace tetrad::parity {

namespace {

struct Text {
  std::string_view key, english, chinese;
};

constexpr Text texts[] = {
    // verdicts
    {"title", "Parity", "一致性比較"},
    {"verdict.pass", "pass", "通過"},
    {"verdict.fail", "fail", "未通過"},
    {"verdict.not_comparable", "not comparable", "無法比較"},
    {"verdict.failed", "did not run", "未能執行"},
    {"verdict.reference", "reference", "基準"},
    {"verdict.against", "{} (vs {})", "{}（與 {} 比較）"},
    // columns
    {"arm", "arm", "組別"},
    {"verdict", "verdict", "判定"},
    {"top1", "top-1", "首選相同"},
    {"kl_max", "max KL", "最大 KL"},
    {"kl_mean", "mean KL", "平均 KL"},
    {"max_logit", "max diff", "最大差"},
    {"mean_logit", "mean diff", "平均差"},
    {"p99_logit", "p99 diff", "p99 差"},
    {"diverges", "first other token", "首個相異 token"},
    {"layer", "first layer beyond", "首個超限的層"},
    {"perplexity", "perplexity", "困惑度"},
    {"ratio", "ratio", "比值"},
    {"load", "load", "載入"},
    {"ttft", "first token", "首個 token"},
    {"prefill", "prefill tok/s", "預填 tok/s"},
    {"decode", "decode tok/s", "解碼 tok/s"},
    {"host_memory", "host peak", "主記憶體峰值"},
    {"device_memory", "device peak", "裝置記憶體峰值"},
    {"kv_bytes", "KV cache", "KV 快取"},
    {"last_loss", "last loss", "最後損失"},
    {"loss_difference", "loss diff", "損失差"},
    {"update_error", "update error", "更新誤差"},
    {"update_cosine", "update cosine", "更新餘弦"},
    // explanations of the columns
    {"about.top1",
     "Share of positions where the arm's likeliest next token is the reference's. Every arm is given the "
     "same tokens, "
     "so one early difference does not hide the rest.",
     "在多少比例的位置上，該組機率最高的下一個 token 與基準組相同。每一組讀入的 token "
     "都相同，因此前面的一處差異不會掩蓋後面的結果。"},
    {"about.kl_max",
     "Kullback-Leibler divergence KL(reference || arm) of the next token's distribution, in nats, at the "
     "worst "
     "position: 0 is equal, 0.001 is invisible in text, above 0.1 another model begins.",
     "下一個 token 機率分布的 KL 散度 KL(基準 || 該組)，單位 nat，取最差的位置：0 表示相等，0.001 "
     "在文字上看不出來，超過 0.1 就像另一個模型。"},
    {"about.kl_mean", "The same, averaged over all positions.", "同上，取所有位置的平均。"},
    {"about.max_logit", "Largest absolute difference of any logit (the model's raw scores before softmax).",
     "所有 logit（softmax 之前的原始分數）之中最大的絕對差。"},
    {"about.mean_logit", "Mean absolute difference of the logits.", "logit 絕對差的平均。"},
    {"about.p99_logit", "99 of 100 logits differ by less than this.",
     "百分之九十九的 logit 差異小於這個值。"},
    {"about.diverges",
     "First place where the arm would have chosen another token than the reference: turn, position in the "
     "script, "
     "and the two tokens.",
     "該組第一次選出與基準組不同的 token 之處：輪次、在腳本中的位置，以及兩個 token。"},
    {"about.layer",
     "First tensor, in the order of computing, whose error rounding does not explain: where a bug would sit.",
     "依計算順序，第一個無法用捨入解釋其誤差的張量；程式若有錯，就在這裡。"},
    {"about.perplexity",
     "How surprised the model is by a text file (lower is better), with its standard error.",
     "模型對一份文字檔的意外程度（越低越好），附標準誤差。"},
    {"about.ratio",
     "Perplexity divided by the reference's. Its standard error is that of the paired differences, token by "
     "token.",
     "困惑度除以基準組的困惑度。標準誤差由逐個 token 的成對差異算出。"},
    {"about.load", "Time until the model was ready.", "模型就緒所需的時間。"},
    {"about.ttft", "Time from the prompt to the first token of the answer.",
     "從提示到回答的第一個 token 所需的時間。"},
    {"about.prefill", "Tokens read per second while the prompt is taken in.",
     "讀入提示時每秒處理的 token 數。"},
    {"about.decode", "Tokens written per second while the answer is produced.",
     "產生回答時每秒輸出的 token 數。"},
    {"about.host_memory", "Largest host memory of the arm's own process.", "該組行程的主記憶體峰值。"},
    {"about.device_memory", "Largest memory on the GPU.", "GPU 記憶體峰值。"},
    {"about.kv_bytes", "Memory of the keys and values that the conversation keeps.",
     "對話保留的 key 與 value 所占的記憶體。"},
    {"about.last_loss", "Loss of the last training step.", "最後一個訓練步的損失。"},
    {"about.loss_difference", "Largest relative difference of the loss at any step.",
     "各訓練步損失的最大相對差。"},
    {"about.update_error",
     "Relative error of the first step's weight update over all parameters: ||arm - reference|| / "
     "||reference||.",
     "第一個訓練步權重更新量的相對誤差，涵蓋所有參數：||該組 − 基準|| / ||基準||。"},
    {"about.update_cosine", "Cosine of the angle between the two updates; 1 is the same direction.",
     "兩個更新方向夾角的餘弦；1 表示方向相同。"},
    // figures of checks and reasons
    {"figure.kl", "largest KL", "最大 KL"},
    {"figure.kl_mean", "mean KL", "平均 KL"},
    {"figure.max_logit", "largest logit difference", "最大 logit 差"},
    {"figure.top1", "share of equal top tokens", "首選 token 相同的比例"},
    {"figure.top1_gap", "reference's preference where the top token differs", "首選不同處基準組的偏好差距"},
    {"figure.perplexity", "perplexity ratio", "困惑度比值"},
    {"figure.layer", "error of a hidden state", "隱藏狀態的誤差"},
    {"figure.loss", "relative difference of a loss", "損失的相對差"},
    {"figure.first_loss", "relative difference of the first loss", "第一步損失的相對差"},
    {"figure.update", "relative error of the first update", "第一次更新的相對誤差"},
    {"about.figure.kl", "At the worst position.", "取最差的位置。"},
    {"about.figure.kl_mean", "Over all positions.", "取所有位置。"},
    {"about.figure.max_logit", "Over all positions and tokens.", "取所有位置與所有 token。"},
    {"about.figure.top1", "Given as the least share.", "設定的是最低比例。"},
    {"about.figure.top1_gap",
     "A flip of the top token is rounding only where the reference itself hardly prefers one: by how much it "
     "did, in "
     "logits, at the worst flip.",
     "只有在基準組自己也幾乎分不出高下時，首選改變才算捨入所致：這裡是最差的一次改變中，基準組原本的 logit "
     "差距。"},
    {"about.figure.perplexity", "Allowed: chance (three standard errors) and what rounding may change.",
     "容許：抽樣誤差（三個標準誤差）加上捨入可能造成的變化。"},
    {"about.figure.layer", "Of the first tensor that leaves its tolerance; 0 where none does.",
     "第一個超出容許值的張量的誤差；沒有則為 0。"},
    {"about.figure.loss", "Over all steps.", "取所有訓練步。"},
    {"about.figure.first_loss", "Before any update both are the same model.",
     "尚未更新之前，兩者是同一個模型。"},
    {"about.figure.update", "Of the worst tensor where a number was given, else over all.",
     "設定了容許值時取最差的張量，否則取全部參數。"},
    {"source.contract", "numerics contracts", "外掛的數值合約"},
    {"source.tolerance", "given tolerance", "設定的容許值"},
    {"source.self-noise", "the reference's own noise", "基準組自身的雜訊"},
    {"about.source.contract",
     "numerics contracts: error bounds that the plugins declare, carried through the model by a rule of "
     "thumb",
     "外掛的數值合約：外掛宣告的誤差上限，依經驗法則推算到整個模型"},
    {"about.source.tolerance", "given tolerance: parity.tolerance in the config",
     "設定的容許值：設定檔的 parity.tolerance"},
    {"about.source.self-noise",
     "the reference's own noise: {} arm(s) compute the same with another feed; the largest KL among them, "
     "{}, times {}",
     "基準組自身的雜訊：有 {} 組只改變餵入方式；其中最大的 KL {} 乘以 {}"},
    {"reason.measured", "{}: {} measured, {} allowed ({})", "{}：測得 {}，容許 {}（{}）"},
    {"reason.at_position", "{} at position {}", "{}，位置 {}"},
    {"reason.at_tensor", "{} in {}", "{}，{}"},
    {"reason.at_step", "{} at step {}", "{}，第 {} 步"},
    {"reason.not_finite", "numbers that are not finite (NaN or infinity)", "出現非有限數值（NaN 或無限大）"},
    {"reason.not_finite_at", "logits that are not finite (NaN or infinity), first at position {}",
     "logit 出現非有限數值（NaN 或無限大），最早在位置 {}"},
    {"reason.iterations_differ", "repeating it gave other bits: iteration {}, position {}",
     "重複執行得到不同的位元：第 {} 次，位置 {}"},
    {"reason.other_tokenizer", "it has another tokenizer", "使用不同的 tokenizer"},
    {"reason.other_vocabulary", "it has another vocabulary ({} tokens, the reference {})",
     "詞彙量不同（{} 個 token，基準組 {} 個）"},
    {"reason.other_script", "it scored other tokens than the reference", "計分的 token 與基準組不同"},
    {"reason.other_weights", "it reads other weights, and no tolerance is given for that",
     "讀取的是不同的權重，而且沒有為此設定容許值"},
    {"reason.other_keys", "it differs in more than the comparison is about: {}",
     "除了要比較的項目，還有其他設定不同：{}"},
    {"reason.reference_failed", "the reference arm did not run", "基準組未能執行"},
    {"reason.reference_not_finite", "the reference's own logits are not finite, first at position {}",
     "基準組自己的 logit 出現非有限數值，最早在位置 {}"},
    {"reason.only_one_trains", "only one of the two is a training run", "兩者之中只有一個是訓練"},
    {"reason.other_steps", "it trained another number of steps", "訓練的步數不同"},
    {"reason.other_parameters", "it trained other parameters: {}", "訓練的參數不同：{}"},
    {"reason.failed", "it did not run: {}", "未能執行：{}"},
    // sentences
    {"list.comma", ", ", "、"},
    {"colon", ": ", "："},
    {"brackets", " ({})", "（{}）"},
    {"equal.one", "Both arms scored the same {} tokens.", "兩組都計分了相同的 {} 個 token。"},
    {"equal.many", "All {} arms that ran scored the same {} tokens.",
     "執行成功的 {} 組都計分了相同的 {} 個 token。"},
    {"equal.bits", "'{}' equals the reference to the bit at all {} positions.",
     "「{}」在全部 {} 個位置上與基準組逐位元相同。"},
    {"equal.bits_all", "Equal: all {} arm(s) give the reference's logits to the bit, over {} positions.",
     "相同之處：全部 {} 組在 {} 個位置上的 logit 都與基準組逐位元相同。"},
    {"equal.top1_one",
     "Equal: on the same {} tokens, '{}' chooses the reference's next token at {} of {} positions.",
     "相同之處：在相同的 {} 個 token 上，「{}」在 {} 個位置（共 {} 個）選出與基準組相同的下一個 token。"},
    {"equal.top1_many",
     "Equal: on the same {} tokens, {} of {} arms choose the reference's next token at every position; {} of "
     "them equal "
     "it to the bit.",
     "相同之處：在相同的 {} 個 token 上，{} 組（共 {} 組）在每個位置都選出與基準組相同的下一個 token；其中 "
     "{} 組逐位元相同。"},
    {"equal.training",
     "Equal: {} arm(s) ran the same {} training steps; their first losses differ by at most {}.",
     "相同之處：{} 組都訓練了相同的 {} 步；第一步損失的差異最大為 {}。"},
    {"equal.nothing", "Nothing could be compared with the reference '{}'.",
     "沒有任何一組能與基準組「{}」比較。"},
    {"differs.nothing", "Different: nothing.", "不同之處：沒有。"},
    {"differs.not_finite", "Different: '{}' gives logits that are not finite, first at position {}{}.",
     "不同之處：「{}」的 logit 出現非有限數值，最早在位置 {}{}。"},
    {"differs.layer", "Different: in '{}' the first tensor that rounding does not explain is {} ({}).",
     "不同之處：在「{}」之中，第一個無法用捨入解釋的張量是{}（{}）。"},
    {"differs.token",
     "Different: the first other token is at position {}{}, where the reference chooses {} and '{}' chooses "
     "{}.",
     "不同之處：首個相異 token 在位置 {}{}，基準組選 {}，「{}」選 {}。"},
    {"differs.kl", "Different: no chosen token; the largest KL is {}, at position {}{}, in '{}'.",
     "不同之處：所選的 token 都相同；最大的 KL 是 {}，在位置 {}{}，出現在「{}」。"},
    {"differs.training", "Different: the losses by at most {} (step {}, '{}'){}.",
     "不同之處：損失最多相差 {}（第 {} 步，「{}」）{}。"},
    {"differs.update", ", the first update most in {} ({} of its size)",
     "；第一次更新差異最大的是 {}（為其大小的 {}）"},
    {"place", " (turn {}, {})", "（第 {} 輪，{}）"},
    {"place.prompt", "prompt", "提示"},
    {"place.answer", "answer", "回答"},
    {"place.close", "end of the turn", "輪次結尾"},
    {"layer.before", "{} before the first layer", "第一層之前的 {}"},
    {"layer.at", "layer {}'s {}", "第 {} 層的 {}"},
    {"layer.error", "relative error {}, allowed {}", "相對誤差 {}，容許 {}"},
    {"layer.channel", "channel {}: relative error {}, allowed {}", "通道 {}：相對誤差 {}，容許 {}"},
    {"layer.position", "position {}: relative error {}, allowed {}", "位置 {}：相對誤差 {}，容許 {}"},
    {"layer.not_finite", "position {}, channel {}: not finite", "位置 {}，通道 {}：非有限數值"},
    {"allowed.yes", "That is allowed: every arm stays within its tolerance{}.",
     "這是容許的：每一組都在容許範圍內{}。"},
    {"allowed.closest", " (closest: {} in '{}', {} of {} allowed, by {})",
     "（最接近的是「{1}」的{0}，{2}，容許 {3}，依據{4}）"},
    {"allowed.no", "That is not allowed: '{}', {}{}.", "這是不容許的：「{}」，{}{}。"},
    {"allowed.more", " (and {} more arm(s))", "（另有 {} 組）"},
    {"allowed.unknown", "Whether that is allowed cannot be said: '{}', {}.",
     "無法判斷是否容許：「{}」，{}。"},
    {"allowed.alone", "There is nothing to compare it with.", "沒有可以比較的對象。"},
    // sections
    {"section.agreement", "Agreement with the reference '{}'", "與基準組「{}」的一致程度"},
    {"section.speed", "Speed and memory", "速度與記憶體"},
    {"section.training", "Training", "訓練"},
    {"section.first_token", "First token of the answer", "回答的第一個 token"},
    {"section.text", "What each arm says by itself (greedy)", "各組自行產生的文字（貪婪解碼）"},
    {"section.reasons", "Why", "原因"},
    {"section.differs", "What the arms differ in", "各組的設定差異"},
    {"section.arm", "Arm", "組別"},
    {"section.checks", "What was checked", "檢查項目"},
    {"section.kl", "KL divergence over the conversation", "對話各位置的 KL 散度"},
    {"section.layers", "Error of the hidden states, layer by layer", "各層隱藏狀態的誤差"},
    {"section.speed_memory", "Speed against memory", "速度與記憶體的關係"},
    {"section.losses", "Loss curves", "損失曲線"},
    {"section.updates", "First update, tensor by tensor", "第一次更新，逐一張量"},
    {"section.script", "The tokens that were scored", "計分的 token"},
    {"section.words", "What the figures mean", "各項數字的意義"},
    {"about.kl_plot",
     "One line for each arm; the scale is logarithmic, and 0 is drawn at the bottom. Shaded: the answers. "
     "Dashed: what "
     "is allowed.",
     "每組一條線；縱軸為對數刻度，0 畫在最底。底色：回答的部分。虛線：容許值。"},
    {"about.layers_plot",
     "Relative error of every tensor in the order of computing. Rounding grows slowly from layer to layer; a "
     "bug is a "
     "jump. Dashed: tolerance of the arm with the same colour. Circle: the first tensor beyond it.",
     "依計算順序列出每個張量的相對誤差。捨入誤差逐層緩慢增加；程式錯誤則會突然跳升。虛線：同色組別的容許值。"
     "圓圈：第一個超出的張量。"},
    {"about.speed_plot", "Up is faster, left is smaller.", "越上面越快，越左邊越省記憶體。"},
    {"about.loss_plot", "Loss of every training step.", "每個訓練步的損失。"},
    {"about.script",
     "The darker, the larger the KL of predicting this token; underlined: the arm would have chosen another "
     "one. Tokens "
     "that are parts of a character are shown as bytes.",
     "顏色越深，預測該 token 時的 KL 越大；加底線：該組會選另一個 token。只是半個字的 token 以位元組顯示。"},
    {"about.text",
     "Each arm answers the prompts by itself, always with the likeliest token. The first token that differs "
     "is marked.",
     "各組自行回答，每次都選機率最高的 token。第一個不同的 token 會標示出來。"},
    {"about.first_token", "The likeliest first tokens of the answer, with their probabilities.",
     "回答的第一個 token 中機率最高的幾個，以及其機率。"},
    {"turn", "turn {}", "第 {} 輪"},
    {"token", "token", "token"},
    {"tensor", "tensor", "張量"},
    {"error", "error", "誤差"},
    {"tolerance", "tolerance", "容許值"},
    {"cosine", "cosine", "餘弦"},
    {"rank", "rank", "名次"},
    {"key", "key", "設定"},
    {"value", "value", "值"},
    {"check", "check", "項目"},
    {"measured", "measured", "測得"},
    {"allowed", "allowed", "容許"},
    {"source", "source", "依據"},
    {"result", "result", "結果"},
    {"ok", "ok", "符合"},
    {"beyond", "beyond", "超出"},
    {"none", "none", "無"},
    {"same_text", "same text", "文字相同"},
    {"ended", "(ended)", "（已結束）"},
    {"cut_list", "{} more", "另有 {} 項"},
    {"position", "position", "位置"},
    {"step", "step", "步"},
    {"loss", "loss", "損失"},
    {"layer_axis", "layer", "層"},
    {"memory_axis", "peak memory, GiB", "記憶體峰值（GiB）"},
    {"made", "Made by {} on {}.", "由 {} 於 {} 產生。"},
    {"exit_code", "exit code {}", "結束代碼 {}"},
    {"plot.list", "As a list", "以清單顯示"},
    // regression
    {"regression.title", "Parity: old against new", "一致性比較：舊與新"},
    {"regression.none", "Nothing got worse beyond noise.", "沒有任何數字變差到超出雜訊。"},
    {"regression.some", "{} figure(s) got worse beyond noise.", "有 {} 項數字變差，超出雜訊。"},
    {"regression.worse", "worse", "變差"},
    {"regression.better", "better", "變好"},
    {"regression.old", "old", "舊"},
    {"regression.new", "new", "新"},
    {"regression.allowed", "still noise", "雜訊範圍"},
    {"regression.figure", "figure", "數字"},
    {"note.other_script", "The two comparisons scored different tokens: figures of quality are not compared.",
     "兩次比較計分的 token 不同：不比較品質方面的數字。"},
    {"note.other_reference", "The reference arm was '{}' and is '{}': figures of quality are not compared.",
     "基準組原為「{}」，現為「{}」：不比較品質方面的數字。"},
    {"note.new_arm", "'{}' is new.", "「{}」是新增的組別。"},
    {"note.gone_arm", "'{}' is gone.", "「{}」已不存在。"},
    {"metric.verdict", "verdict", "判定"},
    {"metric.kl_max", "max KL", "最大 KL"},
    {"metric.kl_mean", "mean KL", "平均 KL"},
    {"metric.top1", "equal top tokens", "首選 token 相同的比例"},
    {"metric.max_logit", "max logit difference", "最大 logit 差"},
    {"metric.perplexity", "perplexity", "困惑度"},
    {"metric.load", "load time, s", "載入時間（秒）"},
    {"metric.ttft", "time to first token, s", "首個 token 時間（秒）"},
    {"metric.prefill", "prefill tok/s", "預填 tok/s"},
    {"metric.decode", "decode tok/s", "解碼 tok/s"},
    {"metric.host_memory", "host memory, bytes", "主記憶體（位元組）"},
    {"metric.device_memory", "device memory, bytes", "裝置記憶體（位元組）"},
    {"metric.kv_bytes", "KV cache, bytes", "KV 快取（位元組）"},
    {"metric.last_loss", "last loss", "最後損失"},
    {"metric.arm", "arm", "組別"},
};

const Text* find(std::string_view key) {
  const auto* found =
      std::find_if(std::begin(texts), std::end(texts), [&](const Text& t) { return t.key == key; });
  return found == std::end(texts) ? nullptr : found;
}

}  // namespace

std::string_view word(Language language, std::string_view key) {
  const Text* text = find(key);
  if (text == nullptr)
    throw std::out_of_range("no text '" + std::string(key) + "' in a parity report's words");
  return language == Language::traditional_chinese ? text->chinese : text->english;
}

std::string word_or(Language language, std::string_view prefix, std::string_view key) {
  const Text* text = find(std::string(prefix) + std::string(key));
  if (text == nullptr) return std::string(key);
  return std::string(language == Language::traditional_chinese ? text->chinese : text->english);
}

std::size_t word_count() {
  return std::size(texts);
}

std::string_view word_key(std::size_t i) {
  return texts[i].key;
}

}  // namespace tetrad::parity
