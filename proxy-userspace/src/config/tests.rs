use super::model::Kind;
use super::options::{CloseMode, Switch};
use super::*;
use crate::http::balance::Algorithm;
use crate::http::settings::{Mode, Tcp};

fn read(text: &str, strictness: Strictness) -> (Config, Findings) {
    let source = Source { name: "test.cfg".into(), text: text.as_bytes().to_vec() };
    parse(&[source], strictness, &|_| None)
}

fn strict(text: &str) -> Config {
    let (config, findings) = read(text, Strictness::Strict);
    assert!(!findings.is_fatal(), "{findings}");
    config
}

/// The configuration that the thread was about, as it was posted: without its first line.
const POSTED: &str = include_str!("../../tests/like_haproxy/thread.cfg");

/// The same with an address in it.
fn thread() -> String {
    POSTED.replace("x.x.x.x", "127.0.0.1")
}

#[test]
fn the_threads_configuration_is_understood() {
    let config = strict(&format!("global\n{}", thread()));
    let proxy = &config.proxies[0];
    assert_eq!((proxy.name.as_str(), proxy.kind, proxy.id), ("webservice", Kind::Listen, 2));
    let settings = &proxy.settings;
    assert_eq!((settings.mode, settings.close_mode), (Mode::Http, CloseMode::ServerClose));
    assert!(settings.switches.has(Switch::DontLogNull) && settings.log_global);
    assert_eq!((settings.redispatch, settings.retries), (Some(-1), 3));
    assert_eq!(settings.timeouts.queue, Some(60_000));
    let name = "X-Forwarded-For".to_owned();
    assert_eq!(settings.balance, Algorithm::header(name, false));
    let check = &settings.check;
    assert_eq!(
        (check.request.method.as_deref(), check.request.target.as_deref()),
        (Some("GET"), Some("/healthcheck"))
    );
    let server = &proxy.servers[1];
    assert_eq!((server.name.as_str(), server.id, server.settings.inter_ms), ("w2", 2, 30_000));
    assert!(server.settings.check);
    assert_eq!(config.global.maxconn, Some(50_000));
}

/// The numbers are those that Debian's HAProxy shows for this.
#[test]
fn what_has_no_id_is_numbered_around_the_others() {
    let config = strict(
        "defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
         listen a\n id 7\n bind :1\n\
         server s0 :1 id 10\n server s1 :1\n server s2 :1 id 1\n server s3 :1\n\
         backend b\nbackend c\nbackend d\n id 2\nlisten e\n bind :2\nbackend f\n disabled\nbackend g\n",
    );
    let ids: Vec<u32> = config.proxies.iter().map(|proxy| proxy.id).collect();
    assert_eq!(ids, [7, 3, 4, 2, 6, 8, 9]);
    let ids: Vec<u32> = config.proxies[0].servers.iter().map(|server| server.id).collect();
    assert_eq!(ids, [10, 2, 1, 4]);
}

/// As HAProxy has it: in every other word they are so within double quotes only.
#[test]
fn addresses_have_variables_without_quotes() {
    let text = "global\n stats socket ${DIR}/s\n\
        defaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
        log $HOST:5140 local0\nlisten a\n description ${HOST}\n source $HOST\n\
        bind ${HOST}:$PORT,:81${NONE}\n server s ${HOST}:1$PORT\n server-template t 1 $HOST:1\n";
    let source = Source { name: "test.cfg".into(), text: text.as_bytes().to_vec() };
    let (config, findings) = parse(&[source], Strictness::Strict, &|name| match name {
        "HOST" => Some("192.0.2.1".to_owned()),
        "PORT" => Some("80".to_owned()),
        "DIR" => Some("/run".to_owned()),
        _ => None,
    });
    assert!(!findings.is_fatal(), "{findings}");
    let proxy = &config.proxies[0];
    let shown = |address: &Address| address.to_string();
    let binds: Vec<String> = proxy.binds.iter().map(|bind| shown(&bind.address)).collect();
    assert_eq!(binds, ["192.0.2.1:80", "0.0.0.0:81"]);
    let servers: Vec<String> = proxy.servers.iter().map(|s| shown(&s.address)).collect();
    assert_eq!(servers, ["192.0.2.1:180", "192.0.2.1:1"]);
    assert_eq!(shown(&config.global.stats_sockets[0].address), "unix@/run/s");
    assert_eq!(proxy.settings.source.as_ref().map(shown).as_deref(), Some("192.0.2.1"));
    assert_eq!(shown(&proxy.settings.logs[0].address), "192.0.2.1:5140");
    assert_eq!(proxy.settings.description.as_deref(), Some("${HOST}"));
}

