//! How many clients may be there, and may come, with HAProxy beside.

use crate::stage::three;
use crate::twins::Twins;

#[test]
fn limits_of_the_process_are_set() {
    let twins = Twins::start(|stage, which| {
        let slow = "  rate-limit sessions 3\n  default_backend web\n";
        let port = 8100 + which;
        format!("{}frontend slow\n  bind 127.0.0.1:{port}\n{slow}", three(stage, which))
    });
    for command in [
        "set maxconn frontend",
        "set maxconn frontend in",
        "set maxconn frontend nobody 1",
        "set maxconn frontend in 10k",
        "set maxconn frontend in -3",
        "set maxconn global",
        "set maxconn global x",
        "set maxconn global 99",
        "set maxconn global 101",
        "set maxconn global -1",
        "set rate-limit connections global",
        "set rate-limit connections global -1",
        "set rate-limit connections global x",
        "operator; set rate-limit connections global 9",
        "set rate-limit sessions global 7k",
    ] {
        twins.same(command);
    }
    let row = |name: &str| {
        let begin = format!("{name},FRONTEND,");
        twins.ask("show stat").map(|text| {
            let row = text.lines().find(|row| row.starts_with(&begin)).expect("a row");
            row.split(',').nth(6).expect("slim").to_owned()
        })
    };
    assert_eq!([row("in"), row("slow")], [["10"; 2], ["100"; 2]]);
    // Nobody comes meanwhile: HAProxy 2.6.12 breaks down where somebody waits for that to end.
    for (value, limit) in [("0", "0"), ("x", "0"), ("10", "10")] {
        twins.same(&format!("set maxconn frontend in {value}"));
        assert_eq!(row("in"), [limit; 2], "{value}");
    }
    for command in ["set rate-limit", "set rate-limit connections", "set rate-limit x global 7"] {
        let usage = twins.ask(command).map(|text| {
            // HAProxy has TLS and compression.
            let lines = text.lines().filter(|line| !line.contains("SSL") && !line.contains("kB/s"));
            lines.collect::<Vec<_>>().join("\n")
        });
        assert_eq!(usage[0], usage[1], "{command}");
    }
    let rates = twins.ask("show stat").map(|text| {
        let row = text.lines().find(|row| row.starts_with("slow,FRONTEND,")).expect("a row");
        row.split(',').nth(34).map(str::to_owned)
    });
    assert_eq!(rates, [const { Some("3") }; 2].map(|rate| rate.map(str::to_owned)));
    twins.same("set rate-limit sessions global 0");
    // What comes is within a second of what came: the fourth waits.
    let waits = |port: u16, clients: u32, what: &str| {
        let begun = std::time::Instant::now();
        for _ in 0..clients {
            assert!(twins.stage.get(port, "/").ends_with("nobody"));
        }
        assert!(begun.elapsed().as_millis() >= 300, "{what}, {port}: {:?}", begun.elapsed());
    };
    for port in [8100, 8101] {
        waits(port, 7, "rate-limit sessions 3");
    }
    twins.same("set rate-limit sessions global 7");
    twins.same("set rate-limit connections global 2");
    let limits = twins.ask("show info").map(|text| {
        let lines = text.lines().filter(|line| {
            line.starts_with("ConnRateL")
                || line.starts_with("SessRateL")
                || line.starts_with("Maxconn")
        });
        lines.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(limits, ["Maxconn: 100 ConnRateLimit: 2 SessRateLimit: 7"; 2]);
    // Two in a second: six take two seconds at least.
    for port in [8080, 8081] {
        let begun = std::time::Instant::now();
        for _ in 0..6 {
            assert!(twins.stage.get(port, "/").ends_with("nobody"));
        }
        assert!(begun.elapsed().as_secs() >= 1, "{port}: {:?}", begun.elapsed());
    }
    twins.end();
}
