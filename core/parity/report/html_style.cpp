#include "parity/report/html_style.h"

namespace tetrad::parity {

const char* const html_style = R"css(
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#59626e;--rule:#d9dee5;
--grid:#e6e9ee;--shade:#eef2f8;--pass:#0b6e3c;--pass-bg:#dff3e6;--fail:#a3161d;--fail-bg:#fbe3e3;--odd:#7a5200;
--odd-bg:#fbefd5;--mark:#ffd84d;--mark-ink:#1b1f24;--heat:208,74,20;
--s0:#0062b8;--s1:#c04a00;--s2:#0a7d5a;--s3:#a8327f;--s4:#7a5c00;--s5:#4a3fb5;--s6:#007a8a;--s7:#5b6470}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--card:#1d2126;--ink:#e6e9ed;--soft:#a3adb9;--rule:#343b44;
--grid:#2b3138;--shade:#242a31;--pass:#7fdca4;--pass-bg:#15392590;--fail:#ff9a94;--fail-bg:#4a1b1e;--odd:#f0c56c;
--odd-bg:#43340f;--mark:#ffd84d;--mark-ink:#1b1f24;--heat:255,138,76;
--s0:#6db3ff;--s1:#ff9b57;--s2:#4fd1a1;--s3:#f48ac9;--s4:#e0bd4a;--s5:#a79cff;--s6:#4fd0e0;--s7:#b4bdc8}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI","Noto Sans",
"Noto Sans TC","Noto Sans CJK TC","PingFang TC","Microsoft JhengHei",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:70rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.2rem 0 .6rem}h2{font-size:1.15rem;margin:0 0 .5rem}h3{font-size:1rem;margin:1rem 0 .3rem}
section,header{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1rem;margin:0 0 1rem}
p{margin:.3rem 0}.about{color:var(--soft);font-size:.9rem}
.sentences{margin:.4rem 0;padding-left:1.3rem}.sentences li{margin:.25rem 0;overflow-wrap:anywhere}
.badge{display:inline-block;padding:.05rem .55rem;border-radius:99px;font-weight:600;font-size:.9em;white-space:nowrap;
border:1px solid currentColor}
.pass{color:var(--pass);background:var(--pass-bg)}.fail,.failed{color:var(--fail);background:var(--fail-bg)}
.not_comparable{color:var(--odd);background:var(--odd-bg)}.reference{color:var(--soft)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch;margin:.3rem 0}
table{border-collapse:collapse;font-size:.9rem;min-width:100%}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;white-space:nowrap;
font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600}
.wrap{white-space:normal;min-width:12rem}
th.text,td.text{text-align:left}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--card);max-width:16rem;
overflow-wrap:break-word;white-space:normal;min-width:9rem}
dl{margin:.6rem 0;font-size:.88rem;display:grid;grid-template-columns:max-content 1fr;gap:.15rem .9rem}
dt{font-weight:600}dd{margin:0;color:var(--soft)}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft)}
details.arm{border-top:1px solid var(--rule);padding:.5rem 0}
details.arm>summary{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
.plot{width:100%;height:auto;display:block}.wide{display:block}.narrow{display:none}
@media (max-width:640px){.wide{display:none}.narrow{display:block}main{padding:.5rem}
section,header{padding:.75rem;border-radius:8px}body{font-size:15px}
table.stack,table.stack tbody,table.stack tr,table.stack td{display:block;min-width:0}table.stack thead{display:none}
table.stack tr{display:grid;grid-template-columns:1fr 1fr;column-gap:.8rem;border-bottom:1px solid var(--rule);padding:.3rem 0}
table.stack td{border:0;text-align:left;padding:.05rem 0;white-space:normal;position:static;max-width:none}
table.stack td:first-child,table.stack td.wrap{grid-column:1/-1}table.stack td:first-child{font-weight:600}
table.stack td.nothing{display:none}table.stack .badge{white-space:normal;border-radius:10px}dl{display:block}dd{margin:0 0 .35rem}
table.stack td[data-name]::before{content:attr(data-name) ": ";color:var(--soft)}}
.tick{font-size:11px;fill:var(--soft)}.label{font-size:12px;fill:var(--soft)}
.grid{stroke:var(--grid);stroke-width:1}.shade{fill:var(--shade)}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.limit{stroke-width:1.2;stroke-dasharray:5 4;opacity:.75}
.far{stroke-dasharray:2 3}.ring{fill:none;stroke-width:2.2}
.s0{stroke:var(--s0);--c:var(--s0)}.s1{stroke:var(--s1);--c:var(--s1)}.s2{stroke:var(--s2);--c:var(--s2)}
.s3{stroke:var(--s3);--c:var(--s3)}.s4{stroke:var(--s4);--c:var(--s4)}.s5{stroke:var(--s5);--c:var(--s5)}
.s6{stroke:var(--s6);--c:var(--s6)}.s7{stroke:var(--s7);--c:var(--s7)}
.dot{fill:var(--c);stroke:none}
.legend{list-style:none;margin:.3rem 0;padding:0;display:flex;flex-wrap:wrap;gap:.15rem 1rem;font-size:.9rem}
.legend li{overflow-wrap:anywhere}.swatch{display:inline-block;width:1.1rem;height:.65rem;border-radius:3px;
background:var(--c);margin-right:.35rem}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(16rem,100%),1fr));gap:.6rem}
.side{border:1px solid var(--rule);border-radius:8px;padding:.5rem .6rem;min-width:0}
.side b{display:block;font-size:.85rem;color:var(--soft);overflow-wrap:anywhere}
.said{white-space:pre-wrap;overflow-wrap:anywhere}
mark{background:var(--mark);color:var(--mark-ink);border-radius:3px;padding:0 .15em}
.script{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9}
.script span{border-radius:3px}.h1{background:rgba(var(--heat),.12)}.h2{background:rgba(var(--heat),.28)}
.h3{background:rgba(var(--heat),.48)}.h4{background:rgba(var(--heat),.75)}
.other{text-decoration:underline;text-decoration-thickness:2px;text-underline-offset:3px}
code,.bytes{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Noto Sans Mono CJK TC",monospace;font-size:.92em}
.bytes{color:var(--soft)}ul.reasons{margin:.3rem 0;padding-left:1.2rem}ul.reasons li{overflow-wrap:anywhere}
footer{color:var(--soft);font-size:.85rem;padding:0 .3rem 1rem;overflow-wrap:anywhere}
)css";

}  // namespace tetrad::parity
