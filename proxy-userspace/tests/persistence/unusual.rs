//! Cookies that servers' addresses make, and fields that nobody would write.

use crate::compare;
use crate::cookies::configuration;
use crate::pair::{Case, Pair, date};

/// Servers without a value have one that is made of their address: HAProxy's leads to the same server
/// with teardown, and the other way round.
#[test]
fn values_that_are_made_of_addresses() {
    let mut text = configuration();
    for (name, lines) in [
        ("dynamic", "cookie SRV insert dynamic"),
        (
            "keyed",
            "dynamic-cookie-key more-than-thirty-two-characters-of-secret\n  cookie SRV insert dynamic",
        ),
        ("prefixed", "cookie SRV prefix dynamic\n  dynamic-cookie-key secret"),
        ("unasked", "cookie SRV insert\n  dynamic-cookie-key secret"),
    ] {
        text += &format!(
            "listen {name}\n  bind {name}\n  {lines}\n  server a S1\n  server b S2\n\
             \x20 server c S2 cookie C weight 0\n"
        );
    }
    let pair = Pair::start(&text);
    for listen in ["dynamic", "keyed", "prefixed", "unasked"] {
        // Before and after it has met both servers.
        let mut cookies = vec!["SRV=C".to_owned(), "SRV=".to_owned(), "A=1".to_owned()];
        for _ in 0..2 {
            for cookie in std::mem::take(&mut cookies) {
                let set = "x-reply: Set-Cookie: SRV=own";
                for more in [set, "x-none: y"] {
                    let cookie = format!("Cookie: {cookie}");
                    let (theirs, ours) = pair.ask(&Case::new(listen, "GET /", &[&cookie, more]));
                    assert_eq!(theirs, ours, "{listen}: {cookie}");
                    let set =
                        ours.response.iter().find_map(|line| line.strip_prefix("set-cookie: "));
                    let set = set.and_then(|set| set.split(';').next()).unwrap_or_default();
                    cookies.push(set.to_owned());
                }
            }
        }
        let made = |cookie: &String| cookie.len() >= "SRV=0123456789abcdef".len();
        let expected = matches!(listen, "keyed" | "prefixed");
        assert_eq!(cookies.iter().any(made), expected, "{listen}: {cookies:?}");
    }
}

/// Whatever a field is made of, both read the same out of it.
#[test]
fn fields_that_nobody_would_write() {
    const WORDS: [&str; 28] = [
        "SRV",
        "=",
        ";",
        "; ",
        ",",
        " ",
        "\t",
        "\"",
        "\\",
        "$",
        "A",
        "B",
        "OFF",
        "IDLE",
        "SHARED",
        "~",
        "|",
        "X=1",
        "SRV=A",
        "SRV=B",
        "SRV=own",
        "B|LATE",
        "B|SOON|SOON",
        "A|SOON|LATE",
        "AAAAB",
        "path=/",
        "=own",
        "\r\nCookie: ",
    ];
    let mut state = 1_u32;
    let mut draw = move |count: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % count
    };
    let listens = [
        "insert", "indirect", "postonly", "preserve", "rewrite", "prefix", "passive", "unseen",
        "dated", "idling", "living", "persist", "bare", "none",
    ];
    let cases = (0..1_000).map(|_| {
        let mut field = |most: usize| {
            let words = (0..=draw(most)).map(|_| WORDS[draw(WORDS.len())]).collect::<String>();
            words.replace("SOON", &date(-60)).replace("LATE", &date(-5_000)).trim().to_owned()
        };
        let asked = format!("Cookie: {}", field(9));
        let set = field(7).replace("\r\nCookie: ", ";");
        let answered = format!("x-reply: Set-Cookie: {set}");
        let fields = [asked.as_str(), answered.as_str()];
        let fields = &fields[draw(2)..=1];
        Case::new(listens[draw(listens.len())], ["GET /", "POST /"][draw(2)], fields)
    });
    compare(&configuration(), cases.collect());
}
