//! What a decision costs on the hit path: nothing is allocated and no clock is read.

use std::time::{Duration, UNIX_EPOCH};

use divan::{Bencher, black_box};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use rfc9111::{Policy, Presented, Situation, StoredResponse, decide};

fn main() {
    divan::main();
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

/// A browser's request for a style sheet that is stored with the fields of a common server.
fn decide_on(bencher: Bencher<'_, '_>, response: &[(&'static str, &'static str)]) {
    let target = Uri::from_static("http://example.com/style.css");
    let request = headers(&[
        ("host", "example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/css,*/*;q=0.1"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate"),
        ("referer", "http://example.com/"),
    ]);
    let presented = Presented::new(&Method::GET, &target, &request);
    let received = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let stored = StoredResponse::new(&presented, StatusCode::OK, &headers(response), received, received);
    let situation = Situation { now: received + Duration::from_secs(60), policy: Policy::default() };
    bencher.bench(|| decide(black_box(&presented), black_box(&[&stored]), black_box(&situation)));
}

#[divan::bench]
fn plain_hit(bencher: Bencher<'_, '_>) {
    decide_on(
        bencher,
        &[
            ("date", "Mon, 21 Sep 2026 14:13:20 GMT"),
            ("content-type", "text/css"),
            ("content-length", "10240"),
            ("etag", "\"5f-1a2b\""),
            ("cache-control", "public, max-age=3600"),
        ],
    );
}

#[divan::bench]
fn hit_by_vary_and_expires(bencher: Bencher<'_, '_>) {
    decide_on(
        bencher,
        &[
            ("date", "Mon, 21 Sep 2026 14:13:20 GMT"),
            ("expires", "Mon, 21 Sep 2026 15:13:20 GMT"),
            ("vary", "accept-encoding"),
            ("content-type", "text/css"),
        ],
    );
}
