//! Answers that are read as something which nobody means: a link of 2 bit/s, a disk of 512 bytes, port 7. The option's own
//! rules take them; here they are asked for again, in plain words. It changes nothing.

use crate::config::Draft;

/// Bits per second of the thinnest link that needs no unit.
const THINNEST: u64 = 1_000;

/// Bytes of the smallest cache that needs no unit.
const SMALLEST: u64 = 1_000_000;

/// The first port that is not a service of the system's.
const FIRST_PORT: u16 = 1_024;

/// Judges every answer that flags have given.
///
/// # Errors
/// What is hardly meant, with its option.
pub(super) fn of_flags(draft: &Draft) -> Result<(), String> {
    ["link.spec", "cache.size"].iter().try_for_each(|key| {
        of(draft, key).map_err(|why| format!("{key} = {:?}: {why}", draft.typed(key).unwrap_or_default()))
    })
}

/// Judges what `draft` says of the option `key`.
///
/// # Errors
/// Why it is hardly meant, and what might be.
pub(super) fn of(draft: &Draft, key: &str) -> Result<(), String> {
    let Some(typed) = draft.typed(key).map(str::trim) else { return Ok(()) };
    match key {
        "link.spec" => link(draft, typed),
        "cache.size" => size(draft.config().cache.size.0, typed),
        _ => Ok(()),
    }
}

/// A rate of 0 is a closed link, and may be meant; so is what is typed with its unit.
fn link(draft: &Draft, typed: &str) -> Result<(), String> {
    let spec = &draft.config().link.spec;
    let rates = [spec.down, spec.up].into_iter().flatten().map(linkio::BitRate::bits_per_second);
    let thin = rates.filter(|rate| (1..THINNEST).contains(rate)).min();
    let has_unit = ["bit", "bps"].iter().any(|unit| typed.to_ascii_lowercase().contains(unit));
    match thin {
        Some(rate) if !has_unit => {
            let guess = format!("{rate}{}", if rate < 64 { "M" } else { "k" });
            Err(format!("{rate} means {rate} bit/s; {guess}? If it is meant, write {rate}bit/s"))
        }
        _ => Ok(()),
    }
}

fn size(bytes: u64, typed: &str) -> Result<(), String> {
    let has_unit = !typed.bytes().all(|byte| byte.is_ascii_digit());
    if has_unit || bytes >= SMALLEST || bytes == 0 {
        return Ok(());
    }
    let guess = match bytes {
        ..100 => format!("{bytes}G"),
        100..1_000 => format!("{bytes}M"),
        _ => "500M, or 10G".to_owned(),
    };
    Err(format!("{bytes} means {bytes} bytes; {guess}? If it is meant, write {bytes}B"))
}

/// Judges an answer to where the proxy is to listen: a lone number may be the number of an answer.
///
/// # Errors
/// If it is a low port without its address.
pub(super) fn of_address(answer: &str) -> Result<(), String> {
    let lone = |part: &str| part.trim().trim_start_matches(':').parse::<u16>().ok();
    match answer.split(',').filter_map(lone).find(|port| *port < FIRST_PORT) {
        None => Ok(()),
        Some(port) => Err(format!(
            "expected machine, network, or an address such as 127.0.0.1:3128; port {port} alone is hardly meant: if it is, \
             write 127.0.0.1:{port}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[track_caller]
    fn check(key: &str, typed: &str, expected: Option<&str>) {
        let mut draft = Draft::of(&Flags::default()).unwrap();
        draft.put(key, typed).unwrap();
        let found = of(&draft, key).err();
        assert_eq!(found.is_some(), expected.is_some(), "{typed}: {found:?}");
        assert!(found.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{typed}");
    }

    #[test]
    fn a_number_without_a_unit_is_hardly_meant() {
        check("link.spec", "2", Some("2 means 2 bit/s; 2M?"));
        check("link.spec", "1M/512", Some("512 means 512 bit/s; 512k?"));
        check("link.spec", "2,rtt=600ms", Some("2 means 2 bit/s; 2M?"));
        for meant in ["0", "0/64k", "9600", "300bit/s", "unlimited", "geo", "auto=90%"] {
            check("link.spec", meant, None);
        }
        check("cache.size", "512", Some("512 means 512 bytes; 512M?"));
        check("cache.size", "20", Some("20 means 20 bytes; 20G?"));
        check("cache.size", "65536", Some("65536 means 65536 bytes; 500M, or 10G?"));
        for meant in ["500M", "512B", "64k", "1000000", "10GiB"] {
            check("cache.size", meant, None);
        }
    }

    #[test]
    fn a_low_port_has_its_address() {
        for wrong in ["7", ":80", "1", "0", "3128, 2"] {
            assert!(of_address(wrong).is_err(), "{wrong}");
        }
        for meant in ["3128", "127.0.0.1:80", "[::1]:80", "localhost:80", "machine", "everybody", "70000"] {
            assert_eq!(of_address(meant), Ok(()), "{meant}");
        }
    }
}
