//! Zeek's `likely_server_ports` for TCP, as its base scripts fill it.

/// Whether a server likely listens on `port`: who sends from it first was not the originator.
///
/// Comparisons on purpose: a table would be a jump or a memory read, and BPF has neither to give.
#[inline(always)]
#[must_use]
pub const fn is_likely_server_port(port: u16) -> bool {
    is_web(port) || is_mail(port) || is_data(port) || is_industrial(port) || is_old(port)
}

/// HTTP, SOCKS, TLS.
#[inline(always)]
const fn is_web(p: u16) -> bool {
    p == 80
        || p == 81
        || p == 631
        || p == 1080
        || p == 3128
        || p == 8000
        || p == 8080
        || p == 8888
        || p == 443
        || p == 563
        || p == 585
        || p == 614
        || p == 636
        || p == 989
        || p == 990
        || p == 992
        || p == 993
        || p == 995
        || p == 5223
}

/// Mail and chat.
#[inline(always)]
const fn is_mail(p: u16) -> bool {
    p == 25
        || p == 587
        || p == 110
        || p == 143
        || p == 5222
        || p == 5269
        || p == 6666
        || p == 6667
        || p == 6668
        || p == 6669
}

/// Data bases, directories, files.
#[inline(always)]
const fn is_data(p: u16) -> bool {
    p == 1434
        || p == 3306
        || p == 5432
        || p == 6379
        || p == 389
        || p == 3268
        || p == 88
        || p == 135
        || p == 139
        || p == 445
        || p == 3389
}

/// Industrial control and MQTT.
#[inline(always)]
const fn is_industrial(p: u16) -> bool {
    p == 502 || p == 20000 || p == 1883
}

/// FTP, SSH, DNS.
#[inline(always)]
const fn is_old(p: u16) -> bool {
    p == 21 || p == 22 || p == 53 || p == 2811
}
