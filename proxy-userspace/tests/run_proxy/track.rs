//! Servers that track others, with HAProxy beside.

use crate::twins::Twins;

/// What both show of each server: its state's columns, and the words of `show servers state`.
fn shown(twins: &Twins) -> [Vec<String>; 2] {
    const COLUMNS: [&str; 9] = [
        "status",
        "chkfail",
        "chkdown",
        "tracked",
        "check_status",
        "check_rise",
        "check_health",
        "act",
        "bck",
    ];
    let stats = twins.ask("show stat");
    let states = twins.ask("show servers state");
    [0, 1].map(|which| {
        let head = stats[which].lines().next().unwrap_or_default().trim_start_matches("# ");
        let rows = stats[which].lines().skip(1).filter(|row| row.contains(','));
        let rows = rows.map(|row| {
            let cells: Vec<&str> = row.split(',').collect();
            let cell =
                |name: &&str| cells[head.split(',').position(|it| it == *name).expect("one")];
            format!("{} {}", cells[..2].join("/"), COLUMNS.each_ref().map(cell).join("|"))
        });
        let states = states[which].lines().skip(2).filter(|line| !line.is_empty());
        let states = states.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            [3, 5, 6, 12].map(|word| words[word]).join(" ")
        });
        rows.chain(states).collect()
    })
}

#[test]
fn a_server_has_the_state_of_the_one_it_tracks() {
    let twins = Twins::start(|stage, which| {
        let server = stage.server;
        format!(
            "listen a\n bind 127.0.0.1:{}\n server s1 {server} check inter 1h rise 3 fall 4\n\
             \x20 server s2 {server} track s1\n\
             backend b\n server t {server} track a/s1\n server u {server} backup track t\n\
             backend c\n server off {server} check inter 1h disabled\n server v {server} track off\n\
             \x20 server w {server}\n",
            8080 + which
        )
    });
    // The first check is made at the start.
    crate::support::until::until("the first checks", || {
        twins.ask("show stat").iter().all(|text| text.contains(",L4OK,")).then_some(())
    });
    let same = |after: &str| {
        let [ours, theirs] = shown(&twins);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "after {after}");
        }
        assert_eq!(ours.len(), theirs.len());
    };
    same("the start");
    let steps: [(&str, usize); 25] = [
        ("a/s1 health down", 6),
        ("a/s1 health up", 4),
        ("a/s1 health stopping", 6),
        ("a/s1 health up", 4),
        ("a/s1 state drain", 6),
        ("a/s1 state ready", 4),
        ("a/s1 state maint", 6),
        ("b/t state maint", 0),
        ("a/s1 state ready", 3),
        ("b/t state ready", 2),
        ("b/t state drain", 3),
        ("b/t state ready", 2),
        ("b/t health down", 0),
        ("a/s1 health down", 6),
        ("b/t state maint", 2),
        ("a/s1 health up", 2),
        ("b/t state ready", 2),
        ("b/t state drain", 3),
        ("a/s1 state drain", 4),
        ("b/t state ready", 1),
        ("a/s1 state ready", 4),
        ("a/s1 state maint", 6),
        ("b/t state maint", 0),
        ("b/t state ready", 1),
        ("a/s1 state ready", 4),
    ];
    for (step, lines) in steps {
        twins.same(&format!("set server {step}"));
        for _ in 0..lines {
            let [ours, theirs] = twins.lines(" ");
            assert_eq!(ours, theirs, "after {step}");
        }
        same(step);
    }
    // Who tracks one that begins in maintenance leaves it with that one.
    twins.same("set server c/off state ready");
    for _ in 0..2 {
        let [ours, theirs] = twins.lines(" c/");
        assert_eq!(ours, theirs);
    }
    twins.end();
}
