//! `show sess`, `shutdown session` and `show errors`.

use super::Scene;
use crate::http::engine::{Engine, SessionInfo};
use crate::http::format::{self, Surroundings};
use crate::http::live::{Invalid, refused};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::SystemTime;

/// A session's number as HAProxy shows its pointers.
fn id(session: &SessionInfo) -> String {
    format!("{:#x}", session.serial)
}

/// `show sess [<id>]`: HAProxy's line, as far as there is such a thing here.
pub(super) fn list(sessions: Vec<SessionInfo>, words: &[&str]) -> String {
    let mut out = String::new();
    // What is no number stands for all, as in HAProxy.
    let wanted = words.first().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    for session in &sessions {
        if wanted.is_some_and(|word| *word != id(session)) {
            continue;
        }
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
    if out.is_empty() && wanted.is_some() {
        return "Session not found.\n".to_owned();
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

/// `show errors [<proxy> [request|response]]`.
pub(super) fn errors(scene: &Scene, words: &[&str]) -> String {
    let proxy = match words.first().map(|word| scene.proxy(word)) {
        Some(Ok(number)) => number,
        Some(Err(why)) => return why,
        None => -1,
    };
    let kinds = match words.get(1) {
        Some(&"request") => [true, false],
        Some(&"response") => [false, true],
        _ => [true, true],
    };
    let Scene { proxies, numbers, .. } = scene;
    let frontends = proxies.frontends.iter().map(|it| {
        let place = numbers.frontend_places.get(it.index);
        let number = numbers.frontends.get(it.index);
        (place, "frontend", it.settings.name.as_str(), number, it.errors.get())
    });
    let backends = proxies.backends.iter().map(|it| {
        let place = numbers.backend_places.get(it.index);
        let number = numbers.backends.get(it.index);
        (place, "backend", it.settings.name.as_str(), number, it.errors.get())
    });
    let mut all: Vec<_> = frontends.chain(backends).collect();
    // In the configuration's order; of a `listen` the frontend first.
    all.sort_by_key(|it| it.0);
    let mut out =
        format!("Total events captured on [{}] : {}\n", date(SystemTime::now()), refused());
    for (_, kind, name, number, errors) in all {
        let number = number.copied().unwrap_or_default();
        if proxy != -1 && proxy != i64::from(number) {
            continue;
        }
        for ((invalid, wanted), what) in errors.iter().zip(kinds).zip(["request", "response"]) {
            if let (Some((count, invalid)), true) = (invalid, wanted) {
                let of = (kind, name, number);
                event(&mut out, of, (what, &peer(scene, invalid)), invalid, *count);
            }
        }
    }
    out
}

fn date(at: SystemTime) -> String {
    let mut out = Vec::new();
    let zone = &Surroundings::here().zone;
    format::date(&mut out, at, zone, "%d/%b/%Y:%H:%M:%S", true);
    String::from_utf8_lossy(&out).into_owned()
}

/// Who a message came from, or was to go to, with HAProxy's numbers.
fn peer(scene: &Scene, invalid: &Invalid) -> String {
    let Some((backend, server)) = &invalid.peer else {
        return "backend <NONE> (#-1), server <NONE> (#-1)".to_owned();
    };
    let number = scene.proxy(backend).unwrap_or(-1);
    let found = scene.proxies.backend(backend).and_then(|it| Some((it, it.server(server)?)));
    let of_server =
        found.map_or(-1, |(it, server)| i64::from(scene.numbers.server((it.index, server.index))));
    format!("backend {backend} (#{number}), server {server} (#{of_server})")
}

fn event(
    out: &mut String,
    (kind, name, number): (&str, &str, u32),
    (what, peer): (&str, &str),
    invalid: &Invalid,
    count: u32,
) {
    let source = invalid.client.map_or_else(|| "unix:1".to_owned(), |at| at.to_string());
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "\n[{}] {kind} {name} (#{number}): invalid {what}\n  {peer}, event #{count}, src {source}\n  len {}, refused: {}\n\n",
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_number_chooses_one_session_and_what_is_none_all() {
        let session = |serial| SessionInfo {
            serial,
            worker: 0,
            client: None,
            frontend: "in".to_owned(),
            server: None,
            age: Duration::ZERO,
            expires: None,
            idle: true,
            parked: false,
        };
        let shown = |words: &[&str]| {
            let text = list(vec![session(1), session(17)], words);
            text.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
        };
        let all: [Vec<String>; 3] = [&[][..], &["all"], &["foo"]].map(shown);
        assert_eq!(all, [["0x1", "0x11"]; 3]);
        let some: [Vec<String>; 2] = [["0x11"], ["0x7"]].map(|words| shown(&words));
        assert_eq!(some, [["0x11"], ["Session not found."]]);
    }
}
