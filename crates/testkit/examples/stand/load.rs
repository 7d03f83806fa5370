//! The load's arguments, and its count as a line of JSON. All it does is `testkit::load`.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use testkit::load::{self, Paths, Plan, Until, Way};

use super::Fault;

/// Carries out what the arguments say and prints what was counted.
pub(super) async fn run(arguments: &[&str]) -> Result<(), Fault> {
    let [proxy, origin, way, paths, connections, until] = arguments else {
        return Err("load: PROXY ORIGIN absolute|tunnel|ROOT-FILE PATHS CONNECTIONS UNTIL".into());
    };
    let plan = Plan {
        proxy: proxy.parse()?,
        origin: origin.parse()?,
        way: read_way(way)?,
        paths: read_paths(paths)?,
        connections: connections.parse()?,
        until: read_until(until)?,
    };
    let tally = load::run(plan).await?;
    println!(
        "{{\"answers\":{},\"bytes\":{},\"compared\":{},\"reopened\":{},\"seconds\":{},\"slowest_start\":{},\"shares\":{:?}}}",
        tally.answers,
        tally.bytes,
        tally.compared,
        tally.reopened,
        tally.elapsed.as_secs_f64(),
        tally.slowest_start.as_secs_f64(),
        tally.shares
    );
    Ok(())
}

fn read_way(text: &str) -> Result<Way, Fault> {
    Ok(match text {
        "absolute" => Way::Absolute,
        "tunnel" => Way::Tunnel,
        file => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file)? {
                roots.add(certificate?)?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder =
                ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            Way::Secure(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
        }
    })
}

/// `one:PATH`, `any:COUNT:START` or `each:START`.
fn read_paths(text: &str) -> Result<Paths, Fault> {
    Ok(match text.split_once(':') {
        Some(("one", path)) => Paths::One(path.to_owned()),
        Some(("each", start)) => Paths::Each(start.to_owned()),
        Some(("any", rest)) => {
            let (count, start) = rest.split_once(':').ok_or("any:COUNT:START")?;
            Paths::Any(start.to_owned(), count.parse()?)
        }
        _ => return Err(format!("no paths: {text}").into()),
    })
}

/// `time:MILLISECONDS`, `cut:MILLISECONDS` or `count:REQUESTS`.
fn read_until(text: &str) -> Result<Until, Fault> {
    let (kind, number) = text.split_once(':').ok_or("no end")?;
    let number: u64 = number.parse()?;
    Ok(match kind {
        "time" => Until::Time(Duration::from_millis(number)),
        "cut" => Until::Cut(Duration::from_millis(number)),
        "count" => Until::Count(number),
        _ => return Err(format!("no end: {text}").into()),
    })
}
