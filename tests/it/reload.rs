//! A configuration that changes while the proxy runs: read again or set by hand, as a whole or not at all, with no request
//! failing for it.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use testkit::client::{Client, Request};
use testkit::message::Ending;
use testkit::origin::Origin;
use testkit::reply::{Gate, Reply};

use crate::commands::Home;
use crate::control::ask;
use crate::proxy::{Running, start_in};

/// A proxy whose configuration is in a file.
struct Scene {
    origin: Origin,
    proxy: Running,
}

impl Scene {
    async fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bentpipe.toml");
        fs::write(&file, text).expect("written");
        let origin = Origin::start().await.expect("an origin");
        let proxy = start_in(folder, &["--config", &file.to_string_lossy()]).await;
        Self { origin, proxy }
    }

    /// Has the proxy read `text` through its control socket.
    async fn reload(&self, text: &str) -> Value {
        fs::write(self.proxy.folder.path().join("bentpipe.toml"), text).expect("written");
        ask(&self.proxy, "POST", "/v1/reload", "").await
    }

    async fn change(&self, values: Value) -> Value {
        ask(&self.proxy, "PATCH", "/v1/config", &values.to_string()).await
    }

    async fn value(&self, path: &str) -> Value {
        ask(&self.proxy, "GET", &format!("/v1/config/{path}"), "").await["value"].clone()
    }

    async fn status(&self, client: &mut Client) -> u16 {
        let request = Request::new("GET", &self.origin.url("/a"));
        client.request(&request).await.expect("a response").status
    }
}

fn plain() -> Reply {
    Reply::new(200).field("cache-control", "no-store").body("hello")
}

fn keys(changed: &Value, name: &str) -> Vec<String> {
    let changes = changed[name].as_array().expect(name);
    changes
        .iter()
        .map(|change| change["key"].as_str().or(change.as_str()).expect("a key").to_owned())
        .collect()
}

