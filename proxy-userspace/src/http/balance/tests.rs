use super::*;
use crate::http::live::{Admin, Health, Proxies};
use crate::http::settings;
use std::sync::Arc;

fn backend(weights: &[u32], algorithm: Algorithm, hashing: Hashing) -> Arc<Backend> {
    let balance = Arc::new(Balance::new(algorithm, hashing, 42));
    let mut backend = settings::Backend::new("b", balance);
    for (id, &weight) in (1..).zip(weights) {
        let address = SocketAddr::from(([127, 0, 0, 1], 1000));
        let server = settings::Server::new(format!("s{id}"), address.into());
        backend.servers.push(settings::Server { weight, id, ..server });
    }
    let settings = settings::Settings { backends: vec![backend], ..Default::default() };
    Arc::clone(&Proxies::new(settings, 1, Arc::default()).backends[0])
}

fn picks(backend: &Backend, key: u64, count: usize) -> Vec<usize> {
    (0..count).filter_map(|_| backend.settings.balance.pick(backend, key, None)).collect()
}

fn request(target: &str) -> Request<'_> {
    Request { method: "GET", target, minor: 1, fields: &[], client: None, local: None }
}

fn key(backend: &Backend, target: &str) -> u64 {
    backend.settings.balance.key(Some(&request(target)), &[], None)
}

const URI: Algorithm = Algorithm::Uri { length: 0, depth: 0, whole: false, path_only: false };

#[test]
fn in_turn_goes_round_and_passes_over_who_is_down() {
    let backend = backend(&[1, 1, 1], Algorithm::RoundRobin, Hashing::default());
    assert_eq!(picks(&backend, 0, 6), [0, 1, 2, 0, 1, 2]);
    backend.servers[1].set_health(Health::Down);
    let after = picks(&backend, 0, 4);
    assert!(!after.contains(&1) && after.contains(&0) && after.contains(&2), "{after:?}");
    backend.servers[0].set_admin(Admin::Drain);
    backend.servers[2].set_weight(0);
    assert_eq!(picks(&backend, 0, 1), [0; 0]);
}

#[test]
fn in_turn_keeps_to_weights() {
    let backend = backend(&[3, 1], Algorithm::RoundRobin, Hashing::default());
    let list = picks(&backend, 0, 8);
    assert_eq!(list.iter().filter(|&&index| index == 0).count(), 6, "{list:?}");
}

/// As a running HAProxy 2.6.12 does, `set weight` of the first before the fifth request.
#[test]
fn in_turn_begins_with_the_heaviest() {
    let backend = backend(&[1, 2], Algorithm::RoundRobin, Hashing::default());
    assert_eq!(picks(&backend, 0, 4), [1, 1, 0, 1]);
    backend.servers[0].set_weight(5);
    assert_eq!(picks(&backend, 0, 8), [1, 0, 0, 0, 1, 0, 0, 1]);
}

#[test]
fn backups_serve_when_nobody_else_does_the_first_one_only() {
    let backend = {
        let balance = Arc::new(Balance::new(Algorithm::RoundRobin, Hashing::default(), 1));
        let mut backend = settings::Backend::new("b", balance);
        for backup in [false, true, true] {
            let address = SocketAddr::from(([127, 0, 0, 1], 1000));
            let server = settings::Server::new("s", address.into());
            backend.servers.push(settings::Server { backup, ..server });
        }
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        Arc::clone(&Proxies::new(settings, 1, Arc::default()).backends[0])
    };
    assert_eq!(picks(&backend, 0, 2), [0, 0]);
    backend.servers[0].set_health(Health::Down);
    assert_eq!(picks(&backend, 0, 3), [1, 1, 1]);
}

/// HAProxy's key is `inflight ? (inflight + 1) * SRV_EWGHT_MAX / eweight : 0`.
#[test]
fn the_least_loaded_is_so_with_the_request_that_is_to_come() {
    for (loads, chosen) in [([1, 5], 1), ([0, 1], 0), ([1, 0], 1), ([1, 8], 0)] {
        let backend = backend(&[2, 8], Algorithm::LeastConn, Hashing::default());
        for (server, load) in backend.servers.iter().zip(loads) {
            for _ in 0..load {
                server.sessions.rise();
            }
        }
        assert_eq!(picks(&backend, 0, 1), [chosen], "{loads:?}");
    }
}

