//! What a cache of many stored responses costs: memory for each, and the time from a start to the first hit.
//!
//! `cargo bench -p bentpipe-store --bench memory -- 1000000 4096` stores that many responses of so many bytes in a
//! temporary folder (`TMPDIR` says where) and opens the folder again after a kill and after a clean stop. From 4096 bytes
//! on each is a content file; shorter ones share files. Every step is a process of its own, so that its memory is that of
//! the step. The files are in the system's cache.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bentpipe_store::{Limits, Store};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use rfc9111::{CacheKey, Nominated, StoredResponse};

type Outcome = Result<(), Box<dyn Error>>;

const LIMITS: Limits = Limits { max_size: 1 << 40, max_object_size: 1 << 20 };
/// The shortest body that gets a file of its own.
const BODY: &str = "4096";

const FIELDS: [(&str, &str); 9] = [
    ("date", "Mon, 02 Jan 2023 03:04:05 GMT"),
    ("content-type", "text/html; charset=utf-8"),
    ("etag", "\"5e8f8b9c-1a2b3c4d5e6f\""),
    ("last-modified", "Sun, 01 Jan 2023 00:00:00 GMT"),
    ("cache-control", "public, max-age=86400"),
    ("server", "nginx/1.24.0"),
    ("vary", "accept-encoding"),
    ("x-content-type-options", "nosniff"),
    ("content-encoding", "gzip"),
];

fn main() -> Outcome {
    let arguments: Vec<_> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fill", folder, objects, body] => run(fill(Path::new(folder), objects.parse()?, body.parse()?)),
        ["open", folder, objects, body, close] => {
            run(open(Path::new(folder), objects.parse()?, body.parse()?, close == "close"))
        }
        [objects] => all(objects, BODY),
        [objects, body] => all(objects, body),
        _ => all("100000", BODY),
    }
}

fn all(objects: &str, body: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().ok_or("the temporary folder has no name")?;
    let mut filling = step(&["fill", path, objects, body])?;
    let output = filling.stdout.take().ok_or("no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line == "filled" {
            break;
        }
        println!("{line}");
    }
    // The journal is written once a second.
    thread::sleep(Duration::from_secs(2));
    filling.kill()?;
    filling.wait()?;
    for (after, ending) in [("kill -9", "kill"), ("kill -9 again", "close"), ("clean stop", "kill")] {
        let output = step(&["open", path, objects, body, ending])?.wait_with_output()?;
        println!("after {after}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}

fn step(arguments: &[&str]) -> Result<Child, Box<dyn Error>> {
    Ok(Command::new(env::current_exe()?).args(arguments).stdout(Stdio::piped()).spawn()?)
}

fn run(step: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(step)
}

async fn fill(folder: &Path, objects: usize, length: usize) -> Outcome {
    let store = Store::open(folder, LIMITS)?;
    let (before, began) = (resident()?, Instant::now());
    for number in 0..objects {
        let mut body = vec![7; length];
        body[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let (mut arrival, _) = store.insert(key(number)?, head()?, Some(length as u64))?;
        arrival.write(Bytes::from(body)).await?;
        arrival.commit(None).await?;
    }
    let each = began.elapsed() / u32::try_from(objects)?;
    println!("stored {objects}: {each:?} each; {}", memory(before, objects)?);
    println!("filled");
    // Until the kill.
    std::future::pending().await
}

async fn open(folder: &Path, objects: usize, length: usize, closes: bool) -> Outcome {
    let (before, began) = (resident()?, Instant::now());
    let store = Store::open(folder, LIMITS)?;
    let found = store.lookup(&key(objects / 2)?);
    let body = found.get(0).ok_or("not found")?.body(None).collect().await?.to_bytes();
    let first_hit = began.elapsed();
    assert_eq!((body.len(), store.stats().objects), (length, objects));
    let memory = memory(before, objects)?;
    let keys = (0..objects.min(100_000))
        .map(|number| key(number * 7919 % objects))
        .collect::<Result<Vec<_>, _>>()?;
    let cold = lookup(&store, &keys)?;
    let hot: Vec<_> = keys.iter().take(1000).cloned().cycle().take(100_000).collect();
    let hot = lookup(&store, &hot)?;
    println!("first hit {first_hit:?}; {memory}; lookup {cold:?} at random, {hot:?} of a hot one");
    if closes {
        store.close().await;
    }
    std::process::exit(0)
}

fn lookup(store: &Store, keys: &[CacheKey]) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    let heads: usize = keys.iter().map(|key| store.lookup(key).heads().len()).sum();
    Ok(began.elapsed() / u32::try_from(heads)?)
}

fn memory(before: usize, objects: usize) -> Result<String, Box<dyn Error>> {
    let fields: usize = FIELDS.iter().map(|(name, value)| name.len() + value.len()).sum();
    let each = resident()?.saturating_sub(before) / objects;
    let beyond = i64::try_from(each)? - i64::try_from(fields)?;
    let all = resident()? >> 20;
    Ok(format!("{all} MiB resident, {each} bytes an entry, {beyond} beyond its {fields} bytes of fields"))
}

/// The memory of this process in bytes.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<usize>()? * 1024)
}

fn key(number: usize) -> Result<CacheKey, &'static str> {
    let target = format!("http://www.example.com/some/folder/document-{number}.html?version=12");
    CacheKey::parse(&target).ok_or("not a target")
}

fn head() -> Result<StoredResponse, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let nominated = Nominated::from_parts([(http::header::ACCEPT_ENCODING, Some(b"gzip".to_vec()))]);
    Ok(StoredResponse::from_parts(StatusCode::OK, headers, nominated, [UNIX_EPOCH; 2]))
}
