//! Every pack against URLs as they are really asked for: which rule counts, whether the response is stored and for how
//! long it is fresh, and under which key it is found.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use rfc9111::{Policy, Presented, Rules, Situation, StoredResponse, Storing};

use super::*;

const YEAR: u64 = 365 * 86_400;

fn headers(text: &str) -> HeaderMap {
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    text.split('\n').filter(|line| !line.is_empty()).map(field).collect()
}

/// `lifetime` is in seconds, and `None` if the response is not stored. `rule` is the name of the rule that says so, empty
/// where none does.
#[track_caller]
fn check(pack: &str, url: &str, status: u16, response: &str, lifetime: Option<u64>, rule: &str) {
    let rules = Rules::new(parse(pack).unwrap().rules);
    let (target, none, response) = (url.parse::<Uri>().unwrap(), HeaderMap::new(), headers(response));
    let presented = Presented::new(&Method::GET, &target, &none);
    let status = StatusCode::from_u16(status).unwrap();
    let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let policy = Policy { rules: rules.for_target(&target), ..Policy::default() };
    let situation = Situation { now, policy };
    let stored = StoredResponse::new(&presented, status, &response, now, now);
    let (kept, because) = match rfc9111::may_store(&presented, status, &response, &situation) {
        Storing::Store(because) => {
            (Some(rfc9111::freshness(&stored, &situation).lifetime.as_secs()), because)
        }
        Storing::Pass(because) => (None, because),
    };
    assert_eq!((kept, because.rule().map_or("", |name| name)), (lifetime, rule), "{url}: {because}");
}

/// Whether a reload of `url` is softened to a condition by the pack.
#[track_caller]
fn check_reload(pack: &str, url: &str, rule: Option<&str>) {
    let rules = Rules::new(parse(pack).unwrap().rules);
    let (target, none) = (url.parse::<Uri>().unwrap(), HeaderMap::new());
    let presented = Presented::new(&Method::GET, &target, &none);
    let stored =
        StoredResponse::new(&presented, StatusCode::OK, &headers("etag: \"1\""), UNIX_EPOCH, UNIX_EPOCH);
    let mut request = headers("cache-control: no-cache");
    let softened = rules.for_target(&target).soften_reload(&mut request, &[&stored]);
    assert_eq!((softened.as_deref(), request.is_empty()), (rule, rule.is_some()), "{url}");
}

/// Whether what is stored without a validator answers a reload, by the pack.
fn is_reused_on_reload(pack: &str, url: &str) -> bool {
    let rules = Rules::new(parse(pack).unwrap().rules);
    let (target, reload) = (url.parse::<Uri>().unwrap(), headers("cache-control: max-age=0"));
    let presented = Presented::new(&Method::GET, &target, &reload);
    let then = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let stored = StoredResponse::new(&presented, StatusCode::OK, &HeaderMap::new(), then, then);
    let policy = Policy { rules: rules.for_target(&target), ..Policy::default() };
    let situation = Situation { now: then + Duration::from_secs(3_600), policy };
    matches!(rfc9111::decide(&presented, &[&stored], &situation), rfc9111::Decision::Reuse { .. })
}

const VALIDATOR: &str = "etag: \"1\"";

#[test]
fn every_pack_is_read_and_its_rules_have_names_of_their_own() {
    let mut all = Vec::new();
    for (name, _) in PACKS {
        let pack = parse(name).unwrap();
        assert!(!pack.rules.is_empty(), "{name}");
        all.extend(pack.rules);
    }
    rule::distinct(&all).unwrap();
    assert_eq!(
        parse("wndows-updates").unwrap_err().split("; ").last(),
        Some("did you mean windows-updates?")
    );
}

#[test]
fn apt() {
    let year = |url: &str, rule: &str| check("apt", url, 200, VALIDATOR, Some(YEAR), rule);
    year("http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb", "apt-pool");
    year("http://mirror.example/ubuntu/pool/main/l/linux/linux_6.8.0-31.31.diff.gz", "apt-pool");
    year("http://deb.debian.org/debian/pool/main/x/xz-utils/xz-utils_5.4.1.orig.tar.xz", "apt-pool");
    year("http://archive.ubuntu.com/ubuntu/pool/universe/h/hello/hello_2.10-3_amd64.udeb", "apt-pool");
    year(
        "http://deb.debian.org/debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069",
        "apt-by-hash",
    );
    let validated = |url: &str| {
        check("apt", url, 200, "etag: \"1\"\ncache-control: public, max-age=120", Some(0), "apt-indexes");
    };
    validated("http://deb.debian.org/debian/dists/bookworm/InRelease");
    validated("http://deb.debian.org/debian/dists/bookworm/main/binary-amd64/Packages.xz");
    validated("http://archive.ubuntu.com/ubuntu/dists/noble/main/source/Sources.gz");
    validated("http://security.debian.org/debian-security/dists/bookworm-security/Release.gpg");
    // Neither a failure nor a moved file is kept, and other files are as they say.
    check("apt", "http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb", 404, "", None, "");
    check("apt", "http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb", 302, "", None, "");
    check("apt", "http://a.example/pool/index.html", 200, "cache-control: max-age=60", Some(60), "");
    check("apt", "http://deb.debian.org/debian/README", 200, "cache-control: max-age=60", Some(60), "");
    check_reload(
        "apt",
        "http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb",
        Some("apt-pool"),
    );
    check_reload("apt", "http://deb.debian.org/debian/dists/bookworm/InRelease", None);
    let by_hash = "http://deb.debian.org/debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/7f83b1";
    assert!(is_reused_on_reload("apt", by_hash));
    assert!(!is_reused_on_reload(
        "apt",
        "http://deb.debian.org/debian/pool/main/h/hello/hello_2.10-3_amd64.deb"
    ));
}

