//! The stock of the cache in an operator's hands: listed, shown, summed up, purged, pinned.
//!
//! Owns what each of these does to whatever a `Selection` means, as JSON. How they are asked for is `api`'s.

use std::cmp::Reverse;
use std::collections::HashMap;

use bentpipe_store::Listed;
use rfc9111::{CacheKey, Situation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Admin;
use super::explain::{Asker, source};
use super::selection::{Selection, Tagged, essence, host};

/// What is listed, and how.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listing {
    pub(crate) selection: Selection,
    pub(crate) sort: Sort,
    /// At most so many; all without.
    pub(crate) limit: Option<usize>,
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    #[default]
    Key,
    Size,
    Age,
    Uses,
}

/// What is purged.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Purge {
    pub(crate) selection: Selection,
    /// Say only what would be purged.
    pub(crate) dry_run: bool,
    /// What is pinned, too. What is named by its whole URL is purged in any case.
    pub(crate) pinned_too: bool,
}

/// What is pinned or no longer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    pub(crate) selection: Selection,
    pub(crate) pinned: bool,
}

const NOTHING_SAID: &str = "say which stored responses are meant: a URL, filters, or all";

/// Keys that a dry run names.
const NAMED: usize = 1000;
/// Hosts and media types that a survey names.
const SURVEYED: usize = 10;

impl Admin {
    /// The stored responses that are meant, in no order, and whether one URL was named.
    fn meant(&self, selection: &Selection) -> Result<(Vec<Listed>, bool), String> {
        let mut chosen = selection.chosen(|name| self.tagged(name))?;
        chosen.normalise(&self.rules());
        let mut meant = match chosen.only_key() {
            Some(key) => self.store.listed_under(key),
            None => self.store.listed(|key| chosen.passes_key(key)),
        };
        meant.retain(|listed| {
            let key = listed.stored.key();
            chosen.passes_key(key.as_str()) && chosen.passes(listed, &self.situation(key))
        });
        Ok((meant, chosen.is_exact()))
    }

