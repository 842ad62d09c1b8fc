//! What stands between a sample's parentheses.

use crate::http::variable::{Name, Scope};

/// Whether a backslash in arguments keeps this from its meaning; before others it stands for itself.
pub(super) fn is_escaped(character: char) -> bool {
    matches!(character, '\\' | ' ' | '"' | '\'')
}

/// Reads a variable's name.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn variable(text: &str) -> Result<Name, String> {
    let (scope, name) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let scope = match scope {
        "sess" => Scope::Session,
        "txn" => Scope::Transaction,
        "req" => Scope::Request,
        "res" => Scope::Response,
        "proc" => {
            return Err("variables of 'proc' are HAProxy's; teardown has not got them".to_owned());
        }
        _ => return Err(format!("a variable begins with sess., txn., req. or res., not '{text}'")),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(format!("a variable's name has letters, digits, '_' and '.', not '{name}'"));
    }
    Ok(Name { scope, name: name.to_owned() })
}
