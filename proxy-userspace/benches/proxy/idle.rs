//! Memory of idle connections: what each of many adds to the proxy's proportional set size.

use crate::peers::Peer;
use crate::scene::Scene;
use crate::shapes::Shape;
use crate::wrk::family;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a proxy may take to give memory back.
const PATIENCE: usize = 8;

/// Opens `count` connections, has each one ask once, and prints what each takes while idle.
pub(crate) fn measure(scene: &Scene, peers: &[Peer], count: usize) {
    println!("\nMemory of an idle connection, bytes ({count} of them)");
    for &peer in peers {
        let process = peer.start(scene);
        let kept = scene.topology.client.run(|| connections(scene.keeps, count / 100));
        drop(kept);
        let before = settled(process.pid());
        let kept = scene.topology.client.run(|| connections(scene.keeps, count));
        let after = settled(process.pid());
        drop(kept);
        println!("  {:<20} {:>9.0}", peer.name(), (after - before) / count as f64);
    }
}

/// Connections on which one request was answered.
fn connections(proxy: SocketAddr, count: usize) -> Vec<TcpStream> {
    let length = Shape::KeepAlive.length();
    let request = format!("GET /{length} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let connect = |_| {
        let mut stream = TcpStream::connect(proxy).expect("the proxy accepts");
        stream.write_all(request.as_bytes()).expect("it reads");
        let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            let head = seen.windows(4).position(|end| end == b"\r\n\r\n");
            if head.is_some_and(|head| seen.len() == head + 4 + length) {
                return stream;
            }
            let read = stream.read(&mut chunk).expect("it answers");
            assert!(read > 0, "it closed after {} bytes", seen.len());
            seen.extend_from_slice(&chunk[..read]);
        }
    };
    (0..count).map(connect).collect()
}

/// The least that was seen while it settled: idle connections are parked after a while.
fn settled(pid: u32) -> f64 {
    let sizes = (0..PATIENCE).map(|_| {
        std::thread::sleep(Duration::from_secs(1));
        size(pid)
    });
    sizes.fold(f64::INFINITY, f64::min)
}

/// Bytes of memory of a process and its children, shared pages divided among those who share.
fn size(pid: u32) -> f64 {
    let of = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    family(pid).into_iter().filter_map(of).sum::<f64>() * 1024.0
}
