//! What health checks say of what they found, with HAProxy's words beside.

use crate::stage::Stage;
use crate::support::until::until_empty;
use crate::twins::Twins;

/// Each a backend's lines, with a server that answers 200 to everything.
const CHECKS: &[&str] = &[
    "option tcp-check\n tcp-check connect port 1",
    "option tcp-check\n tcp-check connect port 1 comment reach",
    "option tcp-check\n tcp-check comment said\n tcp-check connect port 1",
    "option tcp-check\n tcp-check send GET\\ /\\ HTTP/1.0\\r\\n\\r\\n\n tcp-check expect string nothere",
    "option tcp-check\n tcp-check send GET\\ /\\ HTTP/1.0\\r\\n\\r\\n\n \
     tcp-check expect string nothere comment never",
    "option tcp-check\n tcp-check connect\n tcp-check send GET\\ /\\ HTTP/1.0\\r\\n\\r\\n\n \
     tcp-check expect rstring ^HTTP\n tcp-check connect port 1",
    "option tcp-check\n tcp-check expect comment wait string never",
    "option httpchk\n http-check connect port 1\n http-check send meth GET uri /",
    "option httpchk GET /\n http-check expect rstatus ^4",
    "option httpchk GET /\n http-check expect comment hello status 404",
    "option httpchk GET /\n http-check expect hdr name nosuch",
    "option httpchk GET /\n http-check expect comment hello ! hdr name content-length",
    "option httpchk GET /\n http-check expect comment hello string nothere",
    "option httpchk GET /\n http-check expect ! string body",
];

fn backends(stage: &Stage, which: u16) -> String {
    let mut text = String::from(" timeout check 300ms\n default-server check inter 100ms\n");
    text += &format!("frontend in\n bind 127.0.0.1:{}\n default_backend b0\n", 8080 + which);
    for (index, lines) in CHECKS.iter().enumerate() {
        text += &format!("backend b{index}\n {lines}\n server s {}\n", stage.server);
    }
    text += "backend refused\n option tcp-check\n tcp-check send x\n server s 127.0.0.1:1\n";
    text
}

#[test]
fn checks_say_alike_what_they_found() {
    let twins = Twins::start(backends);
    let found = |text: &str| -> Vec<String> {
        let names: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
        let rows = text.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
        let servers = rows.filter(|row| row.get(1) == Some(&"s"));
        let cell = |row: &[&str], name: &str| {
            row[names.iter().position(|it| *it == name).expect("a column")].to_owned()
        };
        let show = |row: Vec<&str>| {
            let columns = ["check_status", "check_code", "last_chk", "check_desc"];
            format!("{}: {}", row[0], columns.map(|name| cell(&row, name)).join("|"))
        };
        servers.map(show).collect()
    };
    // HAProxy marks a check that is under way.
    until_empty("checks tell otherwise", || {
        let [ours, theirs] = twins.ask("show stat").map(|text| found(&text));
        assert_eq!((ours.len(), theirs.len()), (CHECKS.len() + 1, CHECKS.len() + 1));
        let unlike = ours.into_iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
        unlike.map(|(ours, theirs)| format!("{ours}, HAProxy {theirs}")).collect()
    });
    twins.end();
}

#[test]
fn a_backend_goes_down_with_its_last_server_that_is_stopping() {
    let twins = Twins::start(|stage, which| {
        format!(
            "frontend in\n bind 127.0.0.1:{}\n default_backend b\n\
             backend b\n option httpchk GET /404\n http-check disable-on-404\n\
             server s {} check inter 100ms\n",
            8080 + which,
            stage.missing(),
        )
    });
    for line in twins.lines("has no server available") {
        assert_eq!(line, "<128> backend b has no server available!");
    }
    let downs = twins.ask("show stat").map(|text| {
        let row = text.lines().find(|row| row.starts_with("b,BACKEND,")).expect("the backend");
        row.split(',').skip(17).take(6).map(str::to_owned).collect::<Vec<_>>().join(",")
    });
    assert_eq!(downs, ["DOWN,0,0,0,,1"; 2]);
    twins.end();
}
