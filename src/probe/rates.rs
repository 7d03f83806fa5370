//! What a probe's bytes say about the link: the rate it kept up, its peak, and how sure that is. Pure.

use std::fmt;
use std::time::Duration;

use linkio::{BitRate, LinkSpec};

/// How long a window of a download is.
pub(crate) const WINDOW: Duration = Duration::from_millis(100);

/// A download as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Download {
    /// Content bytes in each window from the first byte of content on; the last one is whole.
    pub(crate) windows: Vec<u64>,
    /// From the request to the first byte of the response.
    pub(crate) first_byte: Duration,
    /// From the first to the last byte of content.
    pub(crate) over: Duration,
    /// All bytes of the response.
    pub(crate) bytes: u64,
    /// Bytes of the request.
    pub(crate) sent: u64,
}

/// An upload as it went.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// Bits per second, if it can be told.
    pub(crate) rate: Option<f64>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) over: Duration,
    pub(crate) doubt: Option<Doubt>,
}

/// What the rate of a download was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    /// Bits per second of the steady part: the second half, after slow-start. None if nothing came.
    pub(crate) sustained: Option<f64>,
    /// Bits per second of the best second.
    pub(crate) peak: Option<f64>,
    pub(crate) doubts: Vec<Doubt>,
}

/// Why a figure may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    TooShort,
    Growing,
    Uneven,
    NotSaturated,
    LoadUnseen,
    UploadTooShort,
    AnsweredEarly,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => {
                "the download was too short, or broke off, before its rate had settled: name a larger file, or allow more --bytes and \
                 --seconds"
            }
            Self::Growing => "the rate was still growing at the end: the link may carry more",
            Self::Uneven => "the rate varied much: other traffic, or a link that changes",
            Self::NotSaturated => {
                "no queue built up: the server, and not the link, may be what was slow; the link carries at least this"
            }
            Self::LoadUnseen => {
                "no round trip was seen during the download: whether the link was full is not known"
            }
            Self::UploadTooShort => "the upload was too short for its rate to settle: send more",
            Self::AnsweredEarly => {
                "the server answered before it had read the upload: name a URL that takes a POST"
            }
        })
    }
}

/// The shortest download that says something.
const SHORT: Duration = Duration::from_secs(2);
/// And the least round trips of one: slow-start takes about that many.
const ROUNDS: u32 = 8;
/// Bytes that make a sum of windows a rate: a few packets.
const GROUP: u64 = 8 * 1500;
/// Such sums that are compared where there is enough.
const GROUPS: usize = 7;

/// The rates of `download` over a link with an idle round trip of `rtt`, which was `loaded` meanwhile.
pub(crate) fn judge(download: &Download, rtt: Duration, loaded: Option<Duration>) -> Rates {
    let windows = &download.windows;
    let steady = windows.get(windows.len() / 2..).unwrap_or_default();
    let sum: u64 = steady.iter().sum();
    if sum == 0 {
        return Rates { sustained: None, peak: None, doubts: vec![Doubt::TooShort] };
    }
    let count = steady.len() as u64;
    // As wide as leaves some to compare: packets that just miss a narrow window would be too large a part of it.
    let few = usize::try_from((GROUP * count).div_ceil(sum)).unwrap_or(usize::MAX);
    let width = few.max(steady.len() / GROUPS).min(steady.len());
    let mut groups: Vec<u64> = steady.chunks_exact(width).map(|group| group.iter().sum()).collect();
    groups.sort_unstable();
    let at = |share: usize| groups.get(groups.len() * share / 100).copied().unwrap_or(0);
    let sustained = if groups.len() < 5 { rate(sum, steady.len()) } else { rate(at(50), width) };
    let mut doubts = Vec::new();
    if download.over < SHORT.max(rtt * ROUNDS) {
        doubts.push(Doubt::TooShort);
    }
    // In quarters of the whole: slow-start is over when the last one is like the one before.
    let half = steady.len() / 2;
    let [third, fourth]: [u64; 2] = [&steady[..half], &steady[steady.len() - half..]].map(|q| q.iter().sum());
    if fourth * 10 > third * 11 {
        doubts.push(Doubt::Growing);
    }
    if groups.len() >= 5 && at(75) > at(25) * 3 / 2 {
        doubts.push(Doubt::Uneven);
    }
    match loaded {
        None => doubts.push(Doubt::LoadUnseen),
        Some(loaded) if loaded < rtt + (rtt * 15 / 100).max(Duration::from_millis(15)) => {
            doubts.push(Doubt::NotSaturated);
        }
        Some(_) => {}
    }
    let second = width.max(10).min(windows.len());
    let best: u64 = windows.windows(second).map(|sliding| sliding.iter().sum()).max().unwrap_or(0);
    Rates { sustained: Some(sustained), peak: Some(rate(best, second)), doubts }
}

fn rate(bytes: u64, windows: usize) -> f64 {
    bytes as f64 * 8.0 / (windows as f64 * WINDOW.as_secs_f64())
}

/// The rate of `sent` bytes, the answer to which came `over` after the first of them, and whether they were `written`
/// by then.
pub(crate) fn upload(
    sent: u64,
    over: Duration,
    rtt: Duration,
    written: bool,
) -> (Option<f64>, Option<Doubt>) {
    if !written {
        return (None, Some(Doubt::AnsweredEarly));
    }
    // The last byte's way there and the answer's way back.
    let crossing = over.saturating_sub(rtt);
    let short = (crossing < SHORT.max(rtt * ROUNDS)).then_some(Doubt::UploadTooShort);
    let rate = sent as f64 * 8.0 / crossing.as_secs_f64();
    (rate.is_finite().then_some(rate), short)
}