#[test]
fn who_is_to_be_avoided_is_taken_only_for_want_of_another() {
    let backend = backend(&[1, 1], Algorithm::LeastConn, Hashing::default());
    assert_eq!(backend.settings.balance.pick(&backend, 0, Some(0)), Some(1));
    backend.servers[1].set_health(Health::Down);
    assert_eq!(backend.settings.balance.pick(&backend, 0, Some(0)), Some(0));
}

#[test]
fn least_connections_looks_at_load_and_weight() {
    let backend = backend(&[1, 2], Algorithm::LeastConn, Hashing::default());
    backend.servers[0].sessions.rise();
    backend.servers[1].sessions.rise();
    assert_eq!(picks(&backend, 0, 2), [1, 1]);
    for _ in 0..3 {
        backend.servers[1].sessions.rise();
    }
    assert_eq!(picks(&backend, 0, 2), [0, 0]);
}

#[test]
fn who_gets_nothing_leaves_nobody_else_double() {
    let backend = backend(&[1, 1, 1], Algorithm::LeastConn, Hashing::default());
    backend.servers[1].set_admin(Admin::Maintenance);
    let list = picks(&backend, 0, 30);
    assert_eq!(list.iter().filter(|&&index| index == 0).count(), 15, "{list:?}");
}

#[test]
fn full_servers_are_passed_over_and_none_is_left_when_all_are() {
    let backend = backend(&[1, 1], Algorithm::First, Hashing::default());
    assert_eq!(picks(&backend, 0, 2), [0, 0]);
    for server in &backend.servers {
        server.maxconn.store(1, Relaxed);
    }
    backend.servers[0].sessions.rise();
    assert_eq!(picks(&backend, 0, 2), [1, 1]);
    backend.servers[1].sessions.rise();
    assert_eq!(picks(&backend, 0, 1), [0; 0]);
}

/// What Debian's HAProxy 2.6.12 chose, asked over loopback with servers that answer their number.
#[test]
fn hashes_choose_the_same_servers_as_haproxy() {
    let cases: &[(Hashing, &[u32], [usize; 10])] = &HAPROXYS;
    for (hashing, weights, want) in cases {
        let backend = backend(weights, URI, *hashing);
        let got: Vec<usize> = (0..10)
            .map(|n| {
                let key = key(&backend, &format!("/path/{n}"));
                backend.settings.balance.pick(&backend, key, None).unwrap()
            })
            .collect();
        assert_eq!(got, want, "{hashing:?} {weights:?}");
    }
}

/// The same with servers of which two have an `id`.
#[test]
fn the_ring_knows_servers_by_their_ids() {
    let hashing = Hashing { consistent: true, avalanche: true, function: Function::Sdbm };
    let balance = Arc::new(Balance::new(URI, hashing, 42));
    let mut backend = settings::Backend::new("b", balance);
    for id in [10, 2, 1, 4] {
        let address = SocketAddr::from(([127, 0, 0, 1], 1000));
        let server = settings::Server::new(format!("s{id}"), address.into());
        backend.servers.push(settings::Server { id, ..server });
    }
    let settings = settings::Settings { backends: vec![backend], ..Default::default() };
    let backend = Arc::clone(&Proxies::new(settings, 1, Arc::default()).backends[0]);
    let pick =
        |n| backend.settings.balance.pick(&backend, key(&backend, &format!("/path/{n}")), None);
    let got: Vec<usize> = (0..20).filter_map(pick).collect();
    assert_eq!(got, [0, 0, 3, 2, 1, 2, 1, 1, 1, 1, 0, 1, 1, 2, 2, 3, 0, 3, 0, 2]);
}

/// As a running HAProxy 2.6.12 does.
#[test]
fn without_a_path_there_is_no_key_by_the_path_alone() {
    let only = |path_only| Algorithm::Uri { length: 0, depth: 0, whole: false, path_only };
    let key_of = |path_only, target: &str| {
        key(&backend(&[1, 1], only(path_only), Hashing::default()), target)
    };
    assert_eq!([key_of(true, "*"), key_of(true, "http://x")], [0; 2]);
    assert_ne!(key_of(false, "*"), 0);
    assert_eq!(key_of(true, "http://x/a"), key_of(true, "/a"));
}

/// As a running HAProxy 2.6.12 does.
#[test]
fn an_empty_field_is_none() {
    let backend = backend(&[1, 1], Algorithm::header("x".to_owned(), false), Hashing::default());
    let key = |value: &str| {
        let fields = [httparse::Header { name: "X", value: value.as_bytes() }];
        let request = Request { fields: &fields, ..request("/") };
        backend.settings.balance.key(Some(&request), &[], None)
    };
    assert_eq!(key(""), 0);
    assert_ne!(key("0"), 0);
}

