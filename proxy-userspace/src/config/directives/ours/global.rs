//! Directives of `global`.

use super::{Directive, Places, at};

const fn global(
    name: &'static str,
    arguments: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Directive {
    at(Places::GLOBAL, name, arguments, default, meaning)
}

/// Directives of `global`.
pub const GLOBAL: &[Directive] = &[
    global(
        "chroot",
        "DIR",
        "none",
        "After binding and opening, `DIR` becomes the root. A reload finds its files where they were, outside of it.",
    ),
    global(
        "daemon",
        "",
        "off",
        "Go into the background once everything is bound, loaded and serving; the command ends then, with 1 and the reason where it could not. `--foreground`, or a service manager that waits for a word (`NOTIFY_SOCKET`), overrides it.",
    ),
    global("description", "TEXT", "none", "Shown by `show info`."),
    global("gid", "NUMBER", "unchanged", "The group to run as, by number."),
    global("group", "NAME", "unchanged", "The group to run as."),
    global(
        "h1-accept-payload-with-any-method",
        "",
        "off",
        "Let an HTTP/1.0 GET, HEAD or DELETE have a payload. Old servers look for none, and would take it for the next request, so that 413 refuses it otherwise.",
    ),
    global(
        "hard-stop-after",
        "TIME",
        "none",
        "How long a soft stop may take; what is left is then closed.",
    ),
    global(
        "log",
        "ADDRESS [len N] [format F] FACILITY [LEVEL [MINLEVEL]]",
        "none",
        "A syslog server: UDP address, Unix socket's path, `stdout`, `stderr` or `fd@N`. Formats: local, rfc3164, rfc5424, priority, short, timed, iso, raw.",
    ),
    global(
        "log-send-hostname",
        "[NAME]",
        "off",
        "Put a host name, the system's or `NAME`, into syslog headers.",
    ),
    global("log-tag", "TEXT", "teardown", "The program's name in syslog headers."),
    global(
        "maxconn",
        "N",
        "from ulimit-n",
        "Client connections at once, at most; more wait in the kernel. Where it is not said, half of `ulimit-n` or of the descriptors that the system allows, less a hundred.",
    ),
    global(
        "maxconnrate",
        "N",
        "none",
        "Client connections in a second, at most; more wait in the kernel.",
    ),
    global("maxsessrate", "N", "none", "As `maxconnrate`: a connection is a session here."),
    global("nbthread", "N", "one a core", "Worker threads."),
    global("node", "NAME", "the host's name", "Shown by `show info`."),
    global("pidfile", "FILE", "none", "Where the process's id is written."),
    global(
        "spread-checks",
        "PERCENT",
        "0",
        "Make the checks' intervals longer or shorter by up to so much, 0 to 50.",
    ),
    global(
        "stats socket",
        "ADDRESS [level user|operator|admin] [mode MODE] [user U] [group G] [uid N] [gid N]",
        "none",
        "A runtime socket: HAProxy's commands and teardown's. The level is operator unless said otherwise.",
    ),
    global(
        "stats timeout",
        "TIME",
        "10s",
        "How long a runtime socket's client may be silent, or leave an answer unread. A tail may always.",
    ),
    global("stats maxconn", "N", "10", "Clients of the runtime sockets at once."),
    global(
        "tune.bufsize",
        "SIZE",
        "16384",
        "The longest message head is this less `tune.maxrewrite`; a variable's text is shorter than this.",
    ),
    global("tune.maxrewrite", "SIZE", "1024", "What of a head's room is kept for what rules add."),
    global("tune.http.cookielen", "N", "63", "The most characters that `capture cookie` keeps."),
    global("tune.http.maxhdr", "N", "101", "The most fields in a message head."),
    global("uid", "NUMBER", "unchanged", "The user to run as, by number."),
    global("ulimit-n", "N", "all that the system allows", "The most descriptors of the process."),
    global("user", "NAME", "unchanged", "The user to run as."),
];
