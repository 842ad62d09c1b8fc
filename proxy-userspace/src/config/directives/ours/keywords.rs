//! Keywords of `bind` and `server` lines.

use super::{Directive, PROXIES, at};

const fn word(
    name: &'static str,
    arguments: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Directive {
    at(PROXIES, name, arguments, default, meaning)
}

/// Keywords of `bind` lines.
pub const BIND: &[Directive] = &[
    word(
        "accept-proxy",
        "",
        "off",
        "A proxy connects here, and says first whose connection it passes on, in version 1 or 2 of the PROXY protocol; that has to come at once, within `timeout client`.",
    ),
    word("backlog", "N", "the proxy's", "The length of the kernel's queue."),
    word(
        "defer-accept",
        "",
        "off",
        "Accept once the client has sent something (TCP_DEFER_ACCEPT).",
    ),
    word("gid", "NUMBER", "unchanged", "The group of a Unix socket."),
    word("group", "NAME", "unchanged", "The group of a Unix socket."),
    word("id", "N", "counted", "Its number in the statistics."),
    word("interface", "NAME", "any", "Only this network interface."),
    word(
        "maxconn",
        "N",
        "the proxy's",
        "Connections at once on this address; more wait in the kernel.",
    ),
    word("mode", "OCTAL", "0666 less umask", "The permissions of a Unix socket."),
    word("mss", "N", "the system's", "The largest segment (TCP_MAXSEG)."),
    word("name", "NAME", "the address", "Its name in the statistics."),
    word("nice", "N", "0", "Accepted with a notice: every connection has the same rank."),
    word(
        "tcp-ut",
        "TIME",
        "the system's",
        "After how long data that the client does not acknowledge end the connection (TCP_USER_TIMEOUT).",
    ),
    word("tfo", "", "off", "Take data in a SYN (TCP_FASTOPEN)."),
    word("transparent", "", "off", "Bind an address that the host has not (IP_TRANSPARENT)."),
    word("uid", "NUMBER", "unchanged", "The owner of a Unix socket."),
    word("user", "NAME", "unchanged", "The owner of a Unix socket."),
    word("v4v6", "", "the system's", "IPv4 on an IPv6 address too."),
    word("v6only", "", "the system's", "No IPv4 on an IPv6 address."),
];

/// Keywords of `server` and `default-server` lines.
pub const SERVER: &[Directive] = &[
    word("addr", "ADDRESS", "the server's", "The address to check."),
    word("backup", "", "off", "Used only when no other server is up; `no-backup` takes it back."),
    word("check", "", "off", "Health checks; `no-check` takes it back."),
    word(
        "check-send-proxy",
        "",
        "as send-proxy",
        "Checks begin with a PROXY line. They do with `send-proxy` alone where neither `addr` nor `port` says where to check.",
    ),
    word(
        "close",
        "[like haproxy-1.4|haproxy-1.5] [active keep|fin|rst] [passive keep|fin|rst] [abort keep|fin] [half-close TIME] [close-wait TIME] [any-fin] [dry-run] [force] [tunnels ...] [checks ...]",
        "keep",
        "How connections to this server close ([policies.md](policies.md)). What follows `tunnels` is for tunnels alone, what follows `checks` for health checks.",
    ),
    word("cookie", "VALUE", "none", "The value of the backend's `cookie` that leads to it."),
    word("disabled", "", "off", "Starts in maintenance; `enabled` takes it back."),
    word("downinter", "TIME", "inter", "Between checks while the server is down."),
    word("enabled", "", "on", "Takes back a `disabled` of `default-server`."),
    word("error-limit", "N", "10", "So many errors in a row are too many for `observe`."),
    word("fall", "N", "3", "Failed checks until it is down."),
    word("fastinter", "TIME", "inter", "Between checks while it is going up or down."),
    word("id", "N", "counted", "Its number in the statistics (`server` only)."),
    word(
        "init-addr",
        "last|libc|none|ADDRESS[,...]",
        "last,libc",
        "Where the address of a host name comes from when the configuration is put to use: the first way that has one. There is no file for `last`; with `none` the server is in maintenance until `set server ... addr`.",
    ),
    word("inter", "TIME", "2s", "Between checks."),
    word(
        "max-reuse",
        "N",
        "-1",
        "Requests over one connection beyond the first; -1 is without limit.",
    ),
    word("maxconn", "N", "0", "Connections at once; more wait in its queue. 0 is without limit."),
    word("maxqueue", "N", "0", "How many wait in its queue at most. 0 is without limit."),
    word(
        "minconn",
        "N",
        "maxconn",
        "maxconn without load. It grows with the backend's, up to maxconn at fullconn.",
    ),
    word("no-backup", "", "on", "Takes back a `backup` of `default-server`."),
    word("no-check", "", "on", "Takes back a `check` of `default-server`."),
    word(
        "no-check-send-proxy",
        "",
        "on",
        "Takes back a `check-send-proxy` of `default-server`, not a `send-proxy`.",
    ),
    word("no-send-proxy", "", "on", "Takes back a `send-proxy` of `default-server`."),
    word("no-send-proxy-v2", "", "on", "Takes back a `send-proxy-v2` of `default-server`."),
    word(
        "observe",
        "none|layer4|layer7",
        "none",
        "Requests say how a server with `check` is: connections that fail, or answers that are none, are late, or have a status of 500 and more but for 501 and 505.",
    ),
    word(
        "on-error",
        "fastinter|fail-check|sudden-death|mark-down",
        "fail-check",
        "What too many errors in a row are: no more than a reason to check after `fastinter`; a failed check, too; the last but one; or the last.",
    ),
    word(
        "on-marked-down",
        "shutdown-sessions",
        "off",
        "When it goes down, its connections are closed.",
    ),
    word(
        "on-marked-up",
        "shutdown-backup-sessions",
        "off",
        "When it comes up, the backup servers' connections are closed.",
    ),
    word(
        "pool-max-conn",
        "N",
        "-1",
        "Idle connections kept, of those that requests needed at once, and one for each thread; -1 is without another limit, 0 keeps none.",
    ),
    word("pool-purge-delay", "TIME", "5s", "How long an idle connection is kept."),
    word("port", "N", "the server's", "The port to check."),
    word("rise", "N", "2", "Good checks until it is up."),
    word(
        "send-proxy",
        "",
        "off",
        "Say first of each connection whose it is, in version 1 of the PROXY protocol. Such a connection is used for that client alone.",
    ),
    word("send-proxy-v2", "", "off", "The same in version 2, which goes before version 1."),
    word(
        "slowstart",
        "TIME",
        "0",
        "How long its maxconn and, where balance lets weights change, its weight grow once it came up: from 1 to all. Not when the proxy starts.",
    ),
    word(
        "source",
        "ADDRESS[:PORT]",
        "the section's",
        "Where connections to it come from, checks included.",
    ),
    word(
        "tcp-ut",
        "TIME",
        "the system's",
        "After how long data that it does not acknowledge end the connection (TCP_USER_TIMEOUT).",
    ),
    word(
        "track",
        "[BACKEND/]SERVER",
        "none",
        "It has that server's state instead of checks of its own: up, down, stopping, drained, in maintenance.",
    ),
    word("weight", "N", "1", "Its share, 0 to 256; 0 gets nothing new."),
];
