use super::terms::millis;
use super::*;
use crate::config::{Strictness, parse, source::Source};
use crate::http::event::Session;
use crate::http::hooks::Request;
use crate::http::live::Proxies;
use crate::http::sample::View;
use crate::http::settings::Connection;
use std::net::SocketAddr;
use std::time::SystemTime;

fn put_together(text: &str) -> (Assembled, Findings) {
    let source = Source { name: "t.cfg".into(), text: text.as_bytes().to_vec() };
    let (config, mut findings) = parse(&[source], Strictness::Strict, &|_| None);
    assert!(!findings.is_fatal(), "{findings}");
    let resolver = |name: &str| if name == "web" { vec![[10, 0, 0, 9].into()] } else { Vec::new() };
    let assembled = assemble(&config, &resolver, &|_| Vec::new(), &mut findings);
    (assembled, findings)
}

const TEXT: &str = "\
defaults
 mode http
 timeout client 1m
 timeout server 0
 timeout connect 5s
 option http-server-close
frontend in
 bind 127.0.0.1:80-81
 acl api path_beg -i /API/
 use_backend api if api
 http-request deny if { hdr(x-bad) -m found } !api
 http-request set-header X-Who %[src]:%cp
 default_backend web
backend web
 balance source
 server w1 web:8080 check rise 4 close passive rst
 server w2 10.0.0.2:8080 backup
backend api
 server a1 127.0.0.1:9000
listen both
 bind :90
 mode tcp
 server x /run/x.sock
";

#[test]
fn sections_become_frontends_and_backends() {
    let (assembled, findings) = put_together(TEXT);
    assert!(!findings.is_fatal(), "{findings}");
    let settings = &assembled.settings;
    let names = |list: &mut dyn Iterator<Item = &String>| list.cloned().collect::<Vec<_>>();
    assert_eq!(names(&mut settings.frontends.iter().map(|f| &f.name)), ["in", "both"]);
    assert_eq!(names(&mut settings.backends.iter().map(|b| &b.name)), ["web", "api", "both"]);
    let front = &settings.frontends[0];
    assert_eq!((front.binds.len(), front.default_backend), (2, Some(0)));
    assert_eq!(front.connection, Connection::ServerClose);
    let web = &settings.backends[0];
    assert_eq!((web.timeouts.server, web.timeouts.connect), (None, Some(millis(5_000))));
    assert_eq!(web.servers[0].address, SocketAddr::from(([10, 0, 0, 9], 8080)).into());
    assert!(web.servers[0].checked && web.servers[1].backup);
    assert_eq!(settings.frontends[1].default_backend, Some(2));
    assert_eq!((assembled.checks.len(), &assembled.healths[0]), (1, &vec![4, 2]));
}

#[test]
fn rates_are_limits_of_the_process_and_of_frontends() {
    let text = format!("global\n maxconnrate 5\n maxsessrate 6\n{TEXT}");
    let (assembled, findings) =
        put_together(&text.replacen("listen both\n", "listen both\n rate-limit sessions 7\n", 1));
    assert!(!findings.is_fatal(), "{findings}");
    let settings = &assembled.settings;
    assert_eq!((settings.global.connection_rate, settings.global.session_rate), (5, 6));
    let rates: Vec<u32> = settings.frontends.iter().map(|front| front.session_rate).collect();
    assert_eq!(rates, [0, 7]);
}

#[test]
fn rules_and_routes_do_what_they_say() {
    let (assembled, _) = put_together(TEXT);
    let front = &assembled.settings.frontends[0];
    let bad = [httparse::Header { name: "X-Bad", value: b"1" }];
    let client: Option<SocketAddr> = "192.0.2.7:4000".parse().ok();
    let request =
        |target, fields| Request { method: "GET", target, minor: 1, fields, client, local: None };
    let route = front.route.as_ref().unwrap();
    let routed = |target| {
        let request = request(target, &[]);
        route.backend(&View { request: Some(&request), client, ..View::default() })
    };
    assert_eq!((routed("/api/x"), routed("/apix")), (Some(Some(1)), None));
    let rules = front.rules.as_ref().unwrap();
    let proxies = Proxies::new(assembled.settings.clone(), 1, Arc::default());
    let moment = Session { client, ..Session::new(&proxies.frontends[0], SystemTime::now()) };
    let mut edits = Vec::new();
    let decision = rules.request(&request("/", &bad), &moment, &mut edits);
    assert_eq!(decision, crate::http::hooks::Decision::Deny(403));
    let decision = rules.request(&request("/api/", &bad), &moment, &mut edits);
    assert_eq!(decision, crate::http::hooks::Decision::Pass);
    let set = crate::http::hooks::Edit::Set("X-Who".into(), b"192.0.2.7:4000".to_vec());
    assert_eq!(edits, [set]);
}

#[test]
fn single_words_reach_the_engine() {
    let text = format!("global\n tune.maxrewrite 16384\n{TEXT}").replace(
        "server w2 10.0.0.2:8080 backup",
        "server w2 10.0.0.2:8080 backup pool-purge-delay 1s on-marked-up shutdown-backup-sessions",
    );
    let (assembled, _) = put_together(&text);
    let [w1, w2] = &assembled.settings.backends[0].servers[..] else { panic!("two servers") };
    assert_eq!((w1.pool_purge_delay, w2.pool_purge_delay), (millis(5000), millis(1000)));
    assert_eq!((w1.up_shuts_backups, w2.up_shuts_backups), (false, true));
    // What rules may add takes no more than half of the buffer.
    assert_eq!(assembled.settings.global.head_limit(), 8192);
}

#[test]
fn a_rule_that_names_a_disabled_backend_sends_nothing_elsewhere() {
    let text = TEXT.replace("backend api\n", "backend api\n disabled\n");
    let (assembled, _) = put_together(&text);
    let front = &assembled.settings.frontends[0];
    let route = front.route.as_ref().unwrap();
    let chosen = |target| {
        let request =
            Request { method: "GET", target, minor: 1, fields: &[], client: None, local: None };
        route.backend(&View { request: Some(&request), ..View::default() })
    };
    assert_eq!((chosen("/api/x"), chosen("/")), (Some(None), None));
}

#[test]
fn names_that_nobody_knows_are_found() {
    let (_, findings) = put_together(
        "listen a\n log nobody local0\n log 127.0.0.1 local0\n bind :1\n timeout client 1s\n \
         timeout server 1s\n timeout connect 1s\n server s nowhere:80\n server t 10.0.0.1\n",
    );
    let said = findings.to_string();
    assert!(said.contains("t.cfg:8:9: the host name 'nowhere' is not known"), "{said}");
    assert!(said.contains("server 't' at '10.0.0.1'"), "{said}");
    assert!(said.contains("t.cfg:2:6: cannot log to 'nobody:514': the host name"), "{said}");
    assert!(!said.contains("log to '127"), "{said}");
}

/// Only those without a value have one that is made of their address.
#[test]
fn servers_at_one_address_would_share_a_cookie() {
    let (_, findings) = put_together(
        "backend b\n mode http\n timeout server 1s\n timeout connect 1s\n cookie S insert dynamic\n\
         \x20dynamic-cookie-key k\n server a 127.0.0.1:1\n server b 127.0.0.1:1 cookie own\n\
         \x20server c 127.0.0.1:1\n server d 127.0.0.1:2\n",
    );
    assert_eq!(
        findings.to_string().trim_end(),
        "[WARNING] t.cfg:9:9: server 'c' has the cookie of server 'a', as it has its address: who is \
         bound to it goes there"
    );
}
