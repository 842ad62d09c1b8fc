//! What a proxy says that nothing comes of: it works, but hardly as meant.

use super::diag::Findings;
use super::model::{Global, Kind, LogFormat, Proxy};
use crate::http::acl::Condition;
use crate::http::balance::Algorithm;
use crate::http::capture::Captures;
use crate::http::health::script::CheckKind;
use crate::http::rules::TcpRule;
use crate::http::sample::Expression;
use crate::http::settings::Mode;

/// Warns of it, as HAProxy does.
pub(super) fn check(global: &Global, proxy: &Proxy, findings: &mut Findings) {
    let whose = format!("{} '{}'", proxy.kind.as_str(), proxy.name);
    let mut warn = |message: &str| {
        findings.warn(proxy.at.clone(), format!("{whose} {message}"));
    };
    let said = &proxy.settings;
    let logs = !said.logs.is_empty() || (said.log_global && !global.logs.is_empty());
    if proxy.kind.is_frontend() && said.log_format != LogFormat::Default && !logs {
        warn(
            "has a log format and no address to log to: give it 'log', or 'global' with 'log global'",
        );
    }
    if said.mode == Mode::Tcp {
        without_requests(proxy, &mut warn);
    }
    // What came from `defaults` may be meant for others.
    let checks = [
        ("http-check", "httpchk", CheckKind::Http, &proxy.own_checks.http),
        ("tcp-check", "tcp-check", CheckKind::Tcp, &proxy.own_checks.tcp),
    ];
    for (lines, option, kind, first) in checks {
        if let Some(at) = first.as_ref().filter(|_| said.check.kind != kind) {
            let message =
                format!("{whose} has no 'option {option}': its '{lines}' lines are not used");
            findings.warn(at.clone(), message);
        }
    }
}

/// What needs requests.
fn without_requests(proxy: &Proxy, warn: &mut dyn FnMut(&str)) {
    let said = &proxy.settings;
    let front = proxy.kind.is_frontend();
    if front && matches!(said.log_format, LogFormat::Http | LogFormat::Clf) {
        warn(
            "is in mode tcp and logs as with 'option tcplog': there are no requests for 'option httplog'",
        );
    }
    let hashes = matches!(said.balance, Algorithm::Uri { .. } | Algorithm::Header { .. });
    if proxy.kind.is_backend() && hashes {
        warn("is in mode tcp: without requests its balance is that of roundrobin");
    }
    let of_requests = |condition: &Option<Condition>| {
        condition.iter().flat_map(Condition::expressions).any(Expression::needs_request)
    };
    let content = proxy.tcp_request.content.iter().map(|rule| &rule.condition);
    let uses = proxy.use_backends.iter().map(|rule| &rule.condition);
    for (name, looks) in [
        ("tcp-request content", { content }.any(of_requests)),
        ("use_backend", { uses }.any(of_requests)),
    ] {
        if looks {
            warn(&format!("is in mode tcp: its rules find no requests, which '{name}' looks at"));
        }
    }
    let of_output = |rule: &TcpRule| rule.expressions().any(Expression::needs_response);
    if proxy.tcp_response.delay.is_none() && proxy.tcp_response.content.iter().any(of_output) {
        warn(
            "has 'tcp-response content' that looks at what servers send, and no 'tcp-response \
             inspect-delay': it finds what happens to be there",
        );
    }
    let of_input = |rule: &&TcpRule| rule.expressions().any(Expression::needs_input);
    if proxy.tcp_request.delay.is_none() && proxy.tcp_request.content.iter().any(|r| of_input(&r)) {
        warn(
            "has 'tcp-request content' that looks at what clients send, and no 'tcp-request \
             inspect-delay': it finds what happens to be there",
        );
    }
    let Captures { request, response, cookie } = &proxy.captures;
    let mut slots = request.iter().chain(response);
    let captures = cookie.is_some() || slots.any(|slot| slot.name.is_some());
    let unused = [
        ("http-request", !proxy.http_request.is_empty()),
        ("http-response", !proxy.http_response.is_empty()),
        ("http-after-response", !proxy.http_after_response.is_empty()),
        ("redirect", !proxy.redirects.is_empty()),
        ("option forwardfor", said.forward_for.is_some()),
        ("cookie", said.cookie.is_some() && proxy.kind.is_backend()),
        ("capture", captures),
        ("option originalto", said.original_to.is_some()),
        ("retry-on", said.retry_on.keeps_requests()),
        ("stats", said.stats.enabled && proxy.kind != Kind::Backend),
    ];
    let unused: Vec<_> = unused.iter().filter(|line| line.1).map(|line| line.0).collect();
    if !unused.is_empty() {
        warn(&format!("is in mode tcp: '{}' is for mode http", unused.join("', '")));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Strictness, parse, source::Source};

    /// What is said of these lines, a warning a line, without the words before it.
    fn said(text: &str) -> Vec<String> {
        let text = format!(
            "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n{text}"
        );
        let source = Source { name: "t".into(), text: text.into_bytes() };
        let (_, findings) = parse(&[source], Strictness::Strict, &|_| None);
        assert!(!findings.is_fatal(), "{findings}");
        findings.list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_needs_requests_is_named_in_mode_tcp() {
        let said = said(
            " option forwardfor\n stats enable\n balance uri\n option httplog\n\
             \x20log 127.0.0.1 local0\nlisten a\n bind :1\n\
             \x20http-request deny\n http-response del-header X\n\
             \x20cookie A insert\n capture cookie A len 9\n",
        );
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].ends_with("no requests for 'option httplog'"), "{said:?}");
        assert!(said[1].ends_with("its balance is that of roundrobin"), "{said:?}");
        let unused =
            "'http-request', 'http-response', 'option forwardfor', 'cookie', 'capture', 'stats'";
        assert_eq!(
            said[2],
            format!("[WARNING] t:10:1: listen 'a' is in mode tcp: {unused} is for mode http")
        );
    }

    #[test]
    fn a_log_format_needs_an_address() {
        let listen = "listen a\n bind :1\n";
        let without = said(&format!(" option tcplog\n log global\n{listen}"));
        assert!(without[0].contains("no address to log to"), "{without:?}");
        let with = format!("global\n log 127.0.0.1 local0\ndefaults\n log global\n{listen}");
        assert_eq!(
            said(&format!(
                "{with} option tcplog\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
            )),
            [""; 0]
        );
    }

    #[test]
    fn lines_for_checks_of_another_kind_are_named_where_they_stand() {
        let own = said(
            "backend a\n http-check expect status 200\n tcp-check connect\n option tcp-check\n",
        );
        assert_eq!(own.len(), 1, "{own:?}");
        assert!(
            own[0].starts_with("[WARNING] t:6:2: backend 'a' has no 'option httpchk'"),
            "{own:?}"
        );
        // Another backend may use what stands in `defaults`.
        let inherited = said(" http-check expect status 200\nbackend a\n option tcp-check\n");
        assert_eq!(inherited, [""; 0]);
    }
}
