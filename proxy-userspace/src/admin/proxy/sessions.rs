//! `show sess`, `shutdown session` and `show errors`.

use super::Scene;
use crate::http::engine::{Engine, SessionInfo};
use crate::http::format::{self, Surroundings};
use crate::http::live::Invalid;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

/// A session's number as HAProxy shows its pointers.
fn id(session: &SessionInfo) -> String {
    format!("{:#x}", session.serial)
}

/// `show sess`: HAProxy's line, as far as there is such a thing here.
pub(super) fn list(sessions: Vec<SessionInfo>) -> String {
    let mut out = String::new();
    for session in &sessions {
        let (protocol, source) = match session.client {
            Some(SocketAddr::V4(at)) => ("tcpv4", at.to_string()),
            Some(SocketAddr::V6(at)) => ("tcpv6", at.to_string()),
            None => ("unix_stream", "unix:1".to_owned()),
        };
        let (backend, server) = match &session.server {
            Some((backend, server)) => (backend.as_str(), server.as_str()),
            None => ("<NONE>", "<none>"),
        };
        let expires = session.expires.map_or(String::new(), |left| format!("{}s", left.as_secs()));
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "{}: proto={protocol} src={source} fe={} be={backend} srv={server} ts=00 epoch=0 \
             age={}s calls=0 rate=0 cpu=0 lat=0 idle={} thr={} exp={expires}",
            id(session),
            session.frontend,
            session.age.as_secs(),
            u8::from(session.idle),
            session.worker,
        );
    }
    out
}

/// `shutdown session <id>`.
pub(super) async fn kill(engine: &Engine, words: &[&str]) -> String {
    let Some(text) = words.first() else {
        return "Session pointer expected (use 'show sess').\n".to_owned();
    };
    let number = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let sessions = engine.sessions().await;
    match number.filter(|number| sessions.iter().any(|session| session.serial == *number)) {
        Some(serial) => {
            engine.kill(serial);
            String::new()
        }
        None => "No such session (use 'show sess').\n".to_owned(),
    }
}

/// `show errors [<proxy>] [request|response]`.
pub(super) fn errors(scene: &Scene, words: &[&str]) -> String {
    let (mut proxy, mut kinds) = (None, [true, true]);
    for word in words {
        match *word {
            "request" => kinds = [true, false],
            "response" => kinds = [false, true],
            name => proxy = Some(name),
        }
    }
    let known = |name: &str| {
        name.parse::<i64>().is_ok()
            || scene.proxies.frontend(name).is_some()
            || scene.proxies.backend(name).is_some()
    };
    if proxy.is_some_and(|name| !known(name)) {
        return "No such proxy.\n".to_owned();
    }
    let fits = |name: &str, number: u32| {
        proxy.is_none_or(|want| want == name || want.parse() == Ok(number) || want == "-1")
    };
    let mut count = 0;
    let mut out = String::new();
    let mut show = |kind: &str, name: &str, number: u32, errors: [Option<Invalid>; 2]| {
        if !fits(name, number) {
            return;
        }
        for (index, invalid) in errors.iter().enumerate() {
            if let (Some(invalid), true) = (invalid, kinds[index]) {
                let what = if index == 0 { "request" } else { "response" };
                event(&mut out, (kind, name, number), what, invalid, count);
                count += 1;
            }
        }
    };
    for frontend in &scene.proxies.frontends {
        let number = scene.numbers.frontends.get(frontend.index).copied().unwrap_or_default();
        show("frontend", &frontend.settings.name, number, frontend.errors.get());
    }
    for backend in &scene.proxies.backends {
        let number = scene.numbers.backends.get(backend.index).copied().unwrap_or_default();
        show("backend", &backend.settings.name, number, backend.errors.get());
    }
    format!("Total events captured on [{}] : {count}\n{out}", date(SystemTime::now()))
}

fn date(at: SystemTime) -> String {
    let mut out = Vec::new();
    let zone = &Surroundings::here().zone;
    format::date(&mut out, at, zone, "%d/%b/%Y:%H:%M:%S", true);
    String::from_utf8_lossy(&out).into_owned()
}

fn event(
    out: &mut String,
    (kind, name, number): (&str, &str, u32),
    what: &str,
    invalid: &Invalid,
    count: u32,
) {
    let (backend, server) = match &invalid.peer {
        Some((backend, server)) => (backend.as_str(), server.as_str()),
        None => ("<NONE>", "<NONE>"),
    };
    let source = invalid.client.map_or_else(|| "unix:1".to_owned(), |at| at.to_string());
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "\n[{}] {kind} {name} (#{number}): invalid {what}\n  backend {backend}, server {server}, \
         event #{count}, src {source}\n  len {}, refused: {}\n\n",
        date(invalid.when),
        invalid.head.len(),
        invalid.reason,
    );
    let mut at = 0;
    for line in invalid.head.split_inclusive(|&byte| byte == b'\n') {
        for (index, part) in line.chunks(60).enumerate() {
            let mark = if index == 0 { ' ' } else { '+' };
            let _ = writeln!(out, "  {at:05}{mark} {}", part.escape_ascii());
            at += part.len();
        }
    }
}
