//! Rules of a configuration on a request and its response: whatever is written in both, they are looked at to
//! their end, come to the same twice, and add no line to a head or to a log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use teardown::assemble::assemble;
use teardown::config::source::Source;
use teardown::config::{Findings, Level, Strictness, model::LogFormat, parse};
use teardown::http::event::Session;
use teardown::http::format::Surroundings;
use teardown::http::framing::Asked;
use teardown::http::head::{request, response, room};
use teardown::http::hooks::{Answer, Decision, Edit, Request, Response};
use teardown::http::live::{Frontend, Proxies};
use teardown::http::sample::View;
use teardown::policy::book;

const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 80);

/// The lines of the configuration that the rules stand in.
const BEFORE: &str = "defaults\nmode http\ntimeout client 1s\ntimeout connect 1s\ntimeout server 1s\n\
    backend b\nserver s 192.0.2.3:80\nfrontend f\nbind 192.0.2.2:80\ndefault_backend b\n";

/// No line ends within: who sends a head or a log line would send another.
fn one_line(text: &[u8]) {
    assert!(!text.contains(&b'\n') && !text.contains(&b'\r'), "{}", text.escape_ascii());
}

fn check_edits(edits: &[Edit]) {
    for edit in edits {
        one_line(edit.name().as_bytes());
        match edit {
            Edit::Set(_, value) | Edit::Add(_, value) => one_line(value),
            Edit::Values { values, .. } => values.iter().for_each(|value| one_line(value)),
            Edit::Method(text) | Edit::Target(text) => {
                assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            }
            Edit::Status(_, reason) => one_line(reason.as_bytes()),
            Edit::Del(_) | Edit::Level(_) | Edit::Capture(..) | Edit::Variable(..) => {}
        }
    }
}

fn check_answer(answer: &Answer) {
    for (name, value) in &answer.fields {
        one_line(name.as_bytes());
        one_line(value);
    }
    one_line(answer.content_type.as_deref().unwrap_or_default().as_bytes());
}

/// What the rules make of one exchange.
fn look(frontend: &Frontend, session: &Session<'_>, heads: (&Request<'_>, Option<&Response<'_>>)) {
    let (asked, answered) = heads;
    let settings = &frontend.settings;
    let mut edits = Vec::new();
    if let Some(rules) = &settings.rules {
        let decision = rules.request(asked, session, &mut edits);
        check_edits(&edits);
        if let Decision::Refuse(answer) | Decision::Answer(answer) = &decision {
            check_answer(answer);
        }
        let mut again = Vec::new();
        assert_eq!(rules.request(asked, session, &mut again), decision);
        assert_eq!(again, edits);
        if let Some(answered) = answered {
            let mut edits = Vec::new();
            let decision = rules.response(answered, session, &mut edits);
            if let Decision::Refuse(answer) | Decision::Answer(answer) = &decision {
                check_answer(answer);
            }
            rules.last(answered, session, &mut edits);
            check_edits(&edits);
        }
    }
    if let Some(route) = &settings.route {
        let ends = View { client: asked.client, local: asked.local, ..View::default() };
        let _ = route.backend(&ends);
        let _ = route.backend(&View { request: Some(asked), edits: &edits, ..ends });
    }
}

// A form feed ends the rules, another one the request's head.
fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |&byte| byte == b'\x0c');
    let mut next = || parts.next().unwrap_or_default();
    let (rules, asked, answered) = (String::from_utf8_lossy(next()), next(), next());
    for line in rules.lines() {
        // A rule for closes has a place for what is wrong in it, and means what it says it means.
        if let Ok((target, words, _)) = book::read(line) {
            assert!(
                book::read(&format!("{target} {words}")).is_ok_and(|(again, ..)| again == target)
            );
        }
    }
    // Files are read while a configuration is: that is not what is looked at here.
    if ["/dev", "/proc", "file", "-f", "map"].iter().any(|word| rules.contains(word)) {
        return;
    }
    let text = format!("{BEFORE}{rules}\n");
    let sources = [Source { name: "rules.cfg".into(), text: text.into() }];
    let (config, findings) = parse(&sources, Strictness::Strict, &|_| None);
    if findings.list.iter().any(|finding| finding.level == Level::Alert) {
        return;
    }
    let resolve = |_: &str| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let assembled = assemble(&config, &resolve, &|_| Vec::new(), &mut Findings::default());
    let proxies = Proxies::new(assembled.settings, 1, Arc::default());
    let mut rooms = (room::<64>(), room::<64>());
    let read = request(asked, &mut rooms.0, Some(CLIENT), Some(LOCAL));
    let Ok(Some(asked)) = read else { return };
    let read = response(answered, &mut rooms.1, Asked::Other, Some(CLIENT));
    let answered = read.ok().flatten();
    let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for frontend in &proxies.frontends {
        let session = Session {
            backend: proxies.backends.first().map(|backend| &**backend),
            client: Some(CLIENT),
            local: Some(LOCAL),
            request_line: asked.line,
            ..Session::new(frontend, started)
        };
        let answered = answered.as_ref().map(|head| &head.view);
        look(frontend, &session, (&asked.view, answered));
        for backend in &proxies.backends {
            let balance = &backend.settings.balance;
            let key = balance.key(Some(&asked.view), &[], Some(CLIENT));
            let _ = balance.pick(backend, key, None);
        }
        let view = View { moment: Some(&session), client: Some(CLIENT), ..View::default() };
        for proxy in &config.proxies {
            if let LogFormat::Custom(format, _) = &proxy.settings.log_format {
                let mut line = Vec::new();
                format.write(&view, Surroundings::here(), &mut line);
                assert!(!line.contains(&b'\n'), "{}", line.escape_ascii());
            }
        }
    }
});
