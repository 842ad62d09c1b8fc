//! Large bodies, slow peers: every byte is looked at.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use teardown::http::settings::Mode;

use crate::support::{Origin, Proxy, find, settings};

/// Bytes that no shift or loss leaves the same.
fn pattern(length: usize) -> Vec<u8> {
    let word = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    (0..length.div_ceil(8)).flat_map(word).take(length).collect()
}

const SIZES: [usize; 13] = [
    0, 1, 1000, 4_096, 16_300, 24_577, 32_768, 65_536, 81_000, 131_071, 131_073, 1_000_000,
    9_000_000,
];

fn body(response: &[u8]) -> &[u8] {
    &response[find(response, b"\r\n\r\n").expect("a head") + 4..]
}

#[test]
fn downloads_with_a_length() {
    for size in SIZES {
        let origin = Origin::new(move |mut peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            peer.send(pattern(size));
            peer.request();
        });
        let proxy = Proxy::start(settings(&[origin.address]));
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let response = client.rest_bytes();
        assert!(body(&response) == pattern(size), "{size}");
        let line = &proxy.log(1)[0];
        assert_eq!((line.state.as_str(), line.bytes_out), ("----", response.len() as u64));
    }
}

#[test]
fn a_connection_is_kept_after_a_large_body() {
    for size in [1000, 1_000_000] {
        let origin = Origin::new(move |mut peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
                peer.send(pattern(size));
            }
        });
        let proxy = Proxy::start(settings(&[origin.address]));
        let mut client = proxy.connect();
        for _ in 0..4 {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client.response();
        }
        assert_eq!(origin.opened(), 1, "{size}");
    }
}

#[test]
fn every_size_after_every_other() {
    // How much is read at first, and whether the rest is spliced, follows from what was before.
    let sizes = [0, 1000, 4_096, 16_300, 28_000, 40_000, 65_536, 200_000];
    let turns =
        sizes.iter().flat_map(|before| sizes.iter().flat_map(move |after| [*before, *after]));
    let turns: Vec<usize> = turns.collect();
    let served = turns.clone();
    let origin = Origin::new(move |mut peer| {
        for size in &served {
            peer.request();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
            peer.send(pattern(*size));
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    for size in turns {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let response = client.response_bytes();
        assert!(body(&response) == pattern(size), "{size}");
    }
    assert_eq!(origin.opened(), 1);
}

#[test]
fn downloads_until_close() {
    for size in SIZES {
        let origin = Origin::new(move |mut peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\n\r\n");
            peer.send(pattern(size));
        });
        let proxy = Proxy::start(settings(&[origin.address]));
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(body(&client.rest_bytes()) == pattern(size), "{size}");
    }
}

/// A chunked body of uneven chunks, some of them large.
fn chunks(size: usize) -> Vec<u8> {
    let (data, mut wire, mut at, mut step) = (pattern(size), Vec::new(), 0, 1);
    while at < size {
        let end = size.min(at + step);
        wire.extend_from_slice(format!("{:x}\r\n", end - at).as_bytes());
        wire.extend_from_slice(&data[at..end]);
        wire.extend_from_slice(b"\r\n");
        at = end;
        step = step * 3 % 700_001 + 1;
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

#[test]
fn chunked_downloads() {
    for size in SIZES {
        let origin = Origin::new(move |mut peer| {
            while peer.request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                peer.send(chunks(size));
            }
        });
        let proxy = Proxy::start(settings(&[origin.address]));
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(body(&client.rest_bytes()) == chunks(size), "{size} to HTTP/1.1");
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        assert!(body(&client.rest_bytes()) == pattern(size), "{size} to HTTP/1.0");
    }
}

#[test]
fn uploads() {
    let origin = Origin::new(|mut peer| {
        while let Some(request) = peer.request() {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.len()));
            peer.send(request);
        }
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    for size in SIZES {
        let mut client = proxy.connect();
        let mut writer = client.stream.try_clone().expect("clones");
        let sender = thread::spawn(move || {
            use std::io::Write;
            let head = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
            );
            writer.write_all(head.as_bytes()).expect("sends");
            writer.write_all(&pattern(size)).expect("sends");
        });
        let response = client.rest_bytes();
        sender.join().expect("sent");
        assert!(response.ends_with(&pattern(size)), "{size}");
    }
}

#[test]
fn a_slow_reader_holds_the_server_back() {
    // Far more than two sockets and a pipe hold.
    const SIZE: usize = 64 * 1024 * 1024;
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let origin = Origin::new(move |mut peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        peer.stream.set_nonblocking(true).expect("sets");
        let (block, mut sent) = (pattern(65_536), 0);
        // The proxy, its pipe and the sockets are full when nothing was taken for a while.
        let mut refused = 0;
        while refused < 50 {
            use std::io::Write;
            match peer.stream.write(&block) {
                Ok(count) => (sent, refused) = (sent + count, 0),
                Err(_) => {
                    refused += 1;
                    thread::sleep(Duration::from_millis(4));
                }
            }
        }
        let _ = tell.lock().expect("unpoisoned").send(sent);
    });
    let proxy = Proxy::start(settings(&[origin.address]));
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let sent = told.recv_timeout(crate::support::PATIENCE).expect("the server is held back");
    assert!(
        sent < SIZE / 2,
        "{sent} bytes were taken from the server for a client that reads none"
    );
}

#[test]
fn what_is_said_in_turn_through_a_tunnel_waits_for_nothing() {
    // Large enough to be spliced; its end was held back for 200 ms, as if more were to follow.
    const ANSWER: usize = 40_000;
    const TURNS: usize = 50;
    let origin = Origin::new(|mut peer| {
        while peer.read() {
            peer.send(vec![b'x'; ANSWER]);
        }
    });
    let mut settings = settings(&[origin.address]);
    settings.frontends[0].mode = Mode::Tcp;
    settings.backends[0].mode = Mode::Tcp;
    let proxy = Proxy::start(settings);
    let mut client = proxy.connect();
    let turn = || {
        let start = Instant::now();
        client.send("y");
        client.stream.read_exact(&mut [0; ANSWER]).expect("an answer");
        start.elapsed()
    };
    let mut took: Vec<Duration> = std::iter::repeat_with(turn).take(TURNS).collect();
    took.sort_unstable();
    // A busy machine may keep some waiting, and not most of them.
    assert!(took[TURNS / 2] < Duration::from_millis(150), "{took:?}");
}
