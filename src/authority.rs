//! The authority of a URI, taken apart as `http` does it, and quicker. What a host is says `host`; what may be one in a
//! request, `admit`.

use http::Uri;

/// What `Uri::host` and `Uri::port_u16` say of `target`, at once and in a fraction of the time.
pub(crate) fn host_and_port(target: &Uri) -> Option<(&str, Option<u16>)> {
    let authority = target.authority()?.as_str();
    let end = authority.as_bytes().iter().position(|byte| matches!(byte, b':' | b'@' | b'['));
    let (host, rest) = authority.split_at(end.unwrap_or(authority.len()));
    match rest.strip_prefix(':').map(str::parse) {
        None if rest.is_empty() => Some((host, None)),
        Some(Ok(port)) => Some((host, Some(port))),
        // With a user name or brackets, or with a port that is none.
        _ => Some((target.host()?, target.port_u16())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn host_and_port_are_those_of_the_uri(text in "([a-z:]{0,3}@)?[a-z0-9.:@%\\[\\]+]{1,12}(:[0-9+]{0,6})?") {
            for target in [format!("http://{text}/a:1@b"), text] {
                if let Ok(target) = target.parse::<Uri>() {
                    let expected = target.host().map(|host| (host, target.port_u16()));
                    prop_assert_eq!(host_and_port(&target), expected, "{}", target);
                }
            }
        }
    }
}