#[test]
fn pypi() {
    let wheel = "https://files.pythonhosted.org/packages/70/8e/0e2d847013cb52cd35b38c009bb167a1a26b2ce6cd6965bf26b47bc0bf44/requests-2.31.0-py3-none-any.whl";
    check("pypi", wheel, 200, VALIDATOR, Some(YEAR), "pypi-files");
    check("pypi", &format!("{wheel}.metadata"), 200, VALIDATOR, Some(YEAR), "pypi-files");
    check("pypi", wheel, 200, "cache-control: max-age=365000000, immutable, public", Some(365_000_000), "");
    check("pypi", wheel, 404, "", None, "");
    let index =
        "content-type: application/vnd.pypi.simple.v1+json\netag: \"1\"\ncache-control: max-age=600, public";
    check("pypi", "https://pypi.org/simple/requests/", 200, index, Some(600), "");
    let bold = "cache-control: max-age=86400";
    check("pypi", "https://pypi.org/simple/requests/", 200, bold, Some(600), "pypi-indexes");
    check("pypi", "https://pypi.org/pypi/requests/json", 200, bold, Some(600), "pypi-indexes");
    check("pypi", "https://pypi.org/project/requests/", 200, bold, Some(86_400), "");
    check("pypi", "https://pythonhosted.org/packages/x.whl", 200, bold, Some(86_400), "");
    check_reload("pypi", "https://pypi.org/simple/requests/", Some("pypi-indexes"));
}

#[test]
fn npm() {
    let year = |url: &str| check("npm", url, 200, VALIDATOR, Some(YEAR), "npm-tarballs");
    year("https://registry.npmjs.org/lodash/-/lodash-4.17.21.tgz");
    year("https://registry.npmjs.org/@babel/core/-/core-7.24.0.tgz");
    year("http://registry.yarnpkg.com/left-pad/-/left-pad-1.3.0.tgz");
    let bold = "etag: \"1\"\ncache-control: max-age=86400";
    check("npm", "https://registry.npmjs.org/lodash", 200, bold, Some(300), "npm-packuments");
    check("npm", "https://registry.npmjs.org/@babel%2fcore", 200, bold, Some(300), "npm-packuments");
    check("npm", "https://registry.npmjs.org/lodash/latest", 200, bold, Some(300), "npm-packuments");
    check("npm", "https://registry.npmjs.org/-/v1/search?text=lodash", 200, bold, Some(86_400), "");
    check("npm", "https://registry.npmjs.org/-/whoami", 200, "cache-control: no-store", None, "");
    check("npm", "https://registry.npmjs.org/lodash/-/lodash-4.17.21.tgz", 401, "", None, "");
    check("npm", "https://npm.example.org/lodash/-/lodash-4.17.21.tgz", 200, bold, Some(86_400), "");
    check_reload("npm", "https://registry.npmjs.org/lodash", Some("npm-packuments"));
}

#[test]
fn crates() {
    let year = |url: &str, rule: &str| check("crates", url, 200, VALIDATOR, Some(YEAR), rule);
    year("https://static.crates.io/crates/serde/serde-1.0.200.crate", "crates-files");
    year("https://static.crates.io/crates/serde/1.0.200/download", "crates-files");
    year(
        "https://static.rust-lang.org/dist/2026-05-02/rustc-1.88.0-x86_64-unknown-linux-gnu.tar.xz",
        "rust-dated",
    );
    let bold = "etag: \"1\"\ncache-control: max-age=86400";
    check("crates", "https://index.crates.io/se/rd/serde", 200, bold, Some(600), "crates-index");
    check("crates", "https://index.crates.io/config.json", 200, bold, Some(600), "crates-index");
    check(
        "crates",
        "https://static.rust-lang.org/dist/channel-rust-stable.toml",
        200,
        bold,
        Some(600),
        "rust-channels",
    );
    check(
        "crates",
        "https://static.rust-lang.org/dist/channel-rust-stable.toml.sha256",
        200,
        bold,
        Some(600),
        "rust-channels",
    );
    check("crates", "https://static.crates.io/readmes/serde/serde-1.0.200.html", 200, bold, Some(86_400), "");
    check("crates", "https://crates.io/api/v1/crates/serde/1.0.200/download", 302, "", None, "");
    check("crates", "https://static.crates.io/crates/serde/serde-1.0.200.crate", 403, "", None, "");
    check_reload("crates", "https://index.crates.io/se/rd/serde", Some("crates-index"));
}

