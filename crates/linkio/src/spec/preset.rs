//! Links that have a name: what each one is, and where its figures come from.
//!
//! Owns the list. `docs/links.md` shows the same rows to users, and a test holds the two together.

/// A link that has a name, and the specification it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What a user types in the place of the rates, in any case.
    pub name: &'static str,
    /// The specification it stands for, as [`LinkSpec`](crate::LinkSpec) prints it.
    pub spec: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Where the figures come from, and which of them are merely chosen.
    pub source: &'static str,
}

/// All presets, thin and old ones first.
///
/// ```
/// # use linkio::{LinkSpec, presets};
/// for preset in presets() {
///     assert_eq!(preset.name.parse::<LinkSpec>()?.to_string(), preset.spec);
/// }
/// # Ok::<(), linkio::SpecError>(())
/// ```
pub fn presets() -> &'static [Preset] {
    PRESETS
}

/// The preset of this name, in any case.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

const PRESETS: &[Preset] = &[
    Preset {
        name: "56k",
        spec: "56k",
        what: "the rate alone, as a leased line; for a modem see `dial-up`",
        source: "chosen: a name that is also a rate means that rate",
    },
    Preset {
        name: "dial-up",
        spec: "49k/30k,rtt=120ms,tcp=slow-start",
        what: "a 56k modem on a telephone line",
        source: "WebPageTest, profile Dial: https://github.com/WPO-Foundation/webpagetest/blob/\
                 a7cf6a7742c9e93cf0c06ee6b58a608adb223f20/www/settings/connectivity.ini.sample",
    },
    Preset {
        name: "isdn",
        spec: "128k,rtt=20ms,tcp=slow-start",
        what: "ISDN, both channels",
        source: "Avaya, Configuring Dial Services (two channels of 64 kbit/s): \
                 https://avaya.manymanuals.es/answering-machines/configuring-dial-services/user-manual-47895/102; \
                 S. Cheshire, Bandwidth and Latency: It's the Latency, Stupid, reprinted (about 10 ms; chosen: each \
                 way): http://www.towerdb.com/tech_connect_09.html",
    },
    Preset {
        name: "iridium",
        spec: "2.4k,rtt=1.8s,tcp=slow-start,outage=20s/6000s",
        what: "a telephone call over Iridium; the call drops now and then",
        source: "MailASail, Iridium Bandwidth (2400 bit/s): http://www.mailasail.com/Support/Iridium-Bandwidth; \
                 Mohammad et al., Alternative Communication Networking in Polar Regions, 2004 (100 minutes between \
                 call drops): https://openpolar.no/Record/ftciteseerx:oai:CiteSeerX.psu:10.1.1.4.4350; \
                 \
                 a user's account, Cruisers Forum (pings of 2 to 3 s, 20 s to connect; chosen: 1.8 s, since at this \
                 rate a ping waits half a second for its own packets): \
                 https://www.cruisersforum.com/forums/f13/e-mail-via-iridium-phone-w-o-x-gate-15482.html",
    },
    Preset {
        name: "inmarsat-bgan",
        spec: "492k,rtt=1.1s,tcp=slow-start",
        what: "an Inmarsat BGAN terminal, standard IP",
        source: "V. Galu, Inmarsat BGAN, 2012 (round trip 1100 ms on average): \
                 https://www.sambuz.com/doc/inmarsat-bgan-ppt-presentation-890505; Cobham, SAILOR FleetBroadband \
                 training manual (492 kbit/s at best on the same network): \
                 https://manualshive.com/en/manual/cobham/sailor-250-fleetbroadband/2629880?page=17",
    },
    Preset {
        name: "geo",
        spec: "512k/128k,rtt=600ms,tcp=slow-start",
        what: "a small dish and a geostationary satellite",
        source: "RFC 2488 §2 (at least 558 ms there and back): https://www.rfc-editor.org/rfc/rfc2488; \
                 chosen: the rates, and 42 ms for the rest of the way",
    },
    Preset {
        name: "geo-hts",
        spec: "25M/3M,rtt=600ms,tcp=slow-start",
        what: "a geostationary satellite of high throughput",
        source: "HughesNet Gen5 (25 Mbit/s down, 3 up), as its dealer states: https://www.eaglesattv.com/internet; \
                 the round trip as of geo",
    },
    Preset {
        name: "leo",
        spec: "100M/10M,rtt=40ms,tcp=slow-start,handover=15s",
        what: "satellites in low orbit, a new one every 15 s",
        source: "Ookla, Starlink in Q2 2021 (97 Mbit/s down, 14 up, 45 ms; chosen: round figures): \
                 https://www.ookla.com/articles/starlink-hughesnet-viasat-performance-q2-2021; Mohan et al., A \
                 Multifaceted Look at Starlink Performance (15 s): https://arxiv.org/abs/2310.09242",
    },
    Preset {
        name: "south-pole",
        spec: "40k,rtt=750ms,jitter=250ms,tcp=slow-start,outage=15s/300s",
        what: "the South Pole while a satellite is up, as one person of many has it",
        source: "brr, Engineering for Slow Internet (750 ms on average; 40 kbit/s, up to 1 s and a dropout of 15 s \
                 every few minutes as what to be ready for; chosen: 5 minutes): \
                 https://brr.fyi/posts/engineering-for-slow-internet",
    },
    Preset {
        name: "3g",
        spec: "1.6M/768k,rtt=300ms,tcp=slow-start",
        what: "a mobile telephone, third generation",
        source: "WebPageTest, profile 3G: https://github.com/WPO-Foundation/webpagetest/blob/\
                 a7cf6a7742c9e93cf0c06ee6b58a608adb223f20/www/settings/connectivity.ini.sample",
    },
    Preset {
        name: "4g",
        spec: "9M,rtt=170ms,tcp=slow-start",
        what: "a mobile telephone, fourth generation",
        source: "WebPageTest, profile 4G: https://github.com/WPO-Foundation/webpagetest/blob/\
                 a7cf6a7742c9e93cf0c06ee6b58a608adb223f20/www/settings/connectivity.ini.sample",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::LinkSpec;

    /// What users read about links, from the root of the repository.
    const PAGE: &str = include_str!("../../../../docs/links.md");

    #[test]
    fn each_name_stands_for_its_specification() {
        for preset in presets() {
            let spec: LinkSpec = preset.name.to_uppercase().parse().unwrap();
            assert_eq!(spec.to_string(), preset.spec);
            assert_eq!(preset.spec.parse(), Ok(spec), "{}", preset.name);
        }
    }

    #[test]
    fn no_two_have_one_name() {
        for preset in presets() {
            assert_eq!(named(preset.name), Some(preset));
        }
    }

    #[test]
    fn the_page_shows_every_preset_and_no_other() {
        let rows = presets().iter().map(|preset| {
            format!("| `{}` | `{}` | {} | {} |", preset.name, preset.spec, preset.what, preset.source)
        });
        let rows: Vec<_> = rows.collect();
        let table = PAGE.lines().skip_while(|line| !line.starts_with("| preset |")).skip(2);
        let shown: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(shown, rows, "docs/links.md should show:\n{}\n", rows.join("\n"));
    }
}
