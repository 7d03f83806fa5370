//! Any values about clients, for the tests of what is printed and read back.

use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::config::host::{self, Also};
use crate::config::{AccessRule, Admission, Clients, Others, User, token};

fn path() -> impl Strategy<Value = std::path::PathBuf> {
    "/[^\0]{0,12}".prop_map(std::path::PathBuf::from)
}

pub(super) fn network() -> impl Strategy<Value = IpNet> {
    (any::<IpAddr>(), 0..=128_u8).prop_map(|(address, prefix)| {
        let address = address.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, prefix.min(most)).unwrap().trunc()
    })
}

pub(super) fn admission() -> impl Strategy<Value = Admission> {
    let users = proptest::collection::btree_map("[^:\\p{C}]{1,8}", "\\PC{1,8}", 0..3).prop_map(|users| {
        users.into_iter().map(|(name, password)| User { name, password }).collect::<Vec<_>>()
    });
    let others = prop_oneof![Just(Others::Any), Just(Others::Nobody), Just(Others::Auto)];
    let access = (option::of(access_rule()), option::of(access_rule()), others);
    let rates = (any::<Option<NonZeroU32>>(), any::<Option<NonZeroU32>>());
    let by_address = (vec(network(), 0..2), option::of(path().prop_filter("off", |path| path.is_absolute())));
    let tokens = option::of("[a-z]{1,8}=[a-zA-Z0-9._~+/-]{16,20}=?");
    (users, tokens, by_address, rates, access).prop_map(
        |(users, tokens, (no_auth, users_file), (requests_per_second, burst), (allow, deny, others))| {
            Admission {
                users,
                users_file,
                tokens: tokens.into_iter().map(|text| token::parse(&text).unwrap()).collect(),
                no_auth,
                requests_per_second,
                burst,
                allow: allow.into_iter().collect(),
                deny: deny.into_iter().collect(),
                others,
            }
        },
    )
}

fn access_rule() -> impl Strategy<Value = AccessRule> {
    let name = option::of("[a-z]{1,8}");
    let clients =
        prop_oneof![network().prop_map(Clients::Network), Just(Clients::Private), Just(Clients::Any)];
    let ports = (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| a.min(b)..=a.max(b));
    let host = "[a-z*][a-z0-9*-]{0,8}|[0-9.]{7}"
        .prop_filter_map("a host", |text| host::parse(&text, &[Also::Stars], String::new).ok());
    let method = Just(http::Method::CONNECT);
    (name, vec(clients, 1..3), vec(host, 0..2), vec(ports, 0..2), vec(method, 0..2), vec("[a-z]{1,8}", 0..2))
        .prop_map(|(name, clients, hosts, ports, methods, users)| AccessRule {
            name,
            clients,
            hosts,
            ports,
            methods,
            users,
            times: Vec::new(),
        })
}
