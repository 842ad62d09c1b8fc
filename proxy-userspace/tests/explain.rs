//! `teardown explain` as it is run: the same answer from a capture and from every text of it.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn teardown(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_teardown"))
        .args(arguments)
        .env("TZ", "UTC")
        .env_remove("LC_ALL")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // Apart, as the answer may fill its pipe before the input is read; who stops early is free to.
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    output
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn closes(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fixture(""))
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
        .collect();
    files.sort();
    assert!(files.len() > 50, "the fixtures are there");
    files
}

fn tcpdump(path: &Path, options: &[&str]) -> String {
    let output =
        Command::new("tcpdump").env("TZ", "UTC").args(options).arg("-r").arg(path).output();
    let output = output.expect("tcpdump is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ASCII")
}

/// `IP > Flags [S], …`, as the thread's people posted it.
fn without_addresses(text: &str) -> String {
    let strip = |line: &str| {
        let (before, rest) = line.split_once(" IP ").expect("a packet");
        let (_, flags) = rest.split_once(": Flags").expect("flags");
        format!("{before} IP > Flags{flags}\n")
    };
    text.lines().map(strip).collect()
}

/// The records without the date, which the text of `-n` has not, and, where the text has none,
/// without the addresses.
fn comparable(closes: &[Value], addresses: bool) -> Vec<Value> {
    let mut closes = closes.to_vec();
    for close in &mut closes {
        let time = close["ts"].as_str().expect("a time")[11..].to_owned();
        close["ts"] = time.into();
        if !addresses {
            close["orig"] = Value::Null;
            close["resp"] = Value::Null;
        }
    }
    closes
}