/// The link of these bits per second and this round trip in its canonical form, with figures no finer than they were
/// measured. An unmeasured direction is unlimited. None for a rate that rounds to nothing.
pub(crate) fn spec(down: f64, up: Option<f64>, rtt: Duration) -> Option<String> {
    let rate = |bits| Some(rounded(bits)?.to_string());
    let up = up.map_or_else(|| Some("unlimited".to_owned()), rate)?;
    let millis = rtt.as_micros().saturating_add(500) / 1000;
    let spec: LinkSpec = format!("{}/{up},rtt={millis}ms", rate(down)?).parse().ok()?;
    Some(spec.to_string())
}

/// `bits` per second cut to three digits.
fn rounded(bits: f64) -> Option<BitRate> {
    if !(1.0..1e15).contains(&bits) {
        return None;
    }
    let unit = 10_f64.powf(bits.log10().floor() - 2.0).max(1.0);
    Some(BitRate::from_bits_per_second(((bits / unit).floor() * unit).round() as u64))
}

/// The one in the middle.
pub(crate) fn median(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RTT: Duration = Duration::from_millis(100);
    const LOADED: Option<Duration> = Some(Duration::from_millis(300));

    fn download(windows: Vec<u64>) -> Download {
        let over = WINDOW * u32::try_from(windows.len()).unwrap();
        Download { bytes: windows.iter().sum(), windows, over, ..Download::default() }
    }

    fn check(windows: Vec<u64>, loaded: Option<Duration>, kbit: f64, doubts: &[Doubt]) {
        let rates = judge(&download(windows), RTT, loaded);
        let sustained = rates.sustained.unwrap_or(0.0);
        assert!((sustained / 1000.0 - kbit).abs() < 0.5, "{sustained} is not {kbit} kbit/s");
        assert_eq!(rates.doubts, doubts);
        assert!(rates.peak.unwrap_or(0.0) * 1.001 >= sustained);
    }

    #[test]
    fn the_steady_half_counts_and_not_slow_start() {
        let mut windows = vec![1_000; 20];
        windows.extend([12_500; 30]);
        check(windows, LOADED, 1000.0, &[]);
    }

    #[test]
    fn one_pause_and_its_flood_change_nothing() {
        let mut windows = vec![12_500; 60];
        (windows[50], windows[51]) = (0, 25_000);
        check(windows, LOADED, 1000.0, &[]);
    }

    #[test]
    fn a_thin_link_has_packets_in_few_windows() {
        // 1500 bytes each 1.5 s: 8 kbit/s.
        let windows = (0..1200).map(|n| if n % 15 == 14 { 1500 } else { 0 }).collect();
        check(windows, LOADED, 8.0, &[]);
    }

    #[test]
    fn doubts_are_told() {
        check(vec![12_500; 15], LOADED, 1000.0, &[Doubt::TooShort]);
        check(vec![12_500; 50], Some(RTT), 1000.0, &[Doubt::NotSaturated]);
        check(vec![12_500; 50], None, 1000.0, &[Doubt::LoadUnseen]);
        check(vec![0; 50], LOADED, 0.0, &[Doubt::TooShort]);
        check(Vec::new(), LOADED, 0.0, &[Doubt::TooShort]);
        let growing = judge(&download((0..50).map(|n| n * 1000).collect()), RTT, LOADED);
        assert!(growing.doubts.contains(&Doubt::Growing), "{growing:?}");
        let uneven = judge(&download((0..60).map(|n| (n / 2) % 3 * 12_500).collect()), RTT, LOADED);
        assert!(uneven.doubts.contains(&Doubt::Uneven), "{uneven:?}");
    }

    #[test]
    fn uploads_are_timed_to_their_answer() {
        let over = Duration::from_millis(4100);
        assert_eq!(upload(100_000, over, RTT, true), (Some(200_000.0), None));
        assert_eq!(upload(100_000, over, RTT, false), (None, Some(Doubt::AnsweredEarly)));
        let short = upload(100_000, Duration::from_millis(1100), RTT, true);
        assert_eq!(short, (Some(800_000.0), Some(Doubt::UploadTooShort)));
        assert_eq!(upload(1, RTT, RTT, true).0, None);
    }

    #[test]
    fn suggestions_are_links_as_they_are_typed() {
        let spec = |down, up, millis| spec(down, up, Duration::from_millis(millis));
        assert_eq!(spec(481_234.0, None, 612).as_deref(), Some("481k/unlimited,rtt=612ms"));
        assert_eq!(spec(512_000.0, Some(128_400.0), 0).as_deref(), Some("512k/128k"));
        assert_eq!(spec(9_600.0, Some(9_600.0), 1500).as_deref(), Some("9.6k,rtt=1.5s"));
        assert_eq!(spec(42.7, None, 0).as_deref(), Some("42/unlimited"));
        assert_eq!(spec(0.0, None, 0), None);
        assert_eq!(spec(f64::NAN, None, 0), None);
    }

    proptest! {
        #[test]
        fn any_download_is_judged(
            windows in prop::collection::vec(0u64..10_000_000_000, 0..200), rtt in 0u64..100_000, loaded: Option<u32>
        ) {
            let most = windows.iter().max().copied().unwrap_or(0);
            let loaded = loaded.map(|millis| Duration::from_millis(millis.into()));
            let rates = judge(&download(windows), Duration::from_millis(rtt), loaded);
            prop_assert!(rates.sustained.unwrap_or(0.0) <= rate(most, 1) * 1.0001);
        }
    }
}
