//! Chromium without a window: the flags with which it says and fetches nothing of its own, and, in the other files, a browser
//! under our hands.

pub(crate) mod devtools;
pub(crate) mod tab;

use std::ffi::OsString;
use std::path::Path;

/// What every run of it is told; its profile is a folder of its own.
pub(crate) fn arguments(profile: &Path) -> Vec<OsString> {
    let quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--disable-extensions",
        "--hide-scrollbars",
        "--mute-audio",
    ];
    let profile = OsString::from(format!("--user-data-dir={}", profile.display()));
    quiet.iter().map(OsString::from).chain([profile]).collect()
}
