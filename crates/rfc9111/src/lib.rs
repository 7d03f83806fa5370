//! The decisions of a shared HTTP cache, as pure functions.
//!
//! This crate decides; it keeps nothing, sends nothing and reads no clock. Its caller looks up what is stored under a
//! [`CacheKey`], asks [`decide`], and then reuses ([`evaluate`], [`ranging`]), validates ([`conditional_request`],
//! [`select_validated`], [`freshen`]), or forwards ([`end_to_end`]) and asks [`may_store`]. Every verdict carries its
//! reason as a [`Because`].
//!
//! It follows RFC 9111 (caching), the parts of RFC 9110 a cache needs (dates, tags, preconditions, ranges, forwarding),
//! RFC 5861 (stale-while-revalidate, stale-if-error), RFC 8246 (immutable) and RFC 9213 (targeted fields).
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use http::{HeaderMap, Method, StatusCode, Uri, header};
//! use rfc9111::{Decision, Policy, Presented, Situation, StoredResponse, Storing};
//!
//! let (target, fields) = (Uri::from_static("http://example.com/"), HeaderMap::new());
//! let presented = Presented::new(&Method::GET, &target, &fields);
//! let received = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
//! let mut situation = Situation { now: received, policy: Policy::default() };
//!
//! let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, "max-age=60".parse().unwrap())]);
//! assert!(matches!(rfc9111::may_store(&presented, StatusCode::OK, &headers, &situation), Storing::Store(_)));
//! let stored = StoredResponse::new(&presented, StatusCode::OK, &headers, received, received);
//!
//! situation.now += Duration::from_secs(59);
//! assert!(matches!(rfc9111::decide(&presented, &[&stored], &situation), Decision::Reuse { .. }));
//! situation.now += Duration::from_secs(1);
//! assert!(matches!(rfc9111::decide(&presented, &[&stored], &situation), Decision::Forward(_)));
//! ```

mod because;
mod choosing;
mod connection;
mod date;
mod directives;
mod etag;
mod explain;
mod fields;
mod freshening;
mod freshness;
mod invalidation;
mod key;
mod media_type;
mod nominated;
mod partial;
mod precondition;
mod range;
mod reckoned;
mod request;
mod reuse;
mod rules;
mod stale;
mod stored;
mod storing;
mod targeted;
#[cfg(test)]
mod testing;
mod unkeyed;
mod validation;

pub use because::Because;
pub use connection::{Via, end_to_end, end_to_end_fields};
pub use date::{format_date, parse_date};
pub use directives::{CacheControl, MaxStale};
pub use explain::{Explained, Step, explain};
pub use freshening::{freshen, freshen_by_head, may_freshen};
pub use freshness::{Freshness, LifetimeSource, current_age, freshness};
pub use invalidation::invalidated;
pub use key::CacheKey;
pub use nominated::Nominated;
pub use partial::{
    Part, answers_if_range, combine, head_of_part, is_part_of, part_to_store, piece, range_request,
    strong_validator,
};
pub use precondition::{Precondition, evaluate, not_modified_headers};
pub use range::{ByteRange, ContentRange, Ranging, ranging};
pub use request::{Policy, Presented, Situation};
pub use reuse::{Decision, decide};
pub use rules::{Directive, IgnoredQuery, Keep, Pattern, Reload, Rule, Rules, TargetRules};
pub use stale::{Failure, may_serve_stale};
pub use stored::StoredResponse;
pub use storing::{Storing, may_store};
pub use validation::{also_validated, conditional_request, confirms_client, select_validated};