#[test]
fn one_answer_from_the_capture_and_from_every_text_of_it() {
    let mut compared = 0;
    for path in fixtures() {
        let name = path.display().to_string();
        let expected = closes(&teardown(&["explain", "--json", &name], b""));
        assert!(!expected.is_empty(), "{name}");
        let stored = [path.with_extension("n.txt"), path.with_extension("txt")];
        let stored = stored.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        let made = [&["-n"][..], &["-n", "-S"], &["-n", "-tttt", "-v"]].map(|o| tcpdump(&path, o));
        for text in stored.chain(made) {
            let found = closes(&teardown(&["explain", "--json", "-"], text.as_bytes()));
            assert_eq!(comparable(&found, true), comparable(&expected, true), "{name}");
            compared += 1;
        }
        for options in [&["-n"][..], &["-n", "-S"]] {
            let text = without_addresses(&tcpdump(&path, options));
            let found = closes(&teardown(&["explain", "--json", "-"], text.as_bytes()));
            assert_eq!(comparable(&found, false), comparable(&expected, false), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 5 * 50, "{compared}");
}

#[test]
fn what_nothing_tells_apart_is_not_guessed() {
    // Connections that stay half closed side by side, without addresses and without timestamps.
    let path = fixture("1.4.22__thread-config__dodgy__httpchk.back.pcap");
    let text = without_addresses(&tcpdump(&path, &["-n"]));
    let mut bare = String::new();
    for line in text.lines() {
        let (before, options) = line.split_once(", options [").unwrap_or((line, ""));
        let length = options.rsplit_once(']').map_or("", |(_, length)| length);
        bare.push_str(&format!("{before}{length}\n"));
    }
    let output = teardown(&["explain", "-"], bare.as_bytes());
    let said = text_of(&output);
    assert!(said.contains("may belong to more than one connection"), "{said}");
    assert!(said.contains("are not judged"), "{said}");
    // Those that are judged are judged as they were.
    let found = closes(&teardown(&["explain", "--json", "-"], bare.as_bytes()));
    let name = path.display().to_string();
    let expected = comparable(&closes(&teardown(&["explain", "--json", &name], b"")), false);
    for close in comparable(&found, false) {
        assert!(expected.contains(&close), "guessed: {close}");
    }
}

fn text_of(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

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

#[test]
fn damage_is_told_with_its_offset() {
    let whole = std::fs::read(fixture("1.4.22__http-server-close__good-pf_c10.back.pcap")).unwrap();
    let cut = &whole[..whole.len() - 3];
    let output = teardown(&["explain", "--json", "-"], cut);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("damaged at byte"), "{said}");
    assert_eq!(text_of(&output).lines().count(), 1, "what can be read is shown");
    for foreign in [&b"State Recv-Q Send-Q Local Peer\n"[..], b"\x7fELF\0\0\0", b"", b"hello\n"] {
        let output = teardown(&["explain", "-"], foreign);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(foreign));
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn compression_makes_no_difference() {
    let path = fixture("1.4.22__thread-config__imm__production.back.pcap");
    let expected = text(&teardown(&["explain", "--json", &path.display().to_string()], b""));
    for tool in ["gzip", "zstd"] {
        let output = Command::new(tool).arg("-c").arg(&path).output();
        let Ok(output) = output else {
            println!("{tool} is not installed here");
            continue;
        };
        assert!(output.status.success());
        assert_eq!(
            text(&teardown(&["explain", "--json", "-"], &output.stdout)),
            expected,
            "{tool}"
        );
        // Two members, or two frames, are one stream.
        let (head, tail) =
            std::fs::read(&path).map(|all| (all[..900].to_vec(), all[900..].to_vec())).unwrap();
        let compressed = [head, tail].map(|part| {
            let mut child = Command::new(tool)
                .arg("-c")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it runs");
            child.stdin.take().expect("piped").write_all(&part).expect("it reads");
            child.wait_with_output().expect("it ends").stdout
        });
        let both = compressed.concat();
        assert_eq!(text(&teardown(&["explain", "--json", "-"], &both)), expected, "{tool}, twice");
        let output = teardown(&["explain", "--json", "-"], &both[..both.len() - 20]);
        assert_eq!(output.status.code(), Some(1), "{tool}, cut");
    }
}

#[test]
fn the_thread_is_answered() {
    let old = fixture("1.4.22__thread-config__pf__production.back.pcap").display().to_string();
    let new = fixture("1.5.4__thread-config__pf__production.back.pcap").display().to_string();
    let output = teardown(&["diff", &old, &new], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = text_of(&output);
    for wanted in [
        "when the server closes first, the client answers with FIN instead of with RST+ACK: the \
         passive close changed as from HAProxy 1.4 to 1.5 (5 of 5 now, 0 of 5 before)",
        "TIME_WAIT stays with the server more often (5 of 5 now, 0 of 5 before)",
        "'10.9.2.1 passive rst'",
        "RST+ACK 32 ack 598",
        "FIN+ACK 32 ack 598",
    ] {
        assert!(said.contains(wanted), "{wanted}\n{said}");
    }
    let same = teardown(&["diff", &old, &old], b"");
    assert_eq!(same.status.code(), Some(0));
    assert!(text_of(&same).contains("Nothing changed."));
    let json = teardown(&["diff", "--json", "--by", "all", &old, &new], b"");
    assert_eq!(json.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let backends = json["backends"].as_array().expect("a list");
    assert_eq!(backends.len(), 1);
    assert_eq!(backends[0]["old"]["kinds"]["resp fin, orig rst_ack"], 10);
    assert_eq!(backends[0]["new"]["kinds"]["resp fin, orig fin"], 10);
    assert_eq!(backends[0]["said"][0]["old_way_back"], "passive rst");
    let mapped = [
        "diff",
        "--json",
        "--map",
        "10.9.2.1:8000=10.9.2.1:8020",
        "--map",
        "10.9.2.3:8000=10.9.2.3:8020",
        &old,
        &new,
    ];
    let json: Value = serde_json::from_slice(&teardown(&mapped, b"").stdout).expect("JSON");
    assert_eq!(json["backends"][0]["backend"], "10.9.2.1:8020");
    assert_eq!(json["backends"][0]["old"]["connections"], 5);
    for wrong in
        [&["diff", "/nonexistent", &new][..], &["diff", &old], &["diff", "--map", "x", &old, &new]]
    {
        assert_eq!(teardown(wrong, b"").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn folders_are_compared_file_by_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for version in ["1.4.22", "1.5.4"] {
        std::fs::create_dir(folder.path().join(version)).expect("a folder");
        for kind in ["pf", "dodgy"] {
            // Beside each capture lies its text, which must not count again.
            for end in ["pcap", "txt"] {
                let name = format!("{version}__thread-config__{kind}__production.back.{end}");
                std::fs::copy(fixture(&name), folder.path().join(version).join(&name))
                    .expect(&name);
            }
        }
        std::fs::write(folder.path().join(version).join("README.md"), "notes").expect("a note");
    }
    let [old, new] = ["1.4.22", "1.5.4"].map(|v| folder.path().join(v).display().to_string());
    let output = teardown(&["diff", "--json", "--by", "address", &old, &new], b"");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let connections = |backend: &Value| backend["old"]["connections"].as_u64().expect("a count");
    let sum: u64 = json["backends"].as_array().expect("a list").iter().map(connections).sum();
    assert_eq!(sum, 20);
}

#[test]
fn times_of_a_text_stand_as_they_are() {
    let mut explain = Command::new(env!("CARGO_BIN_EXE_teardown"));
    let mut child = explain
        .args(["explain", "-"])
        .env("TZ", "Asia/Tokyo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(THREAD.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(text_of(&output).contains(" 11:17:45.314017 "), "{}", text_of(&output));
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
fn lost_data_is_found() {
    let text = "\
10:00:00.000000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [S], seq 100, win 500, length 0
10:00:00.001000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [S.], seq 900, ack 101, win 500, length 0
10:00:00.002000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [P.], seq 1:11, ack 1, win 500, length 10
10:00:00.003000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [P.], seq 1:1001, ack 11, win 500, length 1000
10:00:00.004000 IP 192.0.2.2.80 > 192.0.2.1.4000: Flags [P.], seq 1001:1501, ack 11, win 500, length 500
10:00:00.005000 IP 192.0.2.1.4000 > 192.0.2.2.80: Flags [R.], seq 11, ack 1001, win 500, length 0
";
    let said = self::text(&teardown(&["explain", "-"], text.as_bytes()));
    assert!(said.contains("500 bytes of the server's were never acknowledged"), "{said}");
    assert!(
        said.contains("the client resets and throws away 500 bytes that the server sent"),
        "{said}"
    );
}