#[test]
fn only_what_has_no_effect_is_taken_back_in_global() {
    let (_, findings) = read("global\n no strict-limits\n no daemon\n", Strictness::Strict);
    let said = findings.to_string();
    assert!(said.contains("[NOTICE] test.cfg:2:5: 'strict-limits'"), "{said}");
    assert!(said.contains("[ALERT] test.cfg:3:5: 'daemon'"), "{said}");
}

#[test]
fn rules_on_a_messages_length_are_warned_of() {
    let (_, findings) = read(
        "defaults\n mode http\n timeout client 1s\nfrontend f\n bind :1\n\
         \x20http-request del-header content-length\n http-request return hdr Transfer-Encoding x\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    assert!(said.contains("[WARNING] test.cfg:6:26: 'content-length' says where"), "{said}");
    assert!(said.contains("[WARNING] test.cfg:7:26: 'Transfer-Encoding' says where"), "{said}");
}

/// As it was posted: the line `global` was lost when it was copied.
#[test]
fn words_of_global_before_any_section_are_read_as_such() {
    let (config, findings) = read(&thread(), Strictness::Strict);
    let said: Vec<String> = findings.list.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["[WARNING] test.cfg:1:3: 'log' stands before any section: a line 'global' is missing, \
          and taken as written"]
    );
    let whole = strict(&format!("global\n{}", thread()));
    assert_eq!(config.global.maxconn, whole.global.maxconn);
    assert_eq!((config.global.logs.len(), config.proxies.len()), (1, 1));
    let (_, findings) = read("bind :80\n", Strictness::Strict);
    assert!(findings.to_string().contains("'bind' stands before any section"), "{findings}");
}

#[test]
fn every_mistake_is_found_with_its_place_and_the_nearest_word() {
    let (_, findings) = read(
        "global\n maxcon 5\ndefaults\n mode htpp\n timeout conect 5s\n option httpcloze\n\
         listen a\n bind :0\n server s 127.0.0.1:80 chekc\n foo\n stick-table type ip size 1m\n",
        Strictness::Strict,
    );
    let said: Vec<String> = findings.list.iter().map(ToString::to_string).collect();
    let expected = [
        "[ALERT] test.cfg:2:2: unknown keyword 'maxcon' in 'global' section; did you mean 'maxconn'?",
        "[ALERT] test.cfg:4:7: 'mode' expects one of tcp, http, not 'htpp'; did you mean 'http'?",
        "[ALERT] test.cfg:5:10: unknown timeout 'conect'",
        "[ALERT] test.cfg:6:9: unknown option 'httpcloze'; did you mean 'httpclose'?",
        "[ALERT] test.cfg:8:7: 'bind': '0' is no port",
        "[ALERT] test.cfg:9:24: unknown keyword 'chekc' in 'server'; did you mean 'check'?",
        "[ALERT] test.cfg:10:2: unknown keyword 'foo' in 'listen' section",
        "[ALERT] test.cfg:11:2: 'stick-table' is HAProxy's; teardown has not got it",
    ];
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn lenient_reading_passes_over_what_it_does_not_know() {
    let (config, findings) = read(
        "global\n lua-load x\nresolvers r\n nameserver n 1.1.1.1:53\nlisten a\n bind :443 ssl crt x.pem\n\
         cookie X insert nothing\n stick-table type ip size 1m\n nonsense\n\
         server s 127.0.0.1:8443 ssl verify none cookie c1 check inter 5s\n",
        Strictness::Lenient,
    );
    assert!(!findings.is_fatal());
    let server = &config.proxies[0].servers[0];
    assert_eq!((server.settings.inter_ms, server.settings.check), (5_000, true));
    assert_eq!(config.proxies[0].binds.len(), 1);
}

#[test]
fn what_is_haproxys_alone_is_said_to_be() {
    let (_, findings) = read(
        "defaults\n mode http\n timeout client 1s\nfrontend f\n bind :1\n\
         \x20http-request track-sc0 src\n http-request lua.x\n http-request set-map(m) x\n\
         \x20http-response del-map(m)\n http-request set-header X %[uuid]\n\
         \x20http-request set-header X %[path,jwt_verify(txn.a)]\n hash-balance-factor 9\n",
        Strictness::Strict,
    );
    assert_eq!(findings.list.len(), 7, "{findings}");
    for finding in &findings.list {
        assert!(finding.message.ends_with("is HAProxy's; teardown has not got it"), "{finding}");
    }
}

#[test]
fn words_that_are_gone_name_those_that_took_their_place() {
    let (_, findings) =
        read("defaults\n contimeout 5s\n redispatch\n reqirep a b\n", Strictness::Strict);
    let said: Vec<String> = findings.list.iter().map(|found| found.message.clone()).collect();
    assert!(said[0].ends_with("it is 'timeout connect' now"), "{said:?}");
    assert!(said[1].ends_with("it is 'option redispatch' now"), "{said:?}");
    assert_eq!(
        said[2],
        "'reqirep' is gone from HAProxy since 2.1: it is 'http-request replace-header' now"
    );
}

#[test]
fn one_mistake_is_said_once() {
    let (_, findings) = read(
        "defaults\n mode http\n timeout client 1s\nfrontend f\n bind :1\n\
         \x20acl busy sc_http_req_rate(0) gt 20\n acl odd path -x\n http-request deny if busy or odd\n\
         \x20use_backend b if busy\nbackend b\n",
        Strictness::Strict,
    );
    let said: Vec<String> = findings.list.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("[ALERT] test.cfg:6:11: 'sc_http_req_rate' is HAProxy's"));
    assert!(said[1].starts_with("[ALERT] test.cfg:7:15: '-x' is no flag of a test"), "{said:?}");
}

