//! What the dashboard has to be, asked of a real browser: whole without JavaScript, live with it, quiet, usable on a phone,
//! in the dark, by keyboard and by a screen reader; an operator's page for operators, and nothing of it for others.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::{Value, json};

use super::demo::{Demo, TOKEN};
use crate::chromium::devtools::Browser;
use crate::chromium::tab::{DESK, PHONE, Screen, Tab};

/// The read-only page.
pub(super) const STATUS: &str = "http://bentpipe.local/status/";

/// What is found wrong, collected, so that one run tells all of it.
#[derive(Default)]
pub(super) struct Findings {
    right: usize,
    wrong: Vec<String>,
}

impl Findings {
    fn expect(&mut self, holds: bool, what: impl Into<String>) {
        let what = what.into();
        println!("  {} {what}", if holds { "ok  " } else { "FAIL" });
        if holds {
            self.right += 1;
        } else {
            self.wrong.push(what);
        }
    }

    /// # Errors
    /// All that is wrong.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        ensure!(
            self.wrong.is_empty(),
            "{} of the dashboard do not hold:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
        println!("all {} expectations of the dashboard hold", self.right);
        Ok(())
    }
}

/// Makes all checks against the demo.
///
/// # Errors
/// When the browser or a page fails; what is merely wrong is in the findings.
pub(super) async fn all(browser: &mut Browser, demo: &Demo, findings: &mut Findings) -> anyhow::Result<()> {
    let dashboard = demo.dashboard();
    for (url, sections, tables) in [(dashboard.as_str(), 7, 3), (STATUS, 4, 0)] {
        let mut tab = Tab::open(browser, DESK, false).await?;
        without_scripts(&mut tab, url, (sections, tables), findings).await?;
        tab.close().await?;
    }
    for url in [dashboard.as_str(), STATUS] {
        let mut tab = Tab::open(browser, DESK, true).await?;
        tab.visit(url).await?;
        live(&mut tab, url, findings).await?;
        screens(&mut tab, url, findings).await?;
        names(&mut tab, url, findings).await?;
        keyboard(&mut tab, url, findings).await?;
        tab.close().await?;
    }
    findings.expect(browser.faults.is_empty(), format!("the console has no error: {:?}", browser.faults));
    operator(browser, demo, findings).await?;
    // The browser notes on the console that the first purge, which had no token yet, was answered 401.
    browser.faults.retain(|fault| !fault.contains("401"));
    findings
        .expect(browser.faults.is_empty(), format!("still no error on the console: {:?}", browser.faults));
    let mut tab = Tab::open(browser, DESK, true).await?;
    reader(&mut tab, findings).await?;
    tab.close().await?;
    let home = [dashboard.as_str(), "http://bentpipe.local/"];
    let outside = |url: &&String| !home.iter().any(|home| url.starts_with(home));
    let strangers: BTreeSet<_> = browser.requests.iter().filter(outside).collect();
    let all = browser.requests.len();
    findings.expect(
        all > 20 && strangers.is_empty(),
        format!("all {all} requests went to the proxy itself: others {strangers:?}"),
    );
    Ok(())
}

/// The essentials are in the page as it comes.
async fn without_scripts(
    tab: &mut Tab<'_>,
    url: &str,
    (sections, tables): (u64, u64),
    findings: &mut Findings,
) -> anyhow::Result<()> {
    println!("{url} without JavaScript");
    tab.visit(url).await?;
    let lamp = tab.evaluate("document.querySelector('.lamp')?.innerText ?? ''").await?;
    findings
        .expect(lamp.as_str().is_some_and(|lamp| lamp.starts_with("Link ")), format!("the lamp says {lamp}"));
    let shape = "document.querySelector('.lamp') && getComputedStyle(document.querySelector('.lamp'), '::before').width";
    let shape = tab.evaluate(shape).await?;
    findings.expect(
        shape.as_str().is_some_and(|width| width != "auto"),
        format!("and is to be seen, {shape} wide"),
    );
    let figures = number(tab, "dl dd").await?;
    findings.expect(figures >= 9, format!("{figures} figures"));
    let found = number(tab, "main > section, main + section").await?;
    findings.expect(found == sections, format!("{found} sections"));
    let found = number(tab, "table tbody tr").await?;
    findings.expect(found >= tables, format!("{found} rows of tables, at least {tables}"));
    findings.expect(number(tab, ".uplot").await? == 0, "no script has run");
    let again = tab.evaluate("!!document.querySelector('noscript meta[http-equiv=refresh]') || [...document.querySelectorAll('noscript')].some(n => n.innerHTML.includes('refresh'))").await?;
    findings.expect(again == true, "it loads itself again");
    Ok(())
}

