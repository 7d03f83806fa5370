//! HTML: the frame of every page.

/// One column that a phone can show, in the colours that the reader's system prefers.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2327;--soft:#5b6770;--paper:#fff;--card:#f4f6f7;--line:#d5dbdf;--link:#0b5cad}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9eb;--soft:#9aa7b0;--paper:#14181b;--card:#1e2428;--line:#343d43;\
--link:#7ab8ff}}\
*{box-sizing:border-box}\
body{font:16px/1.55 system-ui,sans-serif;max-width:42em;margin:0 auto;padding:1.2em 1em 3em;color:var(--ink);\
background:var(--paper)}\
h1{font-size:1.5em;margin:.6em 0}h2{font-size:1.15em;margin:1.8em 0 .5em}a{color:var(--link)}\
code,pre{font:.88em/1.5 ui-monospace,monospace;background:var(--card);border-radius:4px}\
code{padding:.1em .3em;overflow-wrap:anywhere}pre{padding:.7em .8em;overflow-x:auto;margin:.5em 0}pre code{padding:0;overflow-wrap:normal}\
.get{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start}.get ul{flex:1 1 16em;margin:0;padding:0;list-style:none}\
.get li{margin:0 0 .5em}.get li a{display:block;padding:.6em .8em;border:1px solid var(--line);border-radius:6px;\
background:var(--card);text-decoration:none;font-weight:600}.get small{font-weight:400;color:var(--soft)}\
.get img{width:11em;height:11em;background:#fff;border-radius:6px}\
details{border-bottom:1px solid var(--line)}summary{padding:.6em 0;cursor:pointer;font-weight:600}\
details>:last-child{margin-bottom:1em}small,.soft{color:var(--soft)}";

/// A whole page with this title, which must be plain, and this content in HTML.
pub(super) fn page(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n{content}</html>\n"
    )
}
