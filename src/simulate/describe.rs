//! A workload from a description: so many clients, each reading page after page.
//!
//! Owns the grammar and the chances. Each client pauses, asks for a document, then for the objects of its page over at
//! most six connections, and pauses again when all of them have arrived: so a slow link is asked for less, as it is by
//! people. Pauses are exponential, sizes log-normal, each around its mean; what they are depends on the seed and on the
//! place of the page alone.

use std::time::Duration;

use linkio::sim::{Begin, Greeting, Transaction};
use linkio::{ByteCount, ClientKey, Moment, Standing};

use super::measure::parse_time;
use super::workload::Plan;

const EXPECTED: &str = "expected clients=NUMBER, for=TIME, every=TIME, size=SIZE, objects=NUMBER, hosts=NUMBER, \
                        up=SIZE or wait=TIME, parted by commas";
/// Connections to one host that a browser uses at once.
const CONNECTIONS: usize = 6;
/// The spread of sizes: the standard deviation of their logarithm, chosen so that one response in twenty is larger than
/// three times the mean.
const SPREAD: f64 = 1.0;
/// More than this many transactions are refused before they fill the memory.
const MOST: u64 = 2_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Description {
    clients: u64,
    /// Pages begin for so long.
    length: Duration,
    /// The mean pause between a page and the next.
    every: Duration,
    /// The mean size of a response.
    size: u64,
    /// Objects of a page beside its document.
    objects: u64,
    hosts: u32,
    /// Bytes of each request.
    up: u64,
    wait: Duration,
}

/// Invents a workload such as `clients=50,for=24h,every=90s,size=100k,objects=8`.
///
/// # Errors
/// Names the part that is wrong.
pub(super) fn plan(text: &str, seed: u64) -> Result<Plan, String> {
    let description = read(text)?;
    let mut plan = Plan { title: text.to_owned(), ..Plan::default() };
    plan.workload.connections = Some(CONNECTIONS);
    plan.clients = (1..=description.clients).map(|client| format!("client-{client}")).collect();
    plan.hosts = (1..=description.hosts).map(|host| format!("host-{host}")).collect();
    plan.notes.push(format!(
        "A page is a document and {} of its host, {} on average; each client pauses {} on average after each.",
        super::measure::count(usize::try_from(description.objects).unwrap_or(usize::MAX), "object", "objects"),
        super::measure::bytes(description.size.saturating_mul(description.objects + 1)),
        super::measure::time(description.every),
    ));
    for client in 0..description.clients {
        read_pages(&description, seed, client, &mut plan)?;
    }
    Ok(plan)
}