async fn number(tab: &mut Tab<'_>, selector: &str) -> anyhow::Result<u64> {
    let found = tab.evaluate(&format!("document.querySelectorAll({}).length", json!(selector))).await?;
    Ok(found.as_u64().unwrap_or(0))
}

/// It changes, and is not loaded again for it.
async fn live(tab: &mut Tab<'_>, url: &str, findings: &mut Findings) -> anyhow::Result<()> {
    println!("{url} with JavaScript");
    findings.expect(number(tab, ".uplot canvas").await? == 1, "the chart is drawn");
    let figures = "document.getElementById('since').innerText + [...document.querySelectorAll('#link dd')].map(d => d.innerText)";
    tab.evaluate(&format!("window.before = {figures}")).await?;
    let changed = tab.wait_for(&format!("window.before !== {figures}"), "figures change").await;
    findings.expect(changed.is_ok(), "figures change without loading the page again");
    findings.expect(number(tab, ".uplot canvas").await? == 1, "the chart is still there, once");
    Ok(())
}

/// A phone and the dark.
async fn screens(tab: &mut Tab<'_>, url: &str, findings: &mut Findings) -> anyhow::Result<()> {
    tab.screen(PHONE).await?;
    tab.visit(url).await?;
    let wide = tab.evaluate("document.documentElement.scrollWidth").await?;
    findings.expect(
        wide.as_u64().is_some_and(|wide| wide <= 390),
        format!("on a phone of 390 pixels the page is {wide} wide"),
    );
    let small = "[...document.querySelectorAll('button, input')].filter(e => e.getBoundingClientRect().height < 24).length";
    findings
        .expect(tab.evaluate(small).await? == 0, "and every control at least 24 pixels high (WCAG 2.5.8)");
    let mut papers = Vec::new();
    for is_dark in [false, true] {
        tab.screen(Screen { is_dark, ..DESK }).await?;
        tab.visit(url).await?;
        let paper = tab.evaluate("getComputedStyle(document.body).backgroundColor").await?;
        let contrast = tab.evaluate(CONTRAST).await?.as_f64().unwrap_or(0.0);
        findings.expect(
            contrast >= 4.5,
            format!("paper {paper}: the least contrast of text is {contrast:.1}, at least 4.5 (WCAG 1.4.3)"),
        );
        papers.push(paper);
    }
    findings.expect(
        papers[0] != papers[1],
        format!("dark mode follows the system: {} and {}", papers[0], papers[1]),
    );
    tab.screen(DESK).await?;
    tab.visit(url).await
}

/// The least contrast between a text and what is behind it.
const CONTRAST: &str = r"(() => {
  const parts = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parts(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(e.tagName));
  return Math.min(...texts.map((e) => {
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(paper(e))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
})()";

/// What a screen reader says of controls and pictures.
async fn names(tab: &mut Tab<'_>, url: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let tree = tab.call("Accessibility.getFullAXTree", json!({})).await?;
    let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
    let wants_name = [
        "button",
        "link",
        "textbox",
        "progressbar",
        "ProgressIndicator",
        "progressIndicator",
        "img",
        "image",
        "region",
        "form",
        "checkbox",
        "combobox",
    ];
    let of_interest = nodes.iter().filter(|node| node["ignored"] != true);
    let of_interest: Vec<_> =
        of_interest.filter(|node| wants_name.contains(&text(&node["role"]).as_str())).collect();
    let nameless: Vec<_> = of_interest
        .iter()
        .filter(|node| text(&node["name"]).trim().is_empty())
        .map(|node| text(&node["role"]))
        .collect();
    findings.expect(
        !of_interest.is_empty() && nameless.is_empty(),
        format!(
            "{url}: each of {} controls, regions and pictures has a name: without {nameless:?}",
            of_interest.len()
        ),
    );
    let outline = tab.evaluate("document.documentElement.lang === 'en' && document.querySelectorAll('h1').length === 1 && !!document.querySelector('main')").await?;
    findings.expect(outline == true, "it has a language, one first heading and a main part");
    Ok(())
}

/// Whoever has no mouse reaches every control, in the order of the page, and sees where the focus is.
async fn keyboard(tab: &mut Tab<'_>, url: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let name = "(e) => e === document.body ? 'BODY' : e.dataset.stop ? `stop ${e.dataset.stop}` : e.id || e.innerText.trim() || e.tagName";
    let controls = tab
        .evaluate(&format!("[...document.querySelectorAll('a[href], button, input')].map({name})"))
        .await?;
    let controls: Vec<_> =
        controls.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let (mut reached, mut unseen) = (Vec::new(), Vec::new());
    for _ in 0..controls.len() + 4 {
        tab.press_tab().await?;
        let look = format!(
            "(() => {{ const e = document.activeElement, style = getComputedStyle(e);
               return [({name})(e), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0]; }})()"
        );
        let at = tab.evaluate(&look).await?;
        let who = at[0].as_str().unwrap_or_default().to_owned();
        if at[1] != true && who != "BODY" {
            unseen.push(who.clone());
        }
        reached.push(who);
    }
    // Small exchanges come and go between two looks; what stays has to be there, in its order.
    let lasting = tab
        .evaluate(&format!("[...document.querySelectorAll('a[href], button, input')].map({name})"))
        .await?;
    let lasting = lasting.as_array().cloned().unwrap_or_default();
    let expected: Vec<&String> =
        controls.iter().filter(|name| lasting.iter().any(|other| other == name.as_str())).collect();
    let met: Vec<_> = reached.iter().filter(|name| expected.contains(name)).take(expected.len()).collect();
    findings.expect(met == expected, format!("{url}: the Tab key reaches {expected:?}: {reached:?}"));
    findings.expect(unseen.is_empty(), format!("and the focus is to be seen: not at {unseen:?}"));
    Ok(())
}

