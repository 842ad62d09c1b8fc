//! What is said of single connections: those of the thread, of a ticket, of the fixtures.

use crate::heads::{pcap, tcp};
use crate::{closes, fixture, teardown, text, text_of, wire};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

/// What the thread's last post shows: `curl --http1.0 api.ipify.org`.
const THREAD: &str = "\
11:17:45.102437 IP > Flags [S], seq 3118574468, win 29200, options [mss 1460,sackOK,TS val 60317 ecr 0,nop,wscale 6], length 0
11:17:45.206749 IP > Flags [S.], seq 9646, ack 3118574469, win 32768, options [mss 1460], length 0
11:17:45.206827 IP > Flags [.], ack 1, win 29200, length 0
11:17:45.207276 IP > Flags [P.], seq 1:78, ack 1, win 29200, length 77
11:17:45.313580 IP > Flags [P.], seq 1:167, ack 78, win 32691, length 166
11:17:45.313642 IP > Flags [.], ack 167, win 30016, length 0
11:17:45.313685 IP > Flags [F.], seq 167, ack 78, win 32691, length 0
11:17:45.314017 IP > Flags [F.], seq 78, ack 168, win 30016, length 0
11:17:45.315372 IP > Flags [.], ack 79, win 32690, length 0
";

#[test]
fn the_threads_nine_lines() {
    let said = text(&teardown(&["explain", "-"], THREAD.as_bytes()));
    assert!(
        said.contains(
            "The server closed first, with FIN, 0.105 ms after its last data; the client answered \
             with FIN 0.332 ms later, acknowledged after 1.355 ms more; clean; nothing lost."
        ),
        "{said}"
    );
    assert!(said.contains("the addresses were removed"), "{said}");
    let records = closes(&teardown(&["explain", "--json", "-"], THREAD.as_bytes()));
    let [close] = &records[..] else { panic!("{records:?}") };
    assert_eq!(close["conn_state"], "SF");
    assert_eq!((&close["orig_bytes"], &close["resp_bytes"]), (&77.into(), &166.into()));
    assert_eq!(close["half_closed_us"], 332);
    // Quoted, wrapped and with a prompt before it, it is the same.
    let quoted: String = THREAD.lines().map(|line| format!("> {line}\n")).collect();
    let wrapped = THREAD.replace(", win", ",\n    win");
    let prompted = format!(
        "root@proxy:~# tcpdump -n port 80\nlistening on eth0\n{THREAD}^C\n9 packets captured\n"
    );
    for text in [quoted, wrapped, prompted] {
        let found = closes(&teardown(&["explain", "--json", "-"], text.as_bytes()));
        assert_eq!(found, records, "{text}");
    }
}

#[test]
fn services_without_a_known_number_are_ports_all_the_same() {
    let packets =
        ["< [S.], seq 900, ack 101", "> [.], ack 1", "< [F.], seq 1, ack 1", "> [R], seq 1"];
    let known = wire(&packets);
    let unknown = known.replace(".4000", ".safetynetp").replace(".80", ".cslistener");
    let found = closes(&teardown(&["explain", "--json", "-"], unknown.as_bytes()));
    let [close] = &found[..] else { panic!("{found:?}") };
    let ends = ["192.0.2.1.safetynetp", "192.0.2.2.cslistener"].map(Value::from);
    let (orig, resp) = (&close["orig"], &close["resp"]);
    assert!(ends.contains(orig) && ends.contains(resp), "{close}");
    // Bare names tell connections no better apart than none.
    for [client, server] in [["anna", "web"], ["x.x.x.x", "y.y.y.y"]] {
        let bare = known.replace("192.0.2.1.4000", client).replace("192.0.2.2.80", server);
        let said = text(&teardown(&["explain", "-"], bare.as_bytes()));
        assert!(said.contains("the addresses were removed"), "{said}");
    }
}

