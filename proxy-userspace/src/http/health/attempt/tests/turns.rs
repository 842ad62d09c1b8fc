//! What becomes of servers by their checks, and when these come.

use super::*;

#[test]
fn checks_come_earlier_and_later_by_what_spread_checks_says() {
    let time = Duration::from_millis(2_550);
    let around = [0, 128, 255].map(|noise| spread(time, 20, noise).as_millis());
    assert_eq!(around, [2_040, 2_552, 3_060]);
    assert_eq!(spread(time, 0, 255), time);
}

/// As HAProxy 2.6 does: intervals of less than a second don't have the others begin at once.
#[test]
fn first_checks_are_spread_over_the_intervals() {
    let plan = stage(NOBODY.into(), Script::default()).plan;
    let plans =
        [(100, None), (2_000, None), (6_000, None), (9_000, Some(200))].map(|(inter, fast)| {
            let interval = Duration::from_millis(inter);
            Plan { interval, fast: fast.map(Duration::from_millis), ..plan.clone() }
        });
    let begin = [0, 1, 2, 3].map(|index| first_after(&plans, index).as_millis());
    assert_eq!(begin, [0, 500, 3_000, 1_500]);
}

#[test]
fn a_good_check_takes_nobody_down() {
    let stage = stage(NOBODY.into(), Script::default());
    // As out of maintenance, while its checks were disabled.
    stage.around.board.set_health((0, 0), 0);
    let good = Outcome::new(Status::L4Ok, "");
    for health in [1, 4] {
        conclude(&stage.plan, &stage.around, good.clone(), Duration::ZERO);
        assert!(stage.around.server.is_up());
        assert_eq!(stage.around.board.health((0, 0)), health);
    }
    assert_eq!(*stage.heard.lines.lock().unwrap(), [""; 0]);
}

#[test]
fn a_good_check_makes_errors_of_before_count_no_more() {
    let server = settings::Server {
        observe: Some(Observe { layer: Layer::Seven, limit: 3 }),
        ..settings::Server::new("s", SocketAddr::from(NOBODY).into())
    };
    let stage = with(server, Script::default());
    stage.around.board.set_health((0, 0), 4);
    for _ in 0..2 {
        (0..2).for_each(|_| stage.around.server.note(Sign::Wrong));
        conclude(&stage.plan, &stage.around, Outcome::new(Status::L4Ok, ""), Duration::ZERO);
    }
    assert_eq!(stage.around.server.alarms(), 0);
    (0..3).for_each(|_| stage.around.server.note(Sign::Wrong));
    assert_eq!(stage.around.server.alarms(), 1);
}

#[tokio::test]
async fn health_falls_and_rises_and_is_told_as_haproxy_tells_it() {
    let stage = stage(NOBODY.into(), Script::default());
    let outcome = attempt(&stage.plan, &stage.around).await;
    assert_eq!(
        (outcome.status, outcome.info.as_str()),
        (Status::L4Connection, "Connection refused")
    );
    conclude(&stage.plan, &stage.around, outcome, Duration::ZERO);
    assert!(!stage.around.server.is_up());
    let good = Outcome::new(Status::L4Ok, "");
    conclude(&stage.plan, &stage.around, good.clone(), Duration::ZERO);
    assert!(!stage.around.server.is_up(), "rise is 2");
    conclude(&stage.plan, &stage.around, good, Duration::ZERO);
    assert!(stage.around.server.is_up());
    let bad = Outcome::new(Status::L4Timeout, "");
    for _ in 0..2 {
        conclude(&stage.plan, &stage.around, bad.clone(), Duration::ZERO);
        assert!(stage.around.server.is_up(), "fall is 3");
    }
    conclude(&stage.plan, &stage.around, bad, Duration::ZERO);
    assert!(!stage.around.server.is_up());
    let standing = stage.around.board.get((0, 0)).unwrap();
    assert_eq!((standing.failed, standing.ups.downs), (4, 2));
    // At each turn, and at no other check.
    assert_eq!(stage.heard.shut.load(Relaxed), 3);
    let lines = stage.heard.lines.lock().unwrap();
    assert_eq!(
        lines[0],
        "Server b/s is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 0ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue."
    );
    assert_eq!(lines[1], "backend b has no server available!");
    assert_eq!(
        lines[2],
        "Server b/s is UP, reason: Layer4 check passed, check duration: 0ms. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue."
    );
}

#[tokio::test]
async fn a_404_takes_a_server_out_of_the_balance_and_no_further() {
    let script = Script { disable_on_404: true, ..http() };
    let stage = stage(SocketAddr::from(([127, 0, 0, 1], 1)), script);
    let server = &stage.around.server;
    let say =
        |status| conclude(&stage.plan, &stage.around, Outcome::new(status, ""), Duration::ZERO);
    say(Status::L7Ok);
    say(Status::L7OkConditional);
    assert!(server.is_up() && !server.usable());
    say(Status::L7Timeout);
    assert!(server.is_up() && !server.usable(), "a failure is no reason to come back");
    say(Status::L7Ok);
    assert!(server.usable());
    let lines = stage.heard.lines.lock().unwrap();
    let stopping = "Server b/s is stopping, reason: Layer7 check conditionally passed";
    let last = lines.last().expect("a line");
    assert!(lines.iter().any(|line| line.starts_with(stopping)), "{lines:?}");
    assert!(last.starts_with("Server b/s is UP, reason: Layer7 check passed"), "{lines:?}");
}

/// What Debian's HAProxy 2.6.12 says when these are asked for over its socket.
#[tokio::test]
async fn what_an_operator_does_to_a_server_is_said_in_haproxys_words() {
    let stage = stage(SocketAddr::from(([127, 0, 0, 1], 1)), Script::default());
    let (backend, server) = (&stage.around.backend, &stage.around.server);
    let by = ", changed from CLI";
    let online = "0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.";
    let left =
        "0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.";
    let say = |turn, served, why| {
        stage.heard.lines.lock().unwrap().clear();
        tell(&*stage.around.events, (backend, server), turn, 0, served, why);
        stage.heard.lines.lock().unwrap().clone()
    };
    let ready = "Server b/s is UP/READY (leaving forced maintenance).";
    assert_eq!(say(Turn::Ready, false, ""), [ready]);
    assert_eq!(say(Turn::Undrained, false, ""), ["Server b/s is UP (leaving forced drain)."]);
    server.set_health(Health::Down);
    for (turn, why, line) in [
        (
            Turn::Maintenance { drained: false },
            "",
            format!("Server b/s is going DOWN for maintenance. {left}"),
        ),
        (Turn::Down, by, format!("Server b/s is DOWN, changed from CLI. {left}")),
        (Turn::Drain, "", format!("Server b/s enters drain state. {online}")),
        (Turn::Stopping, by, format!("Server b/s is stopping, changed from CLI. {online}")),
    ] {
        assert_eq!(say(turn, true, why), [line.as_str(), "backend b has no server available!"]);
        assert_eq!(say(turn, false, why), [line.as_str()], "it had none before either");
    }
}
