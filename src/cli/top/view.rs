//! What two looks at what is under way come to: rates, what is left and for how long, by client and by exchange. It asks
//! nobody and knows no terminal. The table of exchanges is `table`'s.

mod table;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::admin::human;
use crate::text::harmless;

/// What is under way, and the link, at one moment.
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) exchanges: Vec<Value>,
    pub(super) link: Value,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// What crosses fastest
    Rate,
    /// What has crossed most
    Bytes,
    /// What is over soonest
    Eta,
    /// The oldest
    Age,
    /// By client, and of each what crosses fastest
    Client,
}

impl Sort {
    /// The one of a key.
    pub(super) fn by_key(key: u8) -> Option<Self> {
        match key.to_ascii_lowercase() {
            b'r' => Some(Self::Rate),
            b'b' => Some(Self::Bytes),
            b'e' => Some(Self::Eta),
            b'a' => Some(Self::Age),
            b'c' => Some(Self::Client),
            _ => None,
        }
    }
}

/// What is under way, with rates.
#[derive(Debug, PartialEq)]
pub(super) struct View {
    link: LinkRow,
    clients: Vec<ClientRow>,
    exchanges: Vec<Row>,
}

/// The link, its rates in bytes per second.
#[derive(Debug, PartialEq)]
struct LinkRow {
    spec: String,
    down: f64,
    up: f64,
    busy: [f64; 2],
}

/// All that a client has under way.
#[derive(Debug, PartialEq)]
struct ClientRow {
    client: String,
    exchanges: usize,
    down: f64,
    up: f64,
    bytes: u64,
}

/// One exchange.
#[derive(Debug, PartialEq)]
struct Row {
    number: u64,
    client: String,
    class: Option<String>,
    age: f64,
    down: f64,
    up: f64,
    /// What has crossed the link for it.
    bytes: u64,
    /// How large the response is to be.
    announced: Option<u64>,
    /// Seconds until it is over, as fast as it goes now.
    eta: Option<f64>,
    method: String,
    url: String,
}

impl Row {
    fn rate(&self) -> f64 {
        self.down + self.up
    }
}

fn whole(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

/// Growth of `name` from one to the other, per second.
fn rate(before: Option<&Value>, now: &Value, name: &str, seconds: f64) -> f64 {
    let grown = before.map_or(0, |before| whole(now, name).saturating_sub(whole(before, name)));
    if seconds > 0.0 { grown as f64 / seconds } else { 0.0 }
}

impl View {
    /// What happened from one look to the other. What has begun meanwhile had all of its bytes in that time.
    pub(super) fn between(before: &Look, now: &Look, sort: Sort) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let known: HashMap<u64, &Value> =
            before.exchanges.iter().map(|exchange| (whole(exchange, "number"), exchange)).collect();
        let nothing = Value::Null;
        let row = |exchange: &Value| {
            let earlier = known.get(&whole(exchange, "number")).copied().unwrap_or(&nothing);
            row(earlier, exchange, seconds)
        };
        let mut exchanges: Vec<_> = now.exchanges.iter().map(row).collect();
        exchanges.sort_by(|one, other| order(one, other, sort));
        let link = |name| rate(Some(&before.link), &now.link, name, seconds);
        let busy =
            ["queue_down", "queue_up"].map(|queue| now.link[queue]["utilisation"].as_f64().unwrap_or(0.0));
        let spec = harmless(now.link["spec"].as_str().unwrap_or("?"));
        let link = LinkRow { spec, down: link("down"), up: link("up"), busy };
        Self { link, clients: clients(&exchanges, sort), exchanges }
    }

    /// All of it as JSON; rates are bytes per second.
    pub(super) fn json(&self) -> Value {
        let LinkRow { spec, down, up, busy } = &self.link;
        let client = |row: &ClientRow| {
            let ClientRow { client, exchanges, down, up, bytes } = row;
            json!({ "client": client, "exchanges": exchanges, "down_rate": down, "up_rate": up, "link_bytes": bytes })
        };
        let exchange = |row: &Row| {
            json!({
                "number": row.number, "client": row.client, "class": row.class, "age_seconds": row.age,
                "down_rate": row.down, "up_rate": row.up, "link_bytes": row.bytes,
                "announced_bytes": row.announced, "eta_seconds": row.eta, "method": row.method, "url": row.url,
            })
        };
        json!({
            "link": { "spec": spec, "down_rate": down, "up_rate": up, "utilisation_down": busy[0], "utilisation_up": busy[1] },
            "clients": self.clients.iter().map(client).collect::<Vec<_>>(),
            "exchanges": self.exchanges.iter().map(exchange).collect::<Vec<_>>(),
        })
    }

    /// All of it for people, or as much as fits on a part of a screen of so many columns and lines.
    pub(super) fn text(&self, screen: Option<(usize, usize)>) -> String {
        let LinkRow { spec, down, up, busy } = &self.link;
        let mut text = format!(
            "link {spec}   {} under way\ndown {}   up {}   busy {:.0} % down, {:.0} % up of the last 10 s\n\n",
            self.exchanges.len(),
            speed(*down),
            speed(*up),
            busy[0] * 100.0,
            busy[1] * 100.0,
        );
        let lines = screen.map_or(usize::MAX, |(_, lines)| lines.saturating_sub(6));
        let most_clients = if screen.is_some() { (lines / 3).max(1) } else { usize::MAX };
        let _ = writeln!(text, "{:<15}  {:>10}  {:>10}  {:>8}  EXCHANGES", "CLIENT", "DOWN", "UP", "BYTES");
        for row in self.clients.iter().take(most_clients) {
            let (down, up, bytes) = (speed(row.down), speed(row.up), human(row.bytes));
            let _ = writeln!(text, "{:<15}  {down:>10}  {up:>10}  {bytes:>8}  {}", row.client, row.exchanges);
        }
        let left = lines.saturating_sub(self.clients.len().min(most_clients));
        let shown: Vec<_> = self.exchanges.iter().take(left).collect();
        text.push('\n');
        text += &table::of(&shown, screen.map(|(columns, _)| columns));
        match screen {
            None => text,
            Some((columns, _)) => {
                text.lines().map(|line| line.chars().take(columns).collect::<String>() + "\n").collect()
            }
        }
    }
}