#[test]
fn windows_updates() {
    let year = |url: &str, rule: &str| check("windows-updates", url, 200, VALIDATOR, Some(YEAR), rule);
    let sha1 = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
    let update = format!(
        "http://au.download.windowsupdate.com/c/msdownload/update/software/secu/2026/01/windows10.0-kb5034122-x64_{sha1}.cab"
    );
    year(&update, "windows-files");
    year(
        &format!("http://download.windowsupdate.com/d/msdownload/update/driver/drvs/2026/03/x_{sha1}.cab"),
        "windows-files",
    );
    year(
        &format!(
            "http://11.au.download.windowsupdate.com/c/msdownload/update/software/defu/2026/04/am_delta_{sha1}.exe"
        ),
        "windows-files",
    );
    let streamed = "http://tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/0c1b2d3e-4f50-4617-8293-a4b5c6d7e8f9";
    year(streamed, "windows-delivery");
    year(&format!("{streamed}?P1=1790000000&P2=404&P3=2&P4=Zm9v%3d"), "windows-delivery");
    let lists = "etag: \"1\"\ncache-control: max-age=900";
    for list in
        ["trustedr/en/authrootstl.cab", "trustedr/en/disallowedcertstl.cab", "trustedr/en/pinrulesstl.cab"]
    {
        let url = format!("http://ctldl.windowsupdate.com/msdownload/update/v3/static/{list}");
        check("windows-updates", &url, 200, lists, Some(900), "");
    }
    check(
        "windows-updates",
        "http://www.update.microsoft.com/v6/ClientWebService/client.asmx",
        200,
        lists,
        Some(900),
        "",
    );
    check("windows-updates", &update, 503, "", None, "");
    check("windows-updates", &update, 200, "cache-control: no-store", None, "");
    check_reload("windows-updates", &update, Some("windows-files"));
}

#[test]
fn the_signature_of_a_windows_file_is_not_in_its_key() {
    let rules = Rules::new(parse("windows-updates").unwrap().rules);
    let key = |query| {
        let target: Uri =
            format!("http://tlu.dl.delivery.mp.microsoft.com/filestreamingservice/files/0c1b{query}")
                .parse()
                .unwrap();
        rules.for_target(&target).key(&target).unwrap()
    };
    assert_eq!(key("?P1=1&P2=404&P3=2&P4=a%3d"), key("?P1=2&P2=404&P3=2&P4=b%3d"));
    assert_ne!(key("?P1=1"), key("?P1=1&cacheHostOrigin=other"));
}

#[test]
fn apple_updates() {
    let year = |url: &str, rule: &str| check("apple-updates", url, 200, VALIDATOR, Some(YEAR), rule);
    year(
        "http://swcdn.apple.com/content/downloads/28/04/042-12345-A_ABCDEF/w1x2y3z4/InstallAssistant.pkg",
        "apple-files",
    );
    year(
        "http://updates-http.cdn-apple.com/2026WinterFCS/fullrestores/042-12345/ABC/iPhone_17.3_21D50_Restore.ipsw",
        "apple-files",
    );
    year(
        "https://updates.cdn-apple.com/2026/patches/042-1/x/com_apple_MobileAsset_SoftwareUpdate/0a1b.zip",
        "apple-files",
    );
    year("http://appldnld.apple.com/ios17/x.ipsw", "apple-files");
    year(
        "http://iosapps.itunes.apple.com/itunes-assets/Purple116/v4/ab/x.signed.dpkg.ipa?accessKey=1_2",
        "apple-apps",
    );
    let bold = "etag: \"1\"\ncache-control: max-age=86400";
    let hour = |url: &str| check("apple-updates", url, 200, bold, Some(3600), "apple-catalogues");
    hour("https://swscan.apple.com/content/catalogs/others/index-15-14-13-12-10.16.merged-1.sucatalog");
    hour(
        "https://mesu.apple.com/assets/com_apple_MobileAsset_SoftwareUpdate/com_apple_MobileAsset_SoftwareUpdate.xml",
    );
    check(
        "apple-updates",
        "http://swcdn.apple.com/content/downloads/28/04/042-1/x/042-1.English.dist",
        200,
        bold,
        Some(86_400),
        "",
    );
    check("apple-updates", "http://www.apple.com/downloads/x.dmg", 200, bold, Some(86_400), "");
    check("apple-updates", "http://swcdn.apple.com/content/downloads/28/x.pkg", 403, "", None, "");
    check_reload("apple-updates", "https://mesu.apple.com/assets/x.xml", Some("apple-catalogues"));
}
