//! HAProxy's commands that are answered here, by name.

use crate::config::model::AccessLevel;

/// The commands, with who may say them and what `help` says of them.
pub(super) const COMMANDS: &[(&str, AccessLevel, &str)] = &[
    (
        "clear counters",
        AccessLevel::Operator,
        "clear counters [all]                    : clear max statistics counters (or all counters)",
    ),
    (
        "disable agent",
        AccessLevel::Admin,
        "disable agent <bk>/<srv>                : disable agent checks",
    ),
    (
        "disable frontend",
        AccessLevel::Admin,
        "disable frontend <frontend>             : temporarily disable specific frontend",
    ),
    (
        "disable health",
        AccessLevel::Admin,
        "disable health <bk>/<srv>               : disable health checks",
    ),
    (
        "disable server",
        AccessLevel::Admin,
        "disable server <bk>/<srv>               : disable a server for maintenance",
    ),
    (
        "enable agent",
        AccessLevel::Admin,
        "enable agent <bk>/<srv>                 : enable agent checks",
    ),
    (
        "enable frontend",
        AccessLevel::Admin,
        "enable frontend <frontend>              : re-enable specific frontend",
    ),
    (
        "enable health",
        AccessLevel::Admin,
        "enable health <bk>/<srv>                : enable health checks",
    ),
    (
        "enable server",
        AccessLevel::Admin,
        "enable server <bk>/<srv>                : enable a disabled server",
    ),
    (
        "get weight",
        AccessLevel::User,
        "get weight <bk>/<srv>                   : report a server's current weight",
    ),
    (
        "set maxconn frontend",
        AccessLevel::Admin,
        "set maxconn frontend <frontend> <value> : change a frontend's maxconn setting",
    ),
    (
        "set maxconn global",
        AccessLevel::Admin,
        "set maxconn global <value>              : change the per-process maxconn setting",
    ),
    (
        "set maxconn server",
        AccessLevel::Admin,
        "set maxconn server <bk>/<srv> <value>   : change a server's maxconn setting",
    ),
    (
        "set rate-limit",
        AccessLevel::Admin,
        "set rate-limit <setting> <value>        : change a rate limiting value",
    ),
    (
        "set server",
        AccessLevel::Admin,
        "set server <bk>/<srv> [opts]            : change a server's state, weight, address or check",
    ),
    (
        "set weight",
        AccessLevel::Admin,
        "set weight <bk>/<srv> <value>           : change a server's weight",
    ),
    (
        "show acl",
        AccessLevel::User,
        "show acl [@<ver>] <acl>]                : report available acls or dump an acl's contents",
    ),
    (
        "show backend",
        AccessLevel::User,
        "show backend                            : list backends in the current running config",
    ),
    (
        "show cli level",
        AccessLevel::User,
        "show cli level                          : display the level of the current CLI session",
    ),
    (
        "show cli sockets",
        AccessLevel::Operator,
        "show cli sockets                        : dump list of cli sockets",
    ),
    (
        "show env",
        AccessLevel::Operator,
        "show env [var]                          : dump environment variables known to the process",
    ),
    (
        "show errors",
        AccessLevel::Operator,
        "show errors [<px>] [request|response]   : report last request and/or response errors for each proxy",
    ),
    (
        "show map",
        AccessLevel::User,
        "show map [@ver] [map]                   : report available maps or dump a map's contents",
    ),
    (
        "show servers conn",
        AccessLevel::User,
        "show servers conn [<backend>]           : dump server connections status (all or for a single backend)",
    ),
    (
        "show servers state",
        AccessLevel::User,
        "show servers state [<backend>]          : dump volatile server information (all or for a single backend)",
    ),
    (
        "show sess",
        AccessLevel::Operator,
        "show sess [id]                          : report the list of current sessions or this exact session",
    ),
    (
        "show stat",
        AccessLevel::User,
        "show stat [json|no-maint|typed|up]* [<px> <type> <sv>]: report counters for each proxy and server",
    ),
    (
        "show table",
        AccessLevel::User,
        "show table <table> [<filter>]*          : report table usage stats or dump this table's contents (filter: data/key)",
    ),
    (
        "show version",
        AccessLevel::User,
        "show version                            : show version of the current process",
    ),
    (
        "shutdown frontend",
        AccessLevel::Admin,
        "shutdown frontend <frontend>            : stop a specific frontend",
    ),
    (
        "shutdown session",
        AccessLevel::Admin,
        "shutdown session <id>                   : kill a specific session",
    ),
    (
        "shutdown sessions server",
        AccessLevel::Admin,
        "shutdown sessions server <bk>/<srv>     : kill sessions on a server",
    ),
];

/// Those that may end a server's sessions.
pub(super) const SHUT_SESSIONS: &[&str] =
    &["disable server", "enable server", "set server", "shutdown sessions server"];

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn the_docs_name_every_command() {
        let page = include_str!("../../../../docs/haproxy.md").replace('\n', " ");
        let missing = COMMANDS.iter().filter(|command| !page.contains(&format!("`{}`", command.0)));
        assert_eq!(missing.map(|command| command.0).collect::<Vec<_>>(), [""; 0]);
    }
}
