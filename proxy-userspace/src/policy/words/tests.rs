use super::*;
use proptest::prelude::*;

#[test]
fn every_word_reaches_its_field() {
    let wishes = parse(
        "active fin passive rst abort fin half-close 5s close-wait 1500 any-fin dry-run force",
    )
    .unwrap();
    let policy = Policy {
        active: Wish::FIN,
        passive: Wish::RST,
        abort: Wish::FIN,
        reserved: 0,
        half_close_ms: 5_000,
        close_wait_ms: 1_500,
        bits: ANY_FIN | DRY_RUN | FORCE,
    };
    assert_eq!(wishes, Wishes { traffic: policy, ..Wishes::default() });
    assert_eq!(wishes.for_checks(), policy);
}

#[test]
fn checks_have_their_own_words() {
    let wishes = parse("passive rst checks abort fin half-close 1s").unwrap();
    assert_eq!(wishes.traffic.passive, Wish::RST);
    assert_eq!(wishes.for_checks().passive, Wish::KEEP);
    assert_eq!(wishes.for_checks().abort, Wish::FIN);
    let only = parse("checks abort fin").unwrap();
    assert_eq!(only.traffic, Policy::KEEP);
}

#[test]
fn tunnels_have_their_own_words() {
    let wishes = parse("passive rst tunnels active rst any-fin checks abort fin").unwrap();
    assert_eq!((wishes.traffic.passive, wishes.traffic.active), (Wish::RST, Wish::KEEP));
    assert_eq!(wishes.for_tunnels().active, Wish::RST);
    assert!(wishes.for_tunnels().has(ANY_FIN) && !wishes.for_checks().has(ANY_FIN));
    assert_eq!(parse("passive rst").unwrap().for_tunnels().passive, Wish::RST);
    let other_order = parse("passive rst checks abort fin tunnels active rst any-fin").unwrap();
    assert_eq!(wishes, other_order);
}

#[test]
fn presets_are_a_start_to_build_on() {
    let old = parse("like haproxy-1.4").unwrap();
    assert_eq!(old.traffic.passive, Wish::RST);
    assert_eq!(old.for_checks().abort, Wish::FIN);
    assert_eq!(old.for_tunnels(), Policy::KEEP);
    let own = parse("like haproxy-1.4 tunnels like haproxy-1.5").unwrap();
    assert_eq!(own.for_tunnels().passive, Wish::FIN);
    let new = parse("like haproxy-1.5 active rst").unwrap();
    assert_eq!((new.traffic.passive, new.traffic.active), (Wish::FIN, Wish::RST));
    assert_eq!(new.for_checks(), Policy::KEEP);
    let timed = parse("half-close 5s like haproxy-1.4 force").unwrap();
    assert_eq!((timed.traffic.half_close_ms, timed.for_checks().half_close_ms), (5_000, 5_000));
    assert!(timed.traffic.has(FORCE) && timed.for_checks().abort == Wish::FIN);
}

#[test]
fn take_stops_at_the_servers_next_keyword() {
    let words = [(1, "passive"), (9, "rst"), (13, "weight"), (20, "3")];
    let (wishes, used) = take(&words, 21).unwrap();
    assert_eq!((wishes.traffic.passive, used), (Wish::RST, 2));
}

#[test]
fn wrong_words_give_the_position_and_what_would_be_right() {
    let cases = [
        ("pasive rst", 1, "did you mean 'passive'?"),
        ("passive", 8, "'passive' expects one of keep, fin, rst"),
        ("passive ret", 9, "did you mean 'rst'?"),
        ("abort rst", 7, "'abort' expects one of keep, fin, not 'rst'"),
        ("force half-close soon", 18, "'soon' is not a number with a unit"),
        ("half-close 5x", 12, "unknown unit"),
        ("like haproxy-1.6", 6, "one of haproxy-1.4, haproxy-1.5"),
        ("active fin checks", 18, "'checks' expects"),
        ("checks abort fin checks force", 18, "'checks' stands once"),
        ("active fin tunnels", 19, "'tunnels' expects"),
        ("tunnels force tunnels force", 15, "'tunnels' stands once"),
        ("passive rst passive fin", 13, "'passive' stands once, and does in column 1 already"),
        ("force dry-run force", 15, "'force' stands once"),
        ("half-close 5s half-close 5s", 15, "'half-close' stands once"),
        ("like haproxy-1.4 like haproxy-1.5", 18, "'like' stands once"),
        ("checks abort fin abort fin", 18, "'abort' stands once"),
        ("passive rst like haproxy-1.5", 13, "'like' stands before 'passive'"),
        ("active fin bogus", 12, "unknown policy word 'bogus'"),
        ("", 1, "expects what to do with a close"),
    ];
    for (text, column, part) in cases {
        let error = parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (0u8..3, 0u8..3, 0u8..2, 0u32..=2_147_483_647, 0u32..=2_147_483_647, 0u32..8).prop_map(
        |(active, passive, abort, half_close_ms, close_wait_ms, bits)| Policy {
            active: Wish(active),
            passive: Wish(passive),
            abort: Wish(abort),
            reserved: 0,
            half_close_ms,
            close_wait_ms,
            bits,
        },
    )
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(
        traffic in any_policy(),
        tunnels in proptest::option::of(any_policy()),
        checks in proptest::option::of(any_policy()),
    ) {
        let wishes = Wishes { traffic, tunnels, checks };
        prop_assert_eq!(parse(&wishes.to_string()), Ok(wishes));
    }

    #[test]
    fn no_text_panics(text in ".{0,80}") {
        let _ = parse(&text);
    }
}
