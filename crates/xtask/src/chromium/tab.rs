//! A tab of the browser: pages visited, asked with JavaScript, typed into, and photographed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

use super::devtools::Browser;

/// How long a page may take to load, or to become as it should be.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// One tab. What it is told goes through the browser it belongs to.
pub(crate) struct Tab<'a> {
    pub(crate) browser: &'a mut Browser,
    session: String,
    target: Value,
}

/// What a tab looks like.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_phone: bool,
    pub(crate) is_dark: bool,
}

/// A desk, by day.
pub(crate) const DESK: Screen = Screen { width: 1080, height: 1000, is_phone: false, is_dark: false };
/// A phone, by day.
pub(crate) const PHONE: Screen = Screen { width: 390, height: 844, is_phone: true, is_dark: false };

impl<'a> Tab<'a> {
    /// A new tab with this screen, with or without JavaScript.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn open(
        browser: &'a mut Browser,
        screen: Screen,
        scripts: bool,
    ) -> anyhow::Result<Self> {
        let made = browser.call(None, "Target.createTarget", json!({"url": "about:blank"})).await?;
        let whom = json!({"targetId": made["targetId"], "flatten": true});
        let attached = browser.call(None, "Target.attachToTarget", whom).await?;
        let session = attached["sessionId"].as_str().context("no session")?.to_owned();
        let mut tab = Self { browser, session, target: made["targetId"].clone() };
        for domain in ["Page", "Runtime", "Network", "Log", "Accessibility"] {
            tab.call(&format!("{domain}.enable"), json!({})).await?;
        }
        tab.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true})).await?;
        tab.call("Emulation.setScriptExecutionDisabled", json!({"value": !scripts})).await?;
        tab.screen(screen).await?;
        Ok(tab)
    }

    /// Closes it; what it told stays with the browser.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.browser.call(None, "Target.closeTarget", json!({"targetId": self.target})).await?;
        Ok(())
    }

    /// Gives it this screen.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn screen(&mut self, screen: Screen) -> anyhow::Result<()> {
        let size = json!({
            "width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.is_phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// Has it do `method`.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        self.browser.call(Some(&self.session), method, parameters).await
    }

    /// Goes to `url` and waits until it has loaded, whatever the status is.
    ///
    /// # Errors
    /// Those of [`Browser::call`], and when nothing loads.
    pub(crate) async fn visit(&mut self, url: &str) -> anyhow::Result<()> {
        let went = self.call("Page.navigate", json!({"url": url})).await?;
        ensure!(went.get("errorText").is_none(), "{url}: {}", went["errorText"]);
        self.wait_for("document.readyState === 'complete'", url).await
    }

    /// The value of `expression` in the page.
    ///
    /// # Errors
    /// Those of [`Browser::call`], and when it throws.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        ensure!(answer.get("exceptionDetails").is_none(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// Waits until `expression` holds in the page.
    ///
    /// # Errors
    /// Those of [`Tab::evaluate`]; when it does not hold in time, with `what` in the text.
    pub(crate) async fn wait_for(&mut self, expression: &str, what: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.evaluate(expression).await? != true {
            ensure!(start.elapsed() < PATIENCE, "{what}: not so within {PATIENCE:?}: {expression}");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Presses and releases the Tab key.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn press_tab(&mut self) -> anyhow::Result<()> {
        self.press("Tab", 9, None).await
    }

    /// Presses and releases Enter.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn press_enter(&mut self) -> anyhow::Result<()> {
        self.press("Enter", 13, Some("\r")).await
    }

    async fn press(&mut self, key: &str, code: u32, text: Option<&str>) -> anyhow::Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if let Some(text) = text.filter(|_| kind == "keyDown") {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types `text` where the focus is.
    ///
    /// # Errors
    /// Those of [`Browser::call`].
    pub(crate) async fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        self.call("Input.insertText", json!({"text": text})).await?;
        Ok(())
    }

    /// Writes a picture of the page, from its top to below the first element of the selector `until`, into `file`.
    ///
    /// # Errors
    /// Those of [`Browser::call`] and of the file; when there is no such element.
    pub(crate) async fn picture(&mut self, file: &Path, until: &str) -> anyhow::Result<()> {
        let whole = self.call("Page.getLayoutMetrics", json!({})).await?;
        let size = &whole["cssContentSize"];
        let end = format!(
            "(e => e.getBoundingClientRect().bottom + scrollY + (e.tagName === 'TR' ? 0 : 16))(document.querySelector({}))",
            json!(until)
        );
        let tall = self.evaluate(&end).await?;
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": tall, "scale": 1});
        let parameters = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", parameters).await?;
        let data = shot["data"].as_str().context("no picture")?;
        std::fs::write(file, base64::engine::general_purpose::STANDARD.decode(data)?)?;
        Ok(())
    }
}
