//! What the servers are told: memory and disk cache on, access logs off, one thread or process for the requests since there
//! is one core, connections kept alive on both sides, limits out of the way. As their manuals have it, nothing exotic.

use std::fs;
use std::path::{Path, PathBuf};

use super::peer::Place;

/// squid: memory for what is small, aufs for the rest; one process in the foreground (`-N`). Where it `collapses` requests, it
/// also gives one answer that may not be stored to several clients.
pub(super) fn squid(place: &Place<'_>, collapses: bool) -> String {
    let collapsed = if collapses { "on" } else { "off" };
    let Place { folder, address, .. } = place;
    let folder = folder.display();
    format!(
        "http_port {address}\n\
         acl everyone src all\nhttp_access allow everyone\n\
         visible_hostname bench\nhosts_file none\ndns_nameservers 127.0.0.1\n\
         pid_filename {folder}/squid.pid\ncoredump_dir {folder}\n\
         access_log none\ncache_store_log none\ncache_log {folder}/cache.log\n\
         netdb_filename none\npinger_enable off\nicp_port 0\nsnmp_port 0\n\
         cache_mem 1024 MB\nmaximum_object_size_in_memory 1 MB\nmaximum_object_size 200 MB\n\
         cache_dir aufs {folder}/cache 20000 64 256\n\
         collapsed_forwarding {collapsed}\nmemory_pools on\n\
         client_persistent_connections on\nserver_persistent_connections on\n\
         client_idle_pconn_timeout 10 minutes\nserver_idle_pconn_timeout 10 minutes\n\
         max_filedescriptors 16384\nshutdown_lifetime 0 seconds\n"
    )
}

/// Traffic Server: a folder with all it reads and writes, found by the file whose path this gives; one thread for the
/// requests, one file of 4 GB as its disk.
pub(super) fn traffic_server(place: &Place<'_>) -> anyhow::Result<PathBuf> {
    let folder = place.folder;
    for name in ["etc", "cache", "log", "run", "etc/body_factory"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let settings = [
        ("http.server_ports STRING", format!("{}:ip-in=127.0.0.1", place.address.port())),
        ("reverse_proxy.enabled INT", "0".to_owned()),
        ("url_remap.remap_required INT", "0".to_owned()),
        ("url_remap.pristine_host_hdr INT", "1".to_owned()),
        ("admin.user_id STRING", "#-1".to_owned()),
        ("exec_thread.autoconfig INT", "0".to_owned()),
        ("exec_thread.limit INT", "1".to_owned()),
        ("accept_threads INT", "0".to_owned()),
        ("task_threads INT", "1".to_owned()),
        ("log.logging_enabled INT", "0".to_owned()),
        ("cache.ram_cache.size INT", "1G".to_owned()),
        ("cache.ram_cache_cutoff INT", "4M".to_owned()),
        ("cache.enable_read_while_writer INT", "1".to_owned()),
        ("http.background_fill_active_timeout INT", "0".to_owned()),
        ("http.background_fill_completed_threshold FLOAT", "0.0".to_owned()),
        ("http.cache.open_read_retry_time INT", "10".to_owned()),
        ("http.cache.max_open_read_retries INT", "1000".to_owned()),
        ("http.keep_alive_no_activity_timeout_in INT", "600".to_owned()),
        ("http.keep_alive_no_activity_timeout_out INT", "600".to_owned()),
        ("http.connect_ports STRING", "*".to_owned()),
        ("http.insert_age_in_response INT", "1".to_owned()),
        ("net.connections_throttle INT", "12000".to_owned()),
        ("net.max_connections_in INT", "11000".to_owned()),
        ("dns.nameservers STRING", "127.0.0.1".to_owned()),
        ("diags.debug.enabled INT", "0".to_owned()),
        // No files of crashes beside the figures.
        ("crash_log_helper STRING", "NULL".to_owned()),
    ];
    let records: String =
        settings.iter().map(|(key, value)| format!("CONFIG proxy.config.{key} {value}\n")).collect();
    let everyone = "ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n";
    let disk = format!("{} 4G\n", folder.join("cache").display());
    let files =
        [("records.config", records.as_str()), ("ip_allow.yaml", everyone), ("storage.config", &disk)];
    for (name, text) in files {
        fs::write(folder.join("etc").join(name), text)?;
    }
    for name in [
        "remap.config",
        "plugin.config",
        "cache.config",
        "hosting.config",
        "parent.config",
        "volume.config",
        "splitdns.config",
        "socks.config",
        "ssl_multicert.config",
    ] {
        fs::write(folder.join("etc").join(name), "")?;
    }
    let own = folder.display();
    let layout = format!(
        "prefix: /usr\nexec_prefix: /usr\nbindir: /usr/bin\nsbindir: /usr/bin\nsysconfdir: {own}/etc\n\
         datadir: {own}\nlibdir: /usr/lib/trafficserver\nlibexecdir: /usr/lib/trafficserver/modules\n\
         localstatedir: {own}\nruntimedir: {own}/run\nlogdir: {own}/log\ncachedir: {own}/cache\n"
    );
    let file = folder.join("runroot.yaml");
    fs::write(&file, layout)?;
    Ok(file)
}

/// Where Debian and others have Apache's modules.
const APACHE_MODULES: [&str; 3] =
    ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2"];

/// Apache httpd: the event MPM, a disk cache that sends files with sendfile, a worker for the origin so that connections
/// to it are kept (the generic forward worker keeps none).
pub(super) fn apache(place: &Place<'_>) -> String {
    let Place { folder, address, origin, .. } = place;
    let folder = folder.display();
    let modules =
        APACHE_MODULES.iter().find(|folder| Path::new(folder).exists()).unwrap_or(&APACHE_MODULES[0]);
    let modules: String =
        ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_connect", "cache", "cache_disk"]
            .iter()
            .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
            .collect();
    let port = origin.port();
    format!(
        "{modules}\
         ServerRoot {folder}\nServerName bench\nPidFile {folder}/apache2.pid\nDefaultRuntimeDir {folder}\n\
         Listen {address}\nUser www-data\nGroup www-data\nErrorLog {folder}/error.log\nLogLevel crit\n\
         Mutex pthread default\nEnableSendfile On\nEnableMMAP On\nHostnameLookups Off\nServerTokens Prod\n\
         KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 600\nTimeout 600\n\
         StartServers 2\nServerLimit 16\nThreadsPerChild 64\nThreadLimit 64\nMaxRequestWorkers 1024\n\
         MinSpareThreads 64\nMaxSpareThreads 1024\nMaxConnectionsPerChild 0\nAsyncRequestWorkerFactor 8\n\
         ProxyRequests On\nProxyVia Off\nAllowCONNECT 1-65535\nProxyPreserveHost On\n\
         <Proxy \"*\">\nRequire all granted\n</Proxy>\n\
         <Proxy \"http://127.0.0.1:{port}/\">\nProxySet keepalive=On enablereuse=On max=256 ttl=600\n</Proxy>\n\
         CacheRoot {folder}/cache\nCacheEnable disk http://*:{port}/\nCacheQuickHandler on\nCacheDirLevels 2\n\
         CacheDirLength 1\nCacheMaxFileSize 200000000\nCacheLock on\nCacheLockPath {folder}/lock\n\
         CacheLockMaxAge 30\n"
    )
}

/// nginx: one worker; it takes absolute-form as it comes, and passes on to the one origin there is over kept connections.
pub(super) fn nginx(place: &Place<'_>) -> String {
    let Place { folder, address, origin, .. } = place;
    let folder = folder.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user} daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid {folder}/nginx.pid;\n\
         error_log stderr crit;\n\
         events {{ worker_connections 12000; multi_accept on; use epoll; }}\n\
         http {{\n\
         access_log off; sendfile on; sendfile_max_chunk 2m; tcp_nopush on; tcp_nodelay on; server_tokens off;\n\
         keepalive_timeout 600s; keepalive_requests 1000000000; reset_timedout_connection on;\n\
         client_body_temp_path {folder}/body; proxy_temp_path {folder}/temporary;\n\
         fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         open_file_cache max=50000 inactive=1h; open_file_cache_valid 1h; open_file_cache_min_uses 1;\n\
         proxy_cache_path {folder}/cache levels=1:2 keys_zone=all:512m max_size=30g inactive=7d use_temp_path=off;\n\
         upstream origin {{ server {origin}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 600s; }}\n\
         server {{\n\
         listen {address} backlog=4096;\n\
         location / {{\n\
         proxy_pass http://origin; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_cache all; proxy_cache_key $http_host$request_uri; proxy_cache_lock on;\n\
         proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;\n\
         proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;\n\
         }} }} }}\n"
    )
}