/// What the operator does: look for something, have it explained, purge it, break a download off.
async fn operator(browser: &mut Browser, demo: &Demo, findings: &mut Findings) -> anyhow::Result<()> {
    println!("as the operator");
    browser.typed = TOKEN.to_owned();
    let url = demo.url("school", "/style.css");
    let mut tab = Tab::open(browser, DESK, true).await?;
    tab.visit(&demo.dashboard()).await?;
    let found = said(&mut tab, "list", &demo.url("school", "/")).await?;
    findings.expect(found.contains(&url), format!("the search finds it: {} lines", found.lines().count()));
    let explained = said(&mut tab, "explain", &url).await?;
    findings.expect(
        explained.starts_with("serve the stored response") && explained.contains("RFC 9111"),
        format!("explain says why: {:?}", explained.lines().take(3).collect::<Vec<_>>()),
    );
    let purged = said(&mut tab, "purge", &url).await?;
    findings.expect(purged.starts_with("Purged 1, "), format!("purge says {purged:?}"));
    let asked = tab.browser.dialogs.clone();
    findings.expect(
        asked.iter().any(|text| text.starts_with("Purge http"))
            && asked.iter().any(|text| text.contains("token")),
        format!("and asked before: {asked:?}"),
    );
    // By keyboard: the field, what is typed, Enter is the first of the buttons.
    tab.evaluate(
        "document.getElementById('found').textContent = '', document.getElementById('url').value = ''",
    )
    .await?;
    tab.evaluate("document.getElementById('url').focus()").await?;
    tab.type_text(&demo.url("clinic", "/")).await?;
    tab.press_enter().await?;
    let searched =
        tab.wait_for("document.getElementById('found').textContent.includes('clinic')", "Enter").await;
    findings.expect(searched.is_ok(), "Enter in the field searches");
    let running = demo.shell("bentpipe top --json").await?;
    let number = running.find("lesson-7").is_some();
    findings.expect(number, "the download of the lesson is under way");
    let button = "[...document.querySelectorAll('#running tr')].find(r => r.innerText.includes('lesson-7'))?.querySelector('button')";
    tab.wait_for(&format!("!!{button}"), "a button that stops the lesson").await?;
    tab.evaluate(&format!("{button}.click()")).await?;
    let gone = tab.wait_for(&format!("!{button}"), "the lesson stops").await;
    findings.expect(gone.is_ok(), "Stop breaks a download off, and the page shows it");
    tab.close().await
}

/// What the page says to the operator who asks `what` about `url`.
pub(super) async fn said(tab: &mut Tab<'_>, what: &str, url: &str) -> anyhow::Result<String> {
    tab.evaluate(&format!(
        "document.getElementById('found').textContent = '', document.getElementById('url').value = {}, \
         document.querySelector('button[value={what}]').click()",
        json!(url)
    ))
    .await?;
    tab.wait_for("document.getElementById('found').textContent !== ''", what).await?;
    Ok(tab
        .evaluate("document.getElementById('found').textContent")
        .await?
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// What the page of everybody does not have.
async fn reader(tab: &mut Tab<'_>, findings: &mut Findings) -> anyhow::Result<()> {
    println!("as anybody");
    tab.visit(STATUS).await?;
    let offered = number(tab, "button, form, input, #clients, #sites, #cache").await?;
    findings.expect(offered == 0, format!("{STATUS} offers {offered} controls of an operator"));
    let text = tab.evaluate("document.body.innerText").await?;
    let others = text.as_str().is_none_or(|text| text.contains("127.0.0.2") || text.contains("lesson-7"));
    findings.expect(!others, "it tells nothing of what others do");
    let own =
        text.as_str().is_some_and(|text| text.contains("handbook.pdf") && text.contains("games.example"));
    findings.expect(own, "but what its own reader has under way, and was refused");
    Ok(())
}