#[test]
fn first_goes_by_ids() {
    let balance = Arc::new(Balance::new(Algorithm::First, Hashing::default(), 42));
    let mut backend = settings::Backend::new("b", balance);
    for id in [5, 2, 3] {
        let address = SocketAddr::from(([127, 0, 0, 1], 1000));
        let server = settings::Server::new(format!("s{id}"), address.into());
        backend.servers.push(settings::Server { id, ..server });
    }
    let settings = settings::Settings { backends: vec![backend], ..Default::default() };
    let backend = Arc::clone(&Proxies::new(settings, 1, Arc::default()).backends[0]);
    assert_eq!(picks(&backend, 0, 2), [1, 1]);
    backend.servers[1].set_health(Health::Down);
    assert_eq!(picks(&backend, 0, 2), [2, 2]);
}

#[test]
fn a_server_that_goes_moves_only_its_own_keys_on_the_ring() {
    let hashing = Hashing { consistent: true, avalanche: true, function: Function::Sdbm };
    let backend = backend(&[1, 1, 1, 1], URI, hashing);
    let all = |backend: &Backend| -> Vec<usize> {
        let pick = |n| backend.settings.balance.pick(backend, key(backend, &format!("/{n}")), None);
        (0..200).filter_map(pick).collect()
    };
    let before = all(&backend);
    backend.servers[2].set_health(Health::Down);
    let after = all(&backend);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || *before == 2);
    }
}

#[test]
fn random_draws_every_server() {
    let backend = backend(&[1, 1, 1], Algorithm::Random { draws: 1 }, Hashing::default());
    let list = picks(&backend, 0, 100);
    assert!((0..3).all(|index| list.contains(&index)), "{list:?}");
}

#[test]
fn parts_of_a_uri() {
    use super::hash::{domain, part_of_uri};
    assert_eq!(part_of_uri("/a/b/c?x", 0, 0, false), "/a/b/c");
    assert_eq!(part_of_uri("/a/b/c?x", 0, 0, true), "/a/b/c?x");
    assert_eq!(part_of_uri("/a/b/c?x", 0, 1, false), "/a");
    assert_eq!(part_of_uri("/a/b/c?x", 3, 0, false), "/a/");
    assert_eq!(domain(b"www.example.com"), b"example");
    assert_eq!(domain(b"localhost"), b"localhost");
}

/// Hash type, weights, and the servers chosen for `/path/0` to `/path/9`.
const HAPROXYS: [(Hashing, &[u32], [usize; 10]); 10] = [
    (
        Hashing { consistent: false, function: Function::Sdbm, avalanche: false },
        &[1, 1, 1, 1],
        [1, 2, 3, 0, 1, 2, 3, 0, 1, 2],
    ),
    (
        Hashing { consistent: false, function: Function::Djb2, avalanche: false },
        &[1, 1, 1, 1],
        [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
    ),
    (
        Hashing { consistent: false, function: Function::Wt6, avalanche: false },
        &[1, 1, 1, 1],
        [2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
    ),
    (
        Hashing { consistent: false, function: Function::Crc32, avalanche: false },
        &[1, 1, 1, 1],
        [1, 3, 1, 3, 0, 2, 0, 2, 3, 1],
    ),
    (
        Hashing { consistent: false, function: Function::Sdbm, avalanche: true },
        &[1, 1, 1, 1],
        [3, 2, 2, 3, 2, 3, 2, 3, 2, 2],
    ),
    (
        Hashing { consistent: false, function: Function::Sdbm, avalanche: false },
        &[3, 1, 2],
        [0, 2, 0, 1, 2, 0, 0, 2, 0, 1],
    ),
    (
        Hashing { consistent: true, function: Function::Sdbm, avalanche: false },
        &[1, 1, 1, 1],
        [3, 3, 3, 3, 3, 3, 3, 3, 3, 3],
    ),
    (
        Hashing { consistent: true, function: Function::Sdbm, avalanche: true },
        &[1, 1, 1, 1],
        [0, 1, 3, 2, 2, 2, 1, 2, 1, 2],
    ),
    (
        Hashing { consistent: true, function: Function::Djb2, avalanche: true },
        &[4, 1, 2],
        [0, 2, 0, 2, 0, 1, 0, 0, 0, 0],
    ),
    (
        Hashing { consistent: true, function: Function::Sdbm, avalanche: true },
        &[1, 1, 1, 1],
        [0, 1, 3, 2, 2, 2, 1, 2, 1, 2],
    ),
];
