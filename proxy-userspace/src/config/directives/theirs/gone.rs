//! Words that HAProxy has taken out before 2.6.

/// A word that is gone.
#[derive(Debug, Clone, Copy)]
pub struct Gone {
    /// The word.
    pub name: &'static str,
    /// The version that has it no more.
    pub since: &'static str,
    /// What to write instead; empty where there is nothing.
    pub instead: &'static str,
}

const fn gone(name: &'static str, since: &'static str, instead: &'static str) -> Gone {
    Gone { name, since, instead }
}

const REPLACE: &str = "http-request replace-path, replace-uri or replace-header";

/// In sections of proxies.
pub const PROXY_GONE: &[Gone] = &[
    gone("appsession", "1.6", ""),
    gone("block", "2.1", "http-request deny"),
    gone("cliexp", "2.1", REPLACE),
    gone("clitimeout", "2.1", "timeout client"),
    gone("contimeout", "2.1", "timeout connect"),
    gone("grace", "2.5", ""),
    gone("monitor-net", "2.2", "http-request return status 200 if { src NETWORK }"),
    gone("redispatch", "2.1", "option redispatch"),
    gone("reqadd", "2.1", "http-request add-header"),
    gone("reqallow", "2.1", "http-request allow"),
    gone("reqdel", "2.1", "http-request del-header"),
    gone("reqdeny", "2.1", "http-request deny"),
    gone("reqiallow", "2.1", "http-request allow"),
    gone("reqidel", "2.1", "http-request del-header"),
    gone("reqideny", "2.1", "http-request deny"),
    gone("reqipass", "2.1", ""),
    gone("reqirep", "2.1", "http-request replace-header"),
    gone("reqitarpit", "2.1", "http-request tarpit"),
    gone("reqpass", "2.1", ""),
    gone("reqrep", "2.1", REPLACE),
    gone("reqtarpit", "2.1", "http-request tarpit"),
    gone("rspadd", "2.1", "http-response add-header"),
    gone("rspdel", "2.1", "http-response del-header"),
    gone("rspdeny", "2.1", "http-response deny"),
    gone("rspidel", "2.1", "http-response del-header"),
    gone("rspideny", "2.1", "http-response deny"),
    gone("rspirep", "2.1", "http-response replace-header"),
    gone("rsprep", "2.1", "http-response replace-header"),
    gone("srvexp", "2.1", "http-response replace-header"),
    gone("srvtimeout", "2.1", "timeout server"),
];

/// Behind `option`.
pub const OPTION_GONE: &[Gone] = &[gone("http_proxy", "2.5", "")];

/// In `global`.
pub const GLOBAL_GONE: &[Gone] =
    &[gone("nbproc", "2.5", "nbthread"), gone("tune.chksize", "2.6", "tune.bufsize")];

impl Gone {
    /// What is to be said of it, as it was written.
    #[must_use]
    pub fn message(&self, written: &str) -> String {
        let Self { since, instead, .. } = self;
        if instead.is_empty() {
            format!("'{written}' is gone from HAProxy since {since}, and nothing took its place")
        } else {
            format!("'{written}' is gone from HAProxy since {since}: it is '{instead}' now")
        }
    }
}