#[test]
fn rules_that_come_before_what_stands_above_them_are_warned_of() {
    let (_, findings) = read(
        "defaults\n mode http\n timeout client 1s\nfrontend f\n bind :1\n use_backend b\n\
         \x20redirect location /x if FALSE\n http-request deny if FALSE\nbackend b\n",
        Strictness::Strict,
    );
    let said: Vec<String> = findings.list.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("[WARNING] test.cfg:7:11: 'redirect' stands behind a 'use_backend'")
    );
    assert!(
        said[1].starts_with("[WARNING] test.cfg:8:15: 'http-request' stands behind a"),
        "{said:?}"
    );
}

#[test]
fn defaults_hold_until_the_next_and_can_be_named() {
    let config = strict(
        "defaults slow\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n mode http\n\
         defaults fast from slow\n timeout connect 1s\n\
         listen a\n bind :1\n server s 127.0.0.1:1\n\
         listen b from slow\n bind :2\n server s 127.0.0.1:1\n",
    );
    let connect = |index: usize| config.proxies[index].settings.timeouts.connect;
    assert_eq!((connect(0), connect(1)), (Some(1_000), Some(9_000)));
    assert_eq!(config.proxies[0].settings.mode, Mode::Http);
}

#[test]
fn labels_know_servers_listeners_and_checks() {
    let (config, _) = read(
        "frontend in\n bind 127.0.0.1:80\n bind :81\n default_backend app\n\
         backend app\n server w1 web1:8080 check port 9000\n server w2 10.0.0.2 \n",
        Strictness::Lenient,
    );
    let resolver = |name: &str| {
        if name == "web1" { vec![[10, 0, 0, 1].into()] } else { Vec::new() }
    };
    let labels = labels::Labels::new(&config, &resolver);
    let of = |text: &str| {
        let label = labels.of(&crate::ends::endpoint(text.parse().unwrap()))?;
        let name = |part: &Option<std::sync::Arc<str>>| part.as_deref().unwrap_or("-").to_owned();
        let check = if label.check { " check" } else { "" };
        let (proxy, backend) = (name(&label.proxy), name(&label.backend));
        Some(format!("{proxy}/{backend}/{}{check}", name(&label.server)))
    };
    assert_eq!(of("10.0.0.1:8080").as_deref(), Some("in/app/w1"));
    assert_eq!(of("10.0.0.1:9000").as_deref(), Some("in/app/w1 check"));
    assert_eq!(of("10.0.0.2:5555").as_deref(), Some("in/app/w2"));
    assert_eq!(of("127.0.0.1:80").as_deref(), Some("in/-/-"));
    assert_eq!(of("192.0.2.1:81").as_deref(), Some("in/-/-"));
    assert_eq!(of("10.0.0.1:1"), None);
}

