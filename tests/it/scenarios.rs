//! Runs every scenario in `fixtures/scenarios` against a bentpipe of its own, in this process, with a clock
//! moved by the scenario. It finds the files when it runs, reports every one, and fails loudly on none.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::Scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_holds() {
    let files = scenario_files();
    assert!(!files.is_empty(), "fixtures/scenarios holds no scenario: nothing was tested");
    let mut faults = Vec::new();
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match run(file).await {
            Ok(()) => println!("holds  {name}"),
            Err(fault) => {
                println!("FAILS  {name}");
                faults.push(format!("{fault:#}"));
            }
        }
    }
    println!("{} of {} scenarios hold", files.len() - faults.len(), files.len());
    assert!(faults.is_empty(), "{} scenarios fail:\n\n{}\n", faults.len(), faults.join("\n\n"));
}

fn scenario_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    // SCENARIO=part-of-a-name runs only those, for whoever is working on one.
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let entries = fs::read_dir(folder).expect("fixtures/scenarios is a folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| path.to_string_lossy().contains(&wanted))
        .collect();
    files.sort();
    files
}

async fn run(file: &Path) -> anyhow::Result<()> {
    let scenario = Scenario::load(file)?;
    let cache = tempfile::tempdir()?;
    let folder = cache.path().to_string_lossy().into_owned();
    let fixed = ["--listen", "127.0.0.1:0", "--cache-dir", &folder, "--allow-destination", "127.0.0.1"];
    let flags = fixed.into_iter().chain(scenario.flags().iter().map(String::as_str));
    let clock = bentpipe::Clock::manual();
    let proxy = bentpipe::serve::Proxy::start(bentpipe::Config::from_flags(flags)?, clock.clone()).await?;
    let advancing = clock.clone();
    let outcome =
        scenario.run(proxy.local_address(), move |by| advancing.advance(by), move || clock.now()).await;
    proxy.shutdown().await;
    Ok(outcome?)
}
