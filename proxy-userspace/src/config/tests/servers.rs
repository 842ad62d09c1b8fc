//! What cannot be said of servers and of the connections to them.

use super::*;

#[test]
fn no_time_between_probes_is_longer_than_linux_takes() {
    for word in ["clitcpka-idle", "clitcpka-intvl", "srvtcpka-idle", "srvtcpka-intvl"] {
        let said = |time: &str| {
            let text = format!("defaults\n {word} {time}\n");
            read(&text, Strictness::Strict).1.to_string()
        };
        assert_eq!(said("32767"), "");
        for time in ["32768", "32767001ms", "10h"] {
            let error = format!("'{word}' is 32767s at most: Linux takes no more");
            assert!(said(time).contains(&error), "{}", said(time));
        }
    }
    let tcp = |time| Tcp { keepalive: true, idle: time, interval: time, ..Tcp::default() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    tcp(32_767).apply(&listener).expect("that much");
    tcp(32_768).apply(&listener).expect_err("too much");
}

#[test]
fn nobody_tracks_through_a_section_that_is_disabled() {
    let said = |own: &str, middle: &str, root: &str| {
        let text = format!(
            "defaults\n mode tcp\n timeout connect 1s\n timeout server 1s\n\
             backend a\n{own} server s 127.0.0.1:1 track b/s\n\
             backend b\n{middle} server s 127.0.0.1:1 track c/s\n\
             backend c\n{root} server s 127.0.0.1:1 check\n"
        );
        read(&text, Strictness::Strict).1.to_string()
    };
    assert_eq!(said("", "", ""), "");
    assert_eq!(said(" disabled\n", "", ""), "");
    for (section, middle, root) in [("b", " disabled\n", ""), ("c", "", " disabled\n")] {
        let error = format!("it tracks '{section}/s', which is disabled with its section");
        assert!(said("", middle, root).contains(&error), "{}", said("", middle, root));
    }
}