fn speed(rate: f64) -> String {
    // Rates of links are far from where these differ.
    if rate < 0.5 { "-".to_owned() } else { format!("{}/s", human(rate.round() as u64)) }
}

fn row(earlier: &Value, exchange: &Value, seconds: f64) -> Row {
    let text = |name: &str| exchange[name].as_str().map(harmless);
    let growth = |name| rate(Some(earlier), exchange, name, seconds);
    let (down, up) = (growth("link_down"), growth("link_up"));
    // What a tunnel carries is not announced by the empty answer to its CONNECT.
    let announced = exchange["announced_bytes"].as_u64().filter(|_| exchange["method"] != "CONNECT");
    // What another exchange fetches for it, or the cache holds, comes to the client only.
    let (carried, speed) = if whole(exchange, "link_down") > 0 {
        (whole(exchange, "link_down"), down)
    } else {
        (whole(exchange, "client_bytes"), growth("client_bytes"))
    };
    let left = announced.map(|announced| announced.saturating_sub(carried));
    Row {
        number: whole(exchange, "number"),
        client: text("user").or_else(|| text("client")).unwrap_or_default(),
        class: text("class"),
        age: exchange["duration_ms"].as_f64().unwrap_or(0.0) / 1e3,
        down,
        up,
        bytes: whole(exchange, "link_down").saturating_add(whole(exchange, "link_up")),
        announced,
        eta: left.filter(|_| speed >= 1.0).map(|left| left as f64 / speed),
        method: text("method").unwrap_or_default(),
        url: text("url").unwrap_or_default(),
    }
}

fn order(one: &Row, other: &Row, sort: Sort) -> Ordering {
    let by_rate = other.rate().total_cmp(&one.rate());
    let eta = |row: &Row| row.eta.unwrap_or(f64::INFINITY);
    let first = match sort {
        Sort::Rate => by_rate,
        Sort::Bytes => other.bytes.cmp(&one.bytes),
        Sort::Eta => eta(one).total_cmp(&eta(other)),
        Sort::Age => other.age.total_cmp(&one.age),
        Sort::Client => one.client.cmp(&other.client).then(by_rate),
    };
    // The oldest first, so that what is equal does not dance.
    first.then(one.number.cmp(&other.number))
}

fn clients(exchanges: &[Row], sort: Sort) -> Vec<ClientRow> {
    let mut clients: HashMap<&str, ClientRow> = HashMap::new();
    for row in exchanges {
        let client = clients.entry(&row.client).or_insert_with(|| ClientRow {
            client: row.client.clone(),
            exchanges: 0,
            down: 0.0,
            up: 0.0,
            bytes: 0,
        });
        client.exchanges += 1;
        client.down += row.down;
        client.up += row.up;
        client.bytes = client.bytes.saturating_add(row.bytes);
    }
    let mut clients: Vec<_> = clients.into_values().collect();
    clients.sort_by(|one, other| {
        let first = match sort {
            Sort::Bytes => other.bytes.cmp(&one.bytes),
            Sort::Client => Ordering::Equal,
            Sort::Rate | Sort::Eta | Sort::Age => (other.down + other.up).total_cmp(&(one.down + one.up)),
        };
        first.then_with(|| one.client.cmp(&other.client))
    });
    clients
}

#[cfg(test)]
mod tests;