#[test]
fn times_of_a_text_stand_as_they_are() {
    let mut explain = Command::new(env!("CARGO_BIN_EXE_teardown"));
    let mut child = explain
        .args(["explain", "-"])
        // A capture behind it is shown in this host's zone.
        .arg(fixture("1.4.22__http-server-close__good-pf_c10.back.pcap"))
        .env("TZ", "Asia/Tokyo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(THREAD.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(text_of(&output).contains(" 11:17:45.314017 "), "{}", text_of(&output));
}

#[test]
fn the_ladder_says_what_it_means() {
    let name = fixture("1.4.22__http-server-close__good-pf_c10.back.pcap").display().to_string();
    let said = text(&teardown(&["explain", "--proxy", "10.9.2.2", &name], b""));
    assert!(
        said.contains(
            "The server closed first, with FIN on its last data; the proxy answered with RST+ACK"
        ),
        "{said}"
    );
    assert!(said.contains("HAProxy 1.4's passive close"), "{said}");
    assert!(said.contains("GET / HTTP/1.0"), "{said}");
    // The RST+ACK itself acknowledges the data.
    assert!(said.contains("later; nothing lost.") && !said.contains("throws away"), "{said}");
    assert!(said.contains("10.9.2.1:10003 passive fin") || said.contains("passive fin'"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let svg = folder.path().join("ladder.svg").display().to_string();
    text(&teardown(&["explain", "--svg", &svg, &name], b""));
    let picture = std::fs::read_to_string(&svg).expect("the picture");
    assert!(picture.starts_with("<svg") && picture.contains("RST+ACK"), "{picture}");
    let many = fixture("1.4.22__thread-config__imm__production.back.pcap").display().to_string();
    let refused = teardown(&["explain", "--svg", &svg, &many], b"");
    assert_eq!(refused.status.code(), Some(2));
    text(&teardown(&["explain", "--svg", &svg, "--connection", "3", &many], b""));
    assert_eq!(teardown(&["explain", "-c", "99", &many], b"").status.code(), Some(2));
}

/// As a ticket of 2009 holds it: tcpdump 3.9 beside HAProxy 1.4, wrapped by a mail program.
const OLD_TICKET: &str = "\
> $ tcpdump -n -i eth0 port 80
> tcpdump: verbose output suppressed, use -v or -vv for full protocol decode
> listening on eth0, link-type EN10MB (Ethernet), capture size 96 bytes
> 16:48:49.844750 IP 192.0.2.1.34018 > 192.0.2.2.80: S 2844323318:2844323318(0) win 5840
> <mss 1460,sackOK,timestamp 61612 0,nop,wscale 5>
> 16:48:49.845150 IP 192.0.2.2.80 > 192.0.2.1.34018: S 1209330085:1209330085(0) ack 2844323319 win 5792 <mss 1460,sackOK,timestamp 9 61612,nop,wscale 7>
> 16:48:49.845200 IP 192.0.2.1.34018 > 192.0.2.2.80: . ack 1 win 183 <nop,nop,timestamp 61612 9>
> 16:48:49.845300 IP 192.0.2.1.34018 > 192.0.2.2.80: P 1:78(77) ack 1 win 183 <nop,nop,timestamp
> 61612 9>
> 16:48:49.846300 IP 192.0.2.2.80 > 192.0.2.1.34018: . ack 78 win 46 <nop,nop,timestamp 9 61612>
> 16:48:49.848000 IP 192.0.2.2.80 > 192.0.2.1.34018: FP 1:366(365) ack 78 win 46 <nop,nop,timestamp 10 61612>
> 16:48:49.848250 IP 192.0.2.1.34018 > 192.0.2.2.80: R 78:78(0) ack 367 win 216 <nop,nop,timestamp 61613 10>
";

#[test]
fn a_ticket_from_the_days_of_haproxy_1_4_is_read() {
    let said = text(&teardown(&["explain", "-", "--proxy", "192.0.2.1"], OLD_TICKET.as_bytes()));
    for wanted in [
        "7 packets, 7 TCP segments",
        "RSTO (ShADafR)",
        "The server closed first, with FIN on its last data; the proxy answered with RST+ACK 0.250 ms later; nothing lost.",
        "HAProxy 1.4's passive close",
        "the client answers the server's FIN with RST, as HAProxy 1.4 does",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let removed: String = OLD_TICKET
        .replace("192.0.2.1.34018 > 192.0.2.2.80:", ">")
        .replace("192.0.2.2.80 > 192.0.2.1.34018:", ">");
    let close = &closes(&teardown(&["explain", "--json", "-"], removed.as_bytes()))[0];
    assert_eq!(close["conn_state"], "RSTO", "{close}");
    assert_eq!(close["first_closer"], "resp", "{close}");
}

#[test]
fn a_configuration_gives_connections_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("haproxy.cfg");
    let lines = "defaults\n  mode http\nbackend web\n  server w1 10.9.2.1:8000\n  server w2 10.9.2.3:8000\n";
    std::fs::write(&config, lines).expect("a file");
    let config = config.display().to_string();
    let capture = fixture("1.4.22__thread-config__pf__production.back.pcap").display().to_string();
    let all = ["explain", "--json", "-f", &config, &capture];
    let named = closes(&teardown(&all, b""));
    assert_eq!(named.len(), 10);
    let servers = |name: &str| named.iter().filter(|close| close["server"] == name).count();
    assert_eq!((servers("w1"), servers("w2")), (5, 5), "{}", named[0]);
    assert!(named.iter().all(|close| close["backend"] == "web"), "{}", named[0]);
    let chosen =
        teardown(&["explain", "--json", "-f", &config, "--backend", "web/w2", &capture], b"");
    assert_eq!(closes(&chosen).len(), 5);
    let shown = text(&teardown(&["explain", "-f", &config, &capture], b""));
    assert!(shown.contains(" web/w1 ") && shown.contains(" web/w2 "), "{shown}");
    let wrong = teardown(&["explain", "-f", "/nonexistent.cfg", &capture], b"");
    assert_eq!(wrong.status.code(), Some(1), "{}", String::from_utf8_lossy(&wrong.stderr));
}

#[test]
fn names_stand_in_every_form() {
    let lines = "\
10:00:00.000001 IP we\"b.example.54321 > web-1.example.80: Flags [S], seq 100, win 5, length 0
10:00:00.000002 IP web-1.example.80 > we\"b.example.54321: Flags [R.], seq 0, ack 101, win 0, length 0
";
    for form in [&["--json"][..], &["--format-out", "eve"], &["--format-out", "ipfix-json"]] {
        let output = teardown(&[&["explain"], form, &["-"]].concat(), lines.as_bytes());
        let close = &closes(&output)[0];
        let said = close.to_string();
        assert!(said.contains("web-1.example") && !said.contains("100::"), "{said}");
        assert!(said.contains("we\\\\x22b.example"), "{said}");
    }
    let log = text(&teardown(&["explain", "--format-out", "zeek", "-"], lines.as_bytes()));
    assert!(log.contains("\twe\\x22b.example\t54321\tweb-1.example\t80\t"), "{log}");
}

#[test]
fn connections_of_too_many_backends_are_counted() {
    let line = |port| {
        format!(
            "10:00:00.{port:06} IP 10.0.0.1.40000 > 10.0.0.2.{port}: Flags [S], seq 1, win 1, length 0\n"
        )
    };
    let scan: String = (1..=1030).map(line).collect();
    let said = text_of(&teardown(&["explain", "-"], scan.as_bytes()));
    assert!(said.contains("\n6 connection(s) of further backends: no findings\n"), "{said}");
}

#[test]
fn a_half_closed_connection_is_in_the_servers_state_for_suricata() {
    let open = ["> [S], seq 100", "< [S.], seq 900, ack 101", "> [.], ack 1"];
    for (fin, state) in
        [("> [F.], seq 1, ack 1", "close_wait"), ("< [F.], seq 1, ack 1", "fin_wait1")]
    {
        let packets = [&open[..], &[fin]].concat();
        let input = wire(&packets);
        let flows = closes(&teardown(&["explain", "--format-out", "eve", "-"], input.as_bytes()));
        assert_eq!(flows[0]["tcp"]["state"], state, "{flows:?}");
        assert_eq!(flows[0]["flow"]["state"], "established", "{flows:?}");
    }
}

#[test]
fn suricatas_flows_have_its_flags_and_its_age() {
    let input = "\
09:20:00.900000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [SEW], seq 100, win 500, length 0
09:20:01.100000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [S.E], seq 900, ack 101, win 500, length 0
";
    let flows = closes(&teardown(&["explain", "--format-out", "eve", "-"], input.as_bytes()));
    let tcp = &flows[0]["tcp"];
    assert_eq!((&tcp["ecn"], &tcp["cwr"], &tcp["fin"]), (&true.into(), &true.into(), &Value::Null));
    assert_eq!((&tcp["tcp_flags_ts"], &tcp["tcp_flags_tc"]), (&"c2".into(), &"52".into()));
    assert_eq!(flows[0]["flow"]["age"], 1);
}

#[test]
fn zeeks_log_tells_no_bytes_where_no_time_passed() {
    let input = "\
09:20:00.900000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [P.], seq 100:110, ack 7, win 500, length 10
";
    let log = text(&teardown(&["explain", "--format-out", "zeek", "-"], input.as_bytes()));
    let of = |name: &str| {
        let column = |line: &str, at: usize| line.split('\t').nth(at).expect("a column").to_owned();
        let names = log.lines().find_map(|line| line.strip_prefix("#fields\t")).expect("names");
        let at = names.split('\t').position(|field| field == name).expect("the field");
        let row = log.lines().find(|line| !line.starts_with('#')).expect("a row");
        column(row, at)
    };
    // main.zeek sets all three where the duration is more than 0 seconds.
    assert_eq!([of("duration"), of("orig_bytes"), of("resp_bytes")], ["-"; 3]);
    assert_eq!([of("orig_pkts"), of("ip_proto")], ["1", "6"]);
}

#[test]
fn keep_alive_probes_are_no_data() {
    let probe = || tcp(b'>', 100, 901, 0x10, &[0]);
    let answer = || tcp(b'<', 901, 101, 0x10, b"");
    let packets = [
        tcp(b'>', 100, 0, 2, b""),
        tcp(b'<', 900, 101, 0x12, b""),
        tcp(b'>', 101, 901, 0x10, b""),
        probe(),
        answer(),
        probe(),
        answer(),
        // One byte that is lost, and sent again.
        tcp(b'>', 101, 901, 0x18, b"x"),
        tcp(b'>', 101, 901, 0x18, b"x"),
        tcp(b'<', 901, 102, 0x11, b""),
    ];
    let said = text(&teardown(&["explain", "-"], &pcap(&packets)));
    let words =
        "the client asks whether the other end is there, 2 times over 4.000 s: a keep-alive probe";
    assert!(said.contains(words), "{said}");
    assert!(said.contains("the client sends 1 byte, repeated 1 time over 2.000 s"), "{said}");
}