/// Varnish: memory, since that is what it is used with; no jail, since it runs as whoever runs the bench.
pub(super) const VARNISH: [&str; 16] = [
    "-j",
    "none",
    "-s",
    "malloc,8G",
    "-p",
    "thread_pools=1",
    "-p",
    "thread_pool_min=100",
    "-p",
    "thread_pool_max=5000",
    "-p",
    "timeout_idle=600",
    "-p",
    "vsl_mask=-Debug",
    "-t",
    "86400",
];

/// Varnish takes absolute-form by itself and makes a Host of it; `no-store` is passed at once.
pub(super) fn varnish(place: &Place<'_>) -> String {
    let (host, port) = (place.origin.ip(), place.origin.port());
    format!(
        "vcl 4.1;\nbackend default {{ .host = \"{host}\"; .port = \"{port}\"; }}\n\
         sub vcl_recv {{ if (req.url ~ \"^/passed/\") {{ return (pass); }} }}\n"
    )
}

/// haproxy: one thread and its cache in memory, all of which it takes at the start.
pub(super) fn haproxy(place: &Place<'_>) -> String {
    let Place { address, origin, .. } = place;
    format!(
        "global\n  nbthread 1\n  maxconn 6000\n\
         defaults\n  mode http\n  timeout connect 10s\n  timeout client 600s\n  timeout server 600s\n  \
         timeout http-keep-alive 600s\n  http-reuse always\n  option splice-auto\n  no log\n\
         cache memory\n  total-max-size 1024\n  max-object-size 200000000\n  max-age 86400\n\
         frontend front\n  bind {address} backlog 4096\n  default_backend back\n\
         backend back\n  http-request cache-use memory\n  http-response cache-store memory\n  \
         server origin {origin} pool-max-conn 256\n"
    )
}