/// Adds the pages of one client, as many as it can begin in time if none takes any.
fn read_pages(description: &Description, seed: u64, client: u64, plan: &mut Plan) -> Result<(), String> {
    let mut paused = Duration::ZERO;
    let mut before = None;
    for page in 0.. {
        let mut chance = Chance::new(seed, client, page);
        let pause = chance.exponential(description.every);
        paused = paused.saturating_add(pause);
        if paused > description.length {
            break;
        }
        let document = plan.names.len();
        let count = u64::try_from(document).unwrap_or(u64::MAX);
        if count.saturating_add(description.objects) >= MOST {
            return Err(format!("expected at most {MOST} requests: fewer clients, pages or objects"));
        }
        let latest = Some(Moment::after_start(description.length));
        let begin = match before.replace(document) {
            None => Begin::At(Moment::after_start(pause)),
            Some(before) => Begin::After { done: before..document, pause, latest },
        };
        let host = chance.below(description.hosts);
        let mut ask = |begin, name| {
            let transaction = Transaction {
                begin,
                standing: Standing::from(ClientKey(client)),
                host,
                greeting: Greeting::default(),
                up: description.up,
                wait: description.wait,
                down: chance.size(description.size),
            };
            plan.push(name, transaction);
        };
        ask(begin, format!("page {}", page + 1));
        for object in 1..=description.objects {
            let begin = Begin::After { done: document..document + 1, pause: Duration::ZERO, latest: None };
            ask(begin, format!("page {} object {object}", page + 1));
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<Description, String> {
    let mut description = Description {
        clients: 1,
        length: Duration::from_secs(600),
        every: Duration::from_secs(30),
        size: 100_000,
        objects: 8,
        hosts: 20,
        up: 600,
        wait: Duration::ZERO,
    };
    let mut given = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?}: {EXPECTED}"))?;
        let wrong = |message: String| format!("{part:?}: {message}");
        if given.contains(&key) {
            return Err(wrong(format!("expected {key} only once")));
        }
        given.push(key);
        match key {
            "clients" => description.clients = number(value, 1, 100_000).map_err(wrong)?,
            "for" => description.length = parse_time(value).map_err(wrong)?,
            "every" => description.every = parse_time(value).and_then(positive).map_err(wrong)?,
            "size" => description.size = size(value).map_err(wrong)?,
            "objects" => description.objects = number(value, 0, 10_000).map_err(wrong)?,
            "hosts" => {
                description.hosts = number(value, 1, 100_000).map_err(wrong)?.try_into().unwrap_or(u32::MAX);
            }
            "up" => description.up = size(value).map_err(wrong)?,
            "wait" => description.wait = parse_time(value).map_err(wrong)?,
            _ => return Err(wrong(EXPECTED.to_owned())),
        }
    }
    Ok(description)
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

fn positive(time: Duration) -> Result<Duration, String> {
    if time.is_zero() { Err("expected a time longer than 0s".to_owned()) } else { Ok(time) }
}

fn size(text: &str) -> Result<u64, String> {
    let size: ByteCount =
        text.parse().map_err(|error: linkio::QuantityError| format!("expected {}", error.expected()))?;
    if size.0 == 0 { Err("expected at least 1 byte".to_owned()) } else { Ok(size.0) }
}

/// What is left to chance about one page: a sequence that depends on the seed and on the place of the page alone, so
/// that one more client or page changes no other. The generator is splitmix64.
struct Chance(u64);

impl Chance {
    fn new(seed: u64, client: u64, page: u64) -> Self {
        let places = [client, page].into_iter();
        Self(places.fold(mixed(seed), |state, place| mixed(state ^ place.wrapping_add(1).wrapping_mul(STEP))))
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// Uniform, above 0 and at most 1.
    fn share(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, count: u32) -> u32 {
        let scaled = (u128::from(self.bits()) * u128::from(count)) >> 64;
        u32::try_from(scaled).unwrap_or(0)
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        Duration::try_from_secs_f64(-self.share().ln() * mean.as_secs_f64()).unwrap_or(Duration::MAX)
    }

    /// Log-normal with this mean, at least one byte.
    fn size(&mut self, mean: u64) -> u64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        let size = mean as f64 * (SPREAD * normal - SPREAD * SPREAD / 2.0).exp();
        // The cast stops at both ends.
        (size.round() as u64).max(1)
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_description_says_how_many_and_how_much() {
        let read = read("clients=50,for=24h, every=90s,size=64k,objects=0,hosts=3,up=1k,wait=80ms").unwrap();
        let expected = Description {
            clients: 50,
            length: Duration::from_secs(86_400),
            every: Duration::from_secs(90),
            size: 64_000,
            objects: 0,
            hosts: 3,
            up: 1000,
            wait: Duration::from_millis(80),
        };
        assert_eq!(read, expected);
    }

    fn check(text: &str, expected: &str) {
        let error = plan(text, 0).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }

    #[test]
    fn an_error_names_the_part() {
        check("clients=0", "\"clients=0\": expected a whole number from 1");
        check("clients=1,fro=1h", "\"fro=1h\": expected clients=NUMBER, for=TIME");
        check("clients=1,", "\"\": expected clients=NUMBER");
        check("for=1", "\"for=1\": \"1\": expected a time");
        check("every=0s", "\"every=0s\": expected a time longer than 0s");
        check("size=1q", "\"size=1q\": expected a size");
        check("size=1k,size=2k", "\"size=2k\": expected size only once");
        check("clients=100000,for=365d", "expected at most 2000000 requests");
    }

    #[test]
    fn means_are_kept() {
        let plan = plan("clients=100,for=10h,every=1m,size=100k,objects=3", 7).unwrap();
        let asked = &plan.workload.transactions;
        // 100 clients of 600 pages of four responses, if pages took no time.
        assert!((235_000..245_000).contains(&asked.len()), "{}", asked.len());
        let mean = asked.iter().map(|asked| asked.down).sum::<u64>() / asked.len() as u64;
        assert!((98_000..102_000).contains(&mean), "{mean}");
        let large = asked.iter().filter(|asked| asked.down > 300_000).count() as f64 / asked.len() as f64;
        assert!((0.05..0.06).contains(&large), "{large}");
    }

    #[test]
    fn the_seed_decides() {
        let plan = |text, seed| plan(text, seed).unwrap().workload.transactions;
        let text = "clients=3,for=1h";
        assert_eq!(plan(text, 1), plan(text, 1));
        assert_ne!(plan(text, 1), plan(text, 2));
        // One more client changes nothing for the others.
        assert!(plan("clients=4,for=1h", 1).starts_with(&plan(text, 1)));
    }

    proptest! {
        #[test]
        fn any_text_reads_without_panic(text in "([a-z]{2,7}=[0-9]{1,3}[a-z]{0,2},?){0,5}|.*") {
            let _ = read(&text);
        }
    }
}
