//! What a running HAProxy can be asked for, of which there is only a list here, or none.

use std::ffi::OsString;

/// `show env [<name>]`.
pub(super) fn env(words: &[&str]) -> String {
    let line = |(name, value): (OsString, OsString)| {
        format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
    };
    match words.first() {
        Some(name) => match std::env::vars_os().find(|variable| variable.0 == **name) {
            Some(variable) => line(variable),
            None => "Variable not found\n".to_owned(),
        },
        None => std::env::vars_os().map(line).collect(),
    }
}

/// `show acl [<acl>]` and `show map [<map>]`: what may be changed while it runs, and that is none.
pub(super) fn patterns(what: &str, words: &[&str]) -> String {
    match words {
        [] => "# id (file) description\n".to_owned(),
        _ => format!("Unknown {what} identifier. Please use #<id> or <file>.\n"),
    }
}

/// `show table [<table>]`: there is none.
pub(super) fn tables(words: &[&str]) -> String {
    if words.is_empty() { String::new() } else { "No such table\n".to_owned() }
}