/// Asks for stored and other things until `done`, on connections that are kept and on new ones.
async fn load(origin: String, proxy: SocketAddr, done: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    let mut turn = 0_usize;
    while !done.load(Ordering::Relaxed) {
        let mut client = Client::connect(proxy).await.expect("a connection");
        for _ in 0..10 {
            turn += 1;
            let path = ["stored", "fetched"][turn % 2];
            let request = Request::new("GET", &format!("{origin}/{path}"));
            let response = client.request(&request).await.expect("a response");
            assert_eq!((response.status, response.text().as_str()), (200, path));
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_under_load_fail_no_request_and_cut_no_download() {
    let scene = Scene::new("").await;
    let gate = Gate::closed();
    let fresh = Reply::new(200).field("cache-control", "max-age=3600").body("stored");
    scene.origin.always("GET", "/stored", fresh);
    scene.origin.always(
        "GET",
        "/fetched",
        Reply::new(200).field("cache-control", "no-store").body("fetched"),
    );
    scene.origin.on("GET", "/big", Reply::new(200).body(vec![b'x'; 1_000_000]).hold_after(1000, &gate));
    let mut download = scene.proxy.connect().await;
    let request = Request::new("GET", &scene.origin.url("/big")).to_bytes();
    download.send(&request).await.expect("sent");
    download.receive_head().await.expect("a head");
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let origin = scene.origin.url("");
            tokio::spawn(load(origin, scene.proxy.address(), done.clone(), count.clone()))
        })
        .collect();
    let texts = [
        "[link]\nspec = '50M'\nrules = ['bulk: size=1k']\n[admission]\ndeny = ['host=nobody.example']\n",
        "[timeouts]\nconnect = '20s'\nidle = '2m'\n[cache]\nsize = '1G'\n[limits]\nconnections = 200\n",
        "[dns]\ntimeout = '3s'\n[destinations]\nconnect_ports = [443]\n[admission]\nrequests_per_second = 100000\n",
        "[log]\naccess = '/dev/null'\nformat = 'json'\n[cache]\nrule = ['docs: host=docs.example; min-fresh=1h']\n",
    ];
    for text in texts.iter().cycle().take(20) {
        let before = count.load(Ordering::Relaxed);
        let changed = scene.reload(text).await;
        assert!(keys(&changed, "changed").len() >= 2, "{changed}");
        while count.load(Ordering::Relaxed) < before + 50 {
            assert!(clients.iter().all(|client| !client.is_finished()), "a request failed");
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    gate.open();
    let rest = download.receive_exactly(1_000_000).await.expect("the rest");
    assert_eq!(rest.len(), 1_000_000);
}

#[tokio::test]
async fn a_file_that_is_wrong_leaves_the_old_one_in_force() {
    let scene = Scene::new("[link]\nspec = '512k'\n").await;
    let answer = scene.reload("[link]\nspec = '1M'\n\n[cache]\nsize = 'much'\nszie = '1G'\n").await;
    let errors = answer["errors"].as_array().expect("errors");
    let said: Vec<_> = errors.iter().filter_map(Value::as_str).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("bentpipe.toml:5: cache.size = \"much\""), "{said:?}");
    assert!(said[1].contains("bentpipe.toml:6: \"cache.szie\" is not an option"), "{said:?}");
    assert_eq!(scene.value("link/spec").await, "512k");
    assert_eq!(ask(&scene.proxy, "GET", "/v1/link", "").await["spec"], "512k");
    // What only shows when it is built leaves it, too.
    let answer = scene.reload("[link]\nspec = '1M'\n[tls]\nroots = ['/nowhere.pem']\n").await;
    assert!(answer["error"].as_str().expect("an error").contains("/nowhere.pem"), "{answer}");
    let answer = scene.reload("listen = ['192.0.2.1:1']\nlink.spec = '1M'\n").await;
    assert!(answer["error"].is_null(), "the flag counts: {answer}");
    assert_eq!(keys(&answer, "changed"), ["link.spec"]);
    assert_eq!(ask(&scene.proxy, "GET", "/v1/link", "").await["spec"], "1M");
}

#[tokio::test]
async fn the_signal_does_the_same() {
    let scene = Scene::new("").await;
    let file = scene.proxy.folder.path().join("bentpipe.toml");
    fs::write(&file, "[cache]\nsize = '7M'\n").expect("written");
    scene.proxy.reload().await.expect("a configuration");
    assert_eq!(scene.value("cache.size").await, "7M");
    assert_eq!(ask(&scene.proxy, "GET", "/v1/cache", "").await["stats"]["limit"], 7_000_000);
    fs::write(&file, "[cache]\nsize = 7M\n").expect("written");
    let why = scene.proxy.reload().await.expect_err("no configuration");
    assert!(why.contains("bentpipe.toml:2:"), "{why}");
    fs::remove_file(&file).expect("removed");
    assert!(scene.proxy.reload().await.expect_err("no file").contains("cannot be read"));
    assert_eq!(scene.value("cache.size").await, "7M");
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_nothing_else_waits_for_it() {
    let scene = Scene::new("").await;
    // The flag of a test's own says where the cache is, so that this is about what no flag says.
    let changed = scene.reload("[admin]\nlisten = ['127.0.0.1:0']\n[cache]\nsize = '1G'\n").await;
    assert_eq!(
        (keys(&changed, "restart"), keys(&changed, "changed")),
        (vec!["admin.listen".to_owned()], vec!["cache.size".to_owned()])
    );
    assert_eq!(scene.value("admin/listen").await, json!([]), "what holds is told");
    let again = scene.reload("[admin]\nlisten = ['127.0.0.1:0']\n[cache]\nsize = '1G'\n").await;
    assert_eq!((keys(&again, "restart").len(), keys(&again, "changed").len()), (1, 0));
    assert!(keys(&scene.reload("").await, "restart").is_empty());
}

#[tokio::test]
async fn the_link_changes_at_once_for_what_is_under_way() {
    let scene = Scene::new("[link]\nspec = '8k'\n").await;
    scene.origin.on("GET", "/big", Reply::new(200).body(vec![b'x'; 200_000]));
    let mut client = scene.proxy.connect().await;
    client.send(&Request::new("GET", &scene.origin.url("/big")).to_bytes()).await.expect("sent");
    client.receive_head().await.expect("a head");
    // Two hundred seconds would be left.
    scene.reload("[link]\nspec = '800M'\n").await;
    let rest =
        tokio::time::timeout(std::time::Duration::from_secs(20), client.receive_exactly(200_000)).await;
    assert_eq!(rest.expect("in time").expect("the rest").len(), 200_000);
}

#[tokio::test]
async fn who_may_holds_for_the_next_request_of_a_connection() {
    let scene = Scene::new("").await;
    scene.origin.always("GET", "/a", plain());
    let mut client = scene.proxy.connect().await;
    assert_eq!(scene.status(&mut client).await, 200);
    scene.reload("[admission]\ndeny = ['host=127.0.0.1']\n").await;
    assert_eq!(scene.status(&mut client).await, 403);
    scene.reload("[admission]\nusers = ['ann:sesame']\n").await;
    assert_eq!(scene.status(&mut client).await, 407);
    scene.reload("[admission]\nrequests_per_second = 1\n").await;
    assert_eq!([scene.status(&mut client).await, scene.status(&mut client).await], [200, 429]);
    // What was used up stays used up while the rate is the same.
    scene.reload("[admission]\nrequests_per_second = 1\n[cache]\nsize = '1G'\n").await;
    assert_eq!(scene.status(&mut client).await, 429);
    scene.reload("").await;
    assert_eq!(scene.status(&mut client).await, 200);
}

#[tokio::test]
async fn a_connection_that_stands_is_not_a_way_around_new_destinations() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bentpipe.toml");
    let control = folder.path().join("control.sock");
    let open = "[destinations]\nallow = ['127.0.0.1:1-65535']\n";
    fs::write(&file, open).expect("written");
    let flags = [
        "--config".to_owned(),
        file.to_string_lossy().into_owned(),
        "--listen=127.0.0.1:0".to_owned(),
        format!("--cache-dir={}", folder.path().display()),
        format!("--control={}", control.display()),
    ];
    let given = bentpipe::config::Given::by_flags(&flags).expect("flags");
    let proxy = bentpipe::serve::Proxy::start_given(given, bentpipe::Clock::manual()).await.expect("a proxy");
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", plain());
    let (address, url) = (proxy.local_address(), origin.url("/a"));
    let get = || testkit::client::get(address, &url);
    assert_eq!(get().await.expect("a response").status, 200);
    fs::write(&file, "[destinations]\nallow = []\n").expect("written");
    proxy.reload().await.expect("a configuration");
    assert_eq!(get().await.expect("a response").status, 403);
    fs::write(&file, open).expect("written");
    proxy.reload().await.expect("a configuration");
    assert_eq!(get().await.expect("a response").status, 200);
    assert_eq!(origin.request_count(), 2);
    proxy.shutdown().await;
}

#[tokio::test]
async fn connections_to_origins_are_kept_while_their_way_is_the_same() {
    let scene = Scene::new("").await;
    scene.origin.always("GET", "/a", plain());
    let mut client = scene.proxy.connect().await;
    assert_eq!(scene.status(&mut client).await, 200);
    scene.reload("[link]\nspec = '50M'\n[cache]\nsize = '1G'\n[admission]\ndeny = ['host=other']\n").await;
    assert_eq!(scene.status(&mut client).await, 200);
    assert_eq!(scene.origin.traffic().len(), 1, "one connection");
}

#[tokio::test]
async fn listeners_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bentpipe.toml");
    let rest = format!(
        "[cache]\ndir = '{}'\n[control]\nsocket = 'off'\n[destinations]\nallow = ['127.0.0.1:1-65535']\n",
        folder.path().display()
    );
    let write = |listen: &str| fs::write(&file, format!("listen = [{listen}]\n{rest}")).expect("written");
    write("'127.0.0.1:0'");
    let given = bentpipe::config::Given::by_flags(["--config", &file.to_string_lossy()]).expect("flags");
    let proxy = bentpipe::serve::Proxy::start_given(given, bentpipe::Clock::manual()).await.expect("a proxy");
    let origin = Origin::start().await.expect("an origin");
    origin.always("GET", "/a", plain());
    let first = proxy.local_address();
    let mut kept = Client::connect(first).await.expect("a connection");
    let request = Request::new("GET", &origin.url("/a"));
    assert_eq!(kept.request(&request).await.expect("a response").status, 200);
    write("'127.0.0.2:0', '127.0.0.1:0'");
    proxy.reload().await.expect("a configuration");
    let second = proxy.local_address();
    assert_ne!(first, second);
    for address in [first, second] {
        assert_eq!(testkit::client::get(address, &origin.url("/a")).await.expect("a response").status, 200);
    }
    write("'127.0.0.2:0'");
    proxy.reload().await.expect("a configuration");
    assert_eq!(proxy.local_address(), second, "the same port still");
    assert_eq!(kept.request(&request).await.expect("a response").status, 200, "its connection is served on");
    while Client::connect(first).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // One that cannot be had leaves everything as it is.
    write("'127.0.0.1:0', '203.0.113.1:9'");
    assert!(
        proxy
            .reload()
            .await
            .expect_err("no such address")
            .contains("listen = 203.0.113.1:9: cannot be listened on")
    );
    assert_eq!(testkit::client::get(second, &origin.url("/a")).await.expect("a response").status, 200);
    // It is never its own origin, wherever it listens by now.
    let own = testkit::client::get(second, &format!("http://{second}/nowhere-of-ours")).await;
    assert_ne!(own.expect("a response").status, 200);
    proxy.shutdown().await;
}

#[tokio::test]
async fn options_are_set_by_hand_all_or_none_until_the_next_reload() {
    let scene = Scene::new("[cache]\nsize = '1G'\n").await;
    let changed =
        scene.change(json!({ "link.spec": "64k", "cache.size": "20G", "limits.connections": 99 })).await;
    assert_eq!(keys(&changed, "changed"), ["cache.size", "link.spec", "limits.connections"]);
    assert_eq!(changed["changed"][1], json!({ "key": "link.spec", "before": "unlimited", "after": "64k" }));
    assert_eq!(ask(&scene.proxy, "GET", "/v1/link", "").await["spec"], "64k");
    let told = ask(&scene.proxy, "GET", "/v1/config/link/spec", "").await;
    assert_eq!((&told["source"], &told["key"]), (&json!("set by hand"), &json!("link.spec")));

    let wrong =
        scene.change(json!({ "link.spec": "1M", "cache.max_object": "30G", "cache.dir": "/x" })).await;
    assert!(wrong["error"].as_str().expect("an error").contains("cache.dir: takes effect after a restart"));
    let wrong = scene.change(json!({ "link.spec": "1M", "cache.max_object": "30G" })).await;
    assert!(wrong["error"].as_str().expect("an error").contains("larger than cache.size"), "{wrong}");
    assert_eq!(scene.value("link.spec").await, "64k", "all or none");

    let one = ask(&scene.proxy, "PATCH", "/v1/config/cache/size", "\"5G\"").await;
    assert_eq!(keys(&one, "changed"), ["cache.size"]);
    let back = ask(&scene.proxy, "PATCH", "/v1/config/cache/size", "null").await;
    assert_eq!(
        (keys(&back, "dropped"), scene.value("cache.size").await),
        (vec!["cache.size".to_owned()], json!("1G"))
    );
    assert!(ask(&scene.proxy, "PATCH", "/v1/config", "[]").await["error"].is_string());
    assert!(ask(&scene.proxy, "GET", "/v1/config/nothing", "").await["error"].is_string());

    // `link set` is the same thing.
    ask(&scene.proxy, "PUT", "/v1/link", "{\"spec\": \"128k\"}").await;
    assert_eq!(scene.value("link.spec").await, "128k");
    let trace = ask(&scene.proxy, "GET", "/v1/config/link/trace", "").await;
    assert_eq!(trace["source"], "default", "it was not changed");
    let reloaded = scene.reload("[cache]\nsize = '1G'\n").await;
    assert!(keys(&reloaded, "dropped").contains(&"link.spec".to_owned()), "{reloaded}");
    assert_eq!(ask(&scene.proxy, "GET", "/v1/link", "").await["spec"], "unlimited");
}

#[tokio::test]
async fn no_secret_is_told() {
    let scene = Scene::new("[admission]\nusers = ['ann:sesame']\n").await;
    let config = ask(&scene.proxy, "GET", "/v1/config", "").await;
    let changed = scene.change(json!({ "admission.users": ["ann:opensesame", "bob:x"] })).await;
    assert_eq!(changed["changed"][0]["after"], json!(["ann:***", "bob:***"]));
    let wrong = scene.change(json!({ "admission.users": ["opensesame"] })).await;
    for told in [&config, &changed, &wrong, &ask(&scene.proxy, "GET", "/v1/config", "").await] {
        assert!(!told.to_string().contains("sesame"), "{told}");
    }
}

#[tokio::test]
async fn the_access_log_goes_where_it_is_to_go_now() {
    let scene = Scene::new("").await;
    scene.origin.always("GET", "/a", plain());
    let log = scene.proxy.folder.path().join("access.log");
    scene.change(json!({ "log.access": log.to_string_lossy(), "log.format": "json" })).await;
    let mut client = scene.proxy.connect().await;
    assert_eq!(scene.status(&mut client).await, 200);
    scene.change(json!({ "log.access": null })).await;
    assert_eq!(scene.status(&mut client).await, 200);
    drop(client);
    scene.proxy.reload().await.expect("a configuration");
    // The log's thread ends with the last exchange that it is told of.
    let lines = loop {
        let text = fs::read_to_string(&log).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(lines.lines().count(), 1, "{lines}");
}

#[tokio::test]
async fn fewer_connections_at_once_holds_for_the_next() {
    let scene = Scene::new("").await;
    scene.origin.always("GET", "/a", plain());
    let mut first = scene.proxy.connect().await;
    assert_eq!(scene.status(&mut first).await, 200);
    scene.change(json!({ "limits.connections_per_client": 1 })).await;
    let mut second = scene.proxy.connect().await;
    let answer = second.request(&Request::new("GET", &scene.origin.url("/a"))).await.expect("a response");
    assert_eq!((answer.status, answer.ending), (429, Ending::Clean));
    assert_eq!(scene.status(&mut first).await, 200, "who is in stays");
}

#[test]
fn commands_reload_and_set_and_say_what_came_of_it() {
    let home = Home::new();
    let file = home.folder("bentpipe.toml");
    fs::write(&file, "[link]\nspec = '512k'\n").expect("written");
    let _served = home.serve("cache", &["--config", &file]);
    assert_eq!(
        home.run(&["reload"]),
        "no option has another value; the files that they name were read again\n"
    );
    fs::write(&file, "[link]\nspec = '1M'\n").expect("written");
    assert_eq!(home.run(&["reload"]), "link.spec: 512k -> 1M\n");
    assert_eq!(home.run(&["config", "get", "link.spec"]), "1M\n");
    let set = home.run(&["config", "set", "link.spec=2M"]);
    let expected = format!(
        "link.spec: 1M -> 2M\nThis lasts until the next restart or reload. To keep it, write into {file}:\n  \
         [link]\n  spec = \"2M\"\n"
    );
    assert_eq!(set, expected);
    fs::write(&file, "[link]\nspec = 'fast'\n[cash]\n").expect("written");
    let wrong = home.fail(&["reload"], 1);
    assert!(
        wrong.contains(&format!("{file}:2: link.spec = \"fast\"")) && wrong.contains(&format!("{file}:3: ")),
        "{wrong}"
    );
    assert_eq!(home.run(&["config", "get", "link.spec"]), "2M\n");
    assert_eq!(
        home.run(&["config", "set", "--unset", "link.spec"]).lines().next(),
        Some("link.spec: 2M -> 1M")
    );
    assert!(home.run(&["config", "get"]).contains("link.spec"));
    home.fail(&["config", "set"], 2);
    home.fail(&["config", "set", "link.spec"], 2);
}