    /// What the operator's rules of this tag speak of; none where there are no such rules.
    fn tagged<'a>(&'a self, tag: &str) -> Option<Tagged<'a>> {
        let rules = self.rules();
        if !rules.has_tag(tag) {
            return None;
        }
        let tag = tag.to_owned();
        let is_tagged = move |key: &CacheKey, media_type: Option<&str>| {
            let target = key.as_str().parse().ok();
            target.is_some_and(|target| {
                let rules = rules.for_target(&target);
                rules.about(media_type.map(str::as_bytes)).is_some_and(|rule| rule.has_tag(&tag))
            })
        };
        Some(Box::new(is_tagged))
    }

    /// The stored responses that are meant, and what all of them come to.
    ///
    /// # Errors
    /// What makes no sense in the selection.
    pub(crate) fn list_selected(&self, listing: &Listing) -> Result<Value, String> {
        let (mut meant, _) = self.meant(&listing.selection)?;
        // Equals stay in the order of their URLs.
        meant.sort_by(|one, other| one.stored.key().as_str().cmp(other.stored.key().as_str()));
        match listing.sort {
            Sort::Key => {}
            Sort::Size => meant.sort_by_cached_key(|listed| Reverse(listed.stored.arrived())),
            Sort::Age => meant.sort_by_key(|listed| listed.stored.head().response_time),
            Sort::Uses => meant.sort_by_cached_key(|listed| Reverse(listed.stored.uses())),
        }
        let held: u64 = meant.iter().map(|listed| listed.stored.arrived()).sum();
        let (alone, on_disk) =
            (meant.iter().map(|listed| listed.on_disk).sum::<u64>(), self.store.on_disk(&meant));
        // What equal bodies would take that are on disk once.
        let shared = alone.saturating_sub(on_disk);
        let totals = json!({ "responses": meant.len(), "bytes": held, "on_disk": on_disk, "shared": shared });
        meant.truncate(listing.limit.unwrap_or(usize::MAX));
        let summaries: Vec<_> = meant.iter().map(Listed::summary).collect();
        Ok(json!({ "responses": summaries, "totals": totals }))
    }

    /// Everything that is known of what is stored for `url`, and what would be done with it.
    ///
    /// # Errors
    /// If it is no URL.
    pub(crate) fn show(&self, url: &str) -> Result<Value, String> {
        let selection = Selection { url: Some(url.to_owned()), ..Selection::default() };
        let (meant, _) = self.meant(&selection)?;
        let shown = |listed: &Listed| shown(listed, &self.situation(listed.stored.key()));
        let responses: Vec<_> = meant.iter().map(shown).collect();
        let target = url.parse().map_err(|_| super::selection::NO_URL)?;
        let explanation = self.explain(&target, &http::HeaderMap::new(), &Asker::default());
        Ok(json!({ "responses": responses, "explanation": explanation }))
    }

    /// Drops what is meant; says how many that were, and how many were spared because they are pinned.
    ///
    /// # Errors
    /// If nothing was said or it makes no sense.
    pub(crate) fn purge_selected(&self, purge: &Purge) -> Result<Value, String> {
        if purge.selection.is_empty() {
            return Err(NOTHING_SAID.to_owned());
        }
        let (mut meant, is_exact) = self.meant(&purge.selection)?;
        let found = meant.len();
        if !is_exact && !purge.pinned_too && !purge.selection.pinned {
            meant.retain(|listed| !listed.is_pinned);
        }
        let spared = found - meant.len();
        let bytes = self.store.on_disk(&meant);
        if !purge.dry_run {
            return Ok(json!({ "purged": self.store.purge(&meant), "spared": spared, "bytes": bytes }));
        }
        let mut keys: Vec<_> = meant.iter().map(|listed| listed.stored.key().as_str()).collect();
        keys.sort_unstable();
        keys.truncate(NAMED);
        Ok(json!({ "would_purge": meant.len(), "spared": spared, "bytes": bytes, "keys": keys }))
    }

    /// Pins what is meant, or lets it be evicted again; says how many changed.
    ///
    /// # Errors
    /// If nothing was said, it makes no sense, or nothing of the sort is stored.
    pub(crate) fn pin_selected(&self, pin: &Pin) -> Result<Value, String> {
        if pin.selection.is_empty() {
            return Err(NOTHING_SAID.to_owned());
        }
        let (mut meant, _) = self.meant(&pin.selection)?;
        // What arrives from its beginning has no account yet.
        let found = meant.len();
        meant.retain(|listed| listed.on_disk > 0);
        if meant.is_empty() {
            let why = if found > 0 {
                "it is still arriving; a pin is set on what is stored"
            } else if pin.pinned {
                "nothing that is meant is stored; a pin is set on what is stored, so fetch it first"
            } else {
                "nothing that is meant is stored"
            };
            return Err(why.to_owned());
        }
        Ok(json!({ "found": meant.len(), "changed": self.store.pin(&meant, pin.pinned) }))
    }

    /// What the cache holds by host and by media type, most first, and how many are held in part.
    pub(crate) fn survey(&self) -> Value {
        let everything = self.store.listed(|_| true);
        let (mut hosts, mut types) = (HashMap::new(), HashMap::new());
        for listed in &everything {
            let key = listed.stored.key().as_str();
            add(&mut hosts, host(key, false), listed);
            add(&mut types, listed.media_type().map_or("-", essence), listed);
        }
        let partial = everything.iter().filter(|listed| listed.stored.is_partial()).count();
        json!({ "partial": partial, "hosts": most(hosts, "host"), "types": most(types, "media_type") })
    }

    /// What decisions about `key` depend on besides the messages.
    fn situation(&self, key: &CacheKey) -> Situation {
        let (mut policy, rules) = (self.policy(), self.rules());
        if !rules.is_empty()
            && let Ok(target) = key.as_str().parse()
        {
            policy.rules = rules.for_target(&target);
        }
        Situation { now: self.clock.now(), policy }
    }
}

/// One stored response with all that is known of it.
fn shown(listed: &Listed, situation: &Situation) -> Value {
    let head = listed.stored.head();
    let freshness = rfc9111::freshness(head, situation);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = head.headers.iter().map(|(name, value)| json!([name.as_str(), text(value.as_bytes())]));
    let nominated = head.nominated.parts().map(|(name, value)| json!([name.as_str(), value.map(text)]));
    let held = listed.stored.held();
    let mut shown = json!(listed.summary());
    shown["fields"] = fields.collect();
    shown["nominated"] = nominated.collect();
    shown["held"] = held.iter().map(|part| json!([part.start(), part.end()])).collect();
    shown["fresh"] = freshness.is_fresh().into();
    shown["age"] = freshness.age.as_secs().into();
    shown["freshness_lifetime"] = freshness.lifetime.as_secs().into();
    shown["lifetime_source"] = source(freshness.source).into();
    shown
}

/// Stored responses and their bytes, by a name.
type Sums<'a> = HashMap<&'a str, (u64, u64)>;

fn add<'a>(sums: &mut Sums<'a>, name: &'a str, listed: &Listed) {
    let (responses, bytes) = sums.entry(name).or_default();
    *responses += 1;
    *bytes += listed.on_disk;
}

fn most(sums: Sums<'_>, of: &str) -> Vec<Value> {
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(name, (_, bytes))| (Reverse(*bytes), *name));
    let named = sums.into_iter().take(SURVEYED);
    named
        .map(|(name, (responses, bytes))| json!({ of: name, "responses": responses, "on_disk": bytes }))
        .collect()
}
