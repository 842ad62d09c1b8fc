//! The kernel's own words for why it sent a RST (`enum sk_rst_reason`, from 6.10 on).

use super::btf::Btf;
use std::collections::HashMap;

/// Names by number, as the running kernel counts them.
#[derive(Clone, Debug, Default)]
pub struct RstReasons(HashMap<u32, String>);

impl RstReasons {
    /// Reads the names; empty on a kernel without reasons.
    #[must_use]
    pub fn of(btf: &Btf) -> Self {
        let names = btf.enumeration("sk_rst_reason");
        Self(names.into_iter().map(|(value, name)| (value, short(&name).to_owned())).collect())
    }

    /// The name of a reason, as `TCP_ABORT_ON_DATA`.
    #[must_use]
    pub fn name(&self, reason: u32) -> Option<&str> {
        self.0.get(&reason).map(String::as_str)
    }
}

/// Without the prefix that all of them share.
fn short(name: &str) -> &str {
    name.strip_prefix("SK_RST_REASON_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_prefix() {
        assert_eq!(short("SK_RST_REASON_NO_SOCKET"), "NO_SOCKET");
        assert_eq!(short("OTHER"), "OTHER");
    }
}