/// Every directive of the tables is read, wherever the tables let it stand; without its arguments
/// it may complain about those, and about nothing else.
#[test]
fn every_directive_of_the_tables_is_read() {
    use super::directives::{BIND, GLOBAL, Places, SERVER, of_proxies};
    let unread = |text: &str| {
        let (_, findings) = read(text, Strictness::Strict);
        let mut said = findings.list.iter().map(|finding| finding.message.clone());
        said.find(|message| {
            ["please report", "unknown", "cannot stand", "without effect", "teardown has not"]
                .iter()
                .any(|words| message.contains(words))
        })
    };
    for directive in GLOBAL {
        assert_eq!(unread(&format!("global\n {}\n", directive.name)), None, "{}", directive.name);
    }
    let sections = [
        (Places::DEFAULTS, "defaults a"),
        (Places::FRONTEND, "frontend a"),
        (Places::LISTEN, "listen a"),
        (Places::BACKEND, "backend a"),
    ];
    for directive in of_proxies() {
        for (_, section) in sections.iter().filter(|section| directive.places.has(section.0)) {
            let text = format!("{section}\n {}\n", directive.name);
            assert_eq!(unread(&text), None, "{text}");
        }
    }
    for keyword in BIND {
        let text = format!("listen a\n bind :80 {}\n", keyword.name);
        assert_eq!(unread(&text), None, "{text}");
    }
    for keyword in SERVER {
        let text = format!("listen a\n server s 127.0.0.1:80 {}\n", keyword.name);
        assert_eq!(unread(&text), None, "{text}");
    }
}

#[test]
fn what_haproxy_would_read_otherwise_is_an_error_that_says_so() {
    let (_, findings) = read(
        "global\n stats timeout 0\ndefaults\n mode http\n maxconn 10k\n\
         frontend a\n bind :80\n maxconn many\n http-request return status 204 content-type t string x\n\
         backend b\n server s 127.0.0.1:80 weight 50% close passive rst\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for words in [
        "test.cfg:2:16: 'stats timeout' expects a time above 0",
        "test.cfg:5:10: 'maxconn' expects a number from 0 to 2147483647, not '10k'; HAProxy 2.6 reads \
         it as 10",
        "test.cfg:8:10: 'maxconn' expects a number from 0 to 2147483647, not 'many'\n",
        "'return' with status 204 has no body",
        "'weight' expects a number from 0 to 256, not '50%'; HAProxy 2.6 reads it as 50",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn wrong_close_words_give_their_place_and_what_would_be_right() {
    let (_, findings) = read(
        "backend a\n server s 127.0.0.1:80 check close pasive rst weight 3\n \
         server t 127.0.0.1:80 close passive ret\n \
         server u 127.0.0.1:80 close passive rst weight 3 close active fin\n \
         server v 127.0.0.1:80 close passive rst passive fin\n \
         default-server close force\n server close 127.0.0.1:80 close dry-run\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    assert!(said.contains("test.cfg:4:51: 'close' stands once: all its words follow it"), "{said}");
    assert!(said.contains("test.cfg:5:42: 'close': 'passive' stands once, and does in"), "{said}");
    assert_eq!(said.matches("[ALERT]").count(), 4, "{said}");
    assert!(said.contains("test.cfg:2:36: 'close': unknown policy word 'pasive'"), "{said}");
    assert!(said.contains("did you mean 'passive'?"), "{said}");
    assert!(
        said.contains("test.cfg:3:38: 'close': 'passive' expects one of keep, fin, rst"),
        "{said}"
    );
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "([a-z_-]{1,9}|[ \n\"'\\\\#$]|\\{|\\}|server|bind|:80|listen a\n|global\n){0,60}") {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            let _ = read(&text, strictness);
        }
    }
}

#[test]
fn what_changes_nothing_says_so() {
    let (_, findings) = read(
        "defaults\n mode http\n option splice-auto\n\
         frontend a\n bind :80 nice 3\n option tcp-smart-accept\n default_backend b\n\
         backend b\n server s 127.0.0.1:80\n",
        Strictness::Strict,
    );
    let said = findings.to_string();
    for what in ["option splice-auto", "nice", "option tcp-smart-accept"] {
        assert!(said.contains(&format!("'{what}' changes nothing here: ")), "{what}: {said}");
    }
}

mod acls;
mod connections;
mod defaults;
mod rules;
mod servers;
mod words;
