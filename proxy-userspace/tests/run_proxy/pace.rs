//! How fast a server may go, with HAProxy beside: `minconn` and `slowstart`.

use crate::stage::Stage;
use crate::support::until::until;
use crate::twins::Twins;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A server that takes connections and never answers.
fn silent(stage: &Stage) -> SocketAddr {
    let listener = stage.netns.run(|| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || listener.incoming().flatten().collect::<Vec<_>>());
    address
}

type Cells = [String; 4];

/// Cells of a server's row.
fn cells<const N: usize>(text: &str, of: &str, names: [&str; N]) -> [String; N] {
    let head = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let row = text.lines().find(|row| row.starts_with(of)).expect("a row");
    names.map(|name| {
        let at = head.split(',').position(|it| it == name).expect("a column");
        row.split(',').nth(at).expect("a cell").to_owned()
    })
}

#[test]
fn the_limit_follows_the_load() {
    const SERVERS: [(&str, &str); 4] = [
        ("fullconn 2", "minconn 1 maxconn 4"),
        ("fullconn 8", "minconn 1 maxconn 4"),
        ("fullconn 4", "minconn 2 maxconn 4"),
        ("", "minconn 3"),
    ];
    let twins = Twins::start(|stage, which| {
        let server = silent(stage);
        let mut text = " timeout queue 1m\n option abortonclose\n".to_owned();
        for (index, (lines, words)) in (0..).zip(SERVERS) {
            let port = 8000 + 10 * index + which;
            text += &format!(
                "listen l{index}\n bind 127.0.0.1:{port}\n {lines}\n server s {server} {words}\n"
            );
        }
        text
    });
    let mut clients = Vec::new();
    for index in 0..4 {
        // Where requests wait while the load grows, HAProxy looks again only once another ends.
        let most = if index == 1 { 3 } else { 5 };
        for count in 1..=most {
            for which in 0..2 {
                let at = SocketAddr::from(([127, 0, 0, 1], 8000 + 10 * index + which));
                let mut client =
                    twins.stage.netns.run(|| TcpStream::connect(at).expect("it listens"));
                client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it reads");
                clients.push(client);
            }
            let busy = until("the request to be there", || {
                let rows = twins.ask("show stat");
                let rows = rows.map(|text| {
                    let [served, own] = cells(&text, &format!("l{index},s,"), ["scur", "qcur"]);
                    let [anyone] = cells(&text, &format!("l{index},BACKEND,"), ["qcur"]);
                    [served, own, anyone]
                });
                let number = |text: &String| text.parse::<u32>().expect("a number");
                let all = |row: &[String; 3]| row.iter().map(number).sum::<u32>() == count;
                rows.iter().all(all).then_some(rows)
            });
            assert_eq!(busy[0], busy[1], "{count} of {:?}", SERVERS[usize::from(index)]);
        }
    }
    drop(clients);
    twins.end();
}

#[test]
fn a_server_that_came_up_is_spared() {
    let twins = Twins::start(|stage, which| {
        format!(
            "listen l\n bind 127.0.0.1:{}\n server s {} slowstart 3500ms weight 10\n\
             \x20 server other {} weight 10\n\
             listen fixed\n bind 127.0.0.1:{}\n balance static-rr\n\
             \x20 server s {} slowstart 4s weight 10\n",
            8080 + which,
            stage.server,
            stage.server,
            8090 + which,
            stage.server,
        )
    });
    let look = || {
        let names = ["weight", "uweight", "throttle", "status"];
        twins.ask("show stat").map(|text| {
            let [l, fixed] = ["l,s,", "fixed,s,"].map(|of| cells(&text, of, names));
            (l, fixed)
        })
    };
    let [ours, theirs] = look();
    assert_eq!(ours, theirs);
    for server in ["l/s", "fixed/s"] {
        for state in ["down", "up"] {
            twins.same(&format!("set server {server} health {state}"));
        }
    }
    let state = |text: &str| {
        let row = text.lines().find(|row| row.contains(" l 1 s ")).expect("a row").to_owned();
        row.split(' ').nth(5).expect("srv_op_state").to_owned()
    };
    assert_eq!(twins.ask("show servers state").map(|text| state(&text)), ["1", "1"]);
    let sums = twins.ask("show stat").map(|text| cells(&text, "l,BACKEND,", ["weight"]));
    assert_eq!(sums[0], sums[1]);
    let mut seen: [Vec<_>; 2] = Default::default();
    until("both to be warm", || {
        let now = look();
        let warm = now.iter().all(|(l, fixed)| l[2].is_empty() && fixed[2].is_empty());
        for (seen, now) in seen.iter_mut().zip(now) {
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        warm.then_some(())
    });
    // A machine that stands still for a second sees no second.
    let steps = [("1", "6"), ("4", "31"), ("6", "56"), ("9", "81"), ("10", "")];
    let steps = steps.map(|(weight, throttle)| [weight, "10", throttle, "no check"]);
    for seen in &seen {
        let place = |(l, ..): &(Cells, Cells)| steps.iter().position(|step| step == l);
        let places: Option<Vec<usize>> = seen.iter().map(place).collect();
        let places = places.unwrap_or_else(|| panic!("{seen:?}"));
        assert!(places.is_sorted() && places.len() > 2 && places[0] < 2, "{seen:?}");
        // Its weight stays what it is.
        let full =
            |(_, fixed): &(Cells, Cells)| fixed[0] == "10" && ["", "100"].contains(&&*fixed[2]);
        assert!(seen.iter().all(full), "{seen:?}");
    }
    assert_eq!(twins.ask("show servers state").map(|text| state(&text)), ["2", "2"]);
    twins.end();
}
