//! docs/configuration.md, made from the tables of directives and words; the test holds the two
//! together.

use super::acl_words::{ENDINGS, FAMILIES, METHODS, PREDEFINED};
use super::converters::{CONVERTERS, maps::MAPS};
use super::directives::{
    ACTION_OTHERS, BIND, BIND_OTHERS, Directive, GLOBAL, GLOBAL_GONE, GLOBAL_OTHERS, MOOT,
    OPTION_GONE, OPTION_OTHERS, PROXY_GONE, PROXY_OTHERS, Places, SECTION_OTHERS, SERVER,
    SERVER_OTHERS, of_proxies,
};
use super::expression::FETCHES;
use super::format;

#[test]
fn the_page_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    if std::env::var_os("TEARDOWN_WRITE_DOCS").is_some() {
        std::fs::write(path, markdown()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == markdown(),
        "docs/configuration.md is not what the directive tables say; \
             TEARDOWN_WRITE_DOCS=1 cargo test writes it anew"
    );
}

/// The whole page.
fn markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## global\n\n");
    table(&mut page, GLOBAL, false);
    page.push_str("\n## defaults, frontend, listen, backend\n\n");
    page.push_str("The letters say where a directive may stand: D, F, L, B.\n\n");
    let mut proxy = of_proxies().copied().collect::<Vec<_>>();
    proxy.sort_by_key(|directive| directive.name);
    table(&mut page, &proxy, true);
    page.push_str("\n## bind\n\n`bind ADDRESS:PORT[-PORT][,...] [KEYWORDS]`\n\n");
    table(&mut page, BIND, false);
    page.push_str("\n## server and default-server\n\n");
    page.push_str("`server NAME ADDRESS:PORT [KEYWORDS]`, `default-server KEYWORDS`\n\n");
    table(&mut page, SERVER, false);
    expressions(&mut page);
    page.push_str("\n## What teardown has not\n\n");
    page.push_str("These are HAProxy's words. `teardown run` refuses them by name; `teardown watch -f` passes over them.\n\n");
    let list = |page: &mut String, title: &str, names: &mut dyn Iterator<Item = &str>| {
        let names = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        page.push_str(&format!("- {title}: {names}\n"));
    };
    list(&mut page, "sections", &mut SECTION_OTHERS.iter().copied());
    list(&mut page, "global", &mut GLOBAL_OTHERS.iter().copied());
    list(&mut page, "proxies", &mut PROXY_OTHERS.iter().copied());
    let title = "http-request, http-response, http-after-response, tcp-request and tcp-response";
    list(&mut page, title, &mut ACTION_OTHERS.iter().copied());
    list(&mut page, "option", &mut OPTION_OTHERS.iter().copied());
    list(&mut page, "bind", &mut BIND_OTHERS.iter().map(|other| other.0));
    list(&mut page, "server", &mut SERVER_OTHERS.iter().map(|other| other.0));
    page.push_str(
        "\nHAProxy 2.6 has these no more; `-c` says since when, and what took their place:\n",
    );
    list(&mut page, "proxies", &mut PROXY_GONE.iter().map(|gone| gone.name));
    list(&mut page, "option", &mut OPTION_GONE.iter().map(|gone| gone.name));
    list(&mut page, "global", &mut GLOBAL_GONE.iter().map(|gone| gone.name));
    page.push_str(
        "\nAccepted in `global`, with a notice, as nothing that teardown has depends on them:\n",
    );
    list(&mut page, "global", &mut MOOT.iter().copied());
    page
}

/// What conditions, rules and log lines are made of.
fn expressions(page: &mut String) {
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let fetches = quoted(&mut FETCHES.iter().copied());
    let maps = quoted(&mut MAPS.iter().copied());
    let converters = quoted(&mut CONVERTERS.into_iter());
    let methods = quoted(&mut METHODS.iter().map(|method| method.0));
    let families = quoted(&mut FAMILIES.into_iter());
    let endings = quoted(&mut ENDINGS.into_iter());
    let predefined = quoted(&mut PREDEFINED.iter().map(|acl| acl.0));
    let variables: Vec<String> = format::names().map(|name| format!("`%{name}`")).collect();
    let variables = variables.join(", ");
    page.push_str(&format!(
        "
## Conditions, samples and formats

A condition is names of acls, each with `!` before it or not, or anonymous ones, `{{ path_beg /api }}`; \
`or` and `||` stand between alternatives.

- samples, in acls and in `%[...]`: {fetches}. `hdr(NAME,-1)` is the field's last occurrence, \
`urlp(NAME,;)` a parameter behind the first `;`. No connection has TLS, so that `ssl_fc` is false. In `mode tcp` `req.len` is how much the client has sent, `req.payload(OFFSET,LENGTH)` some of it, `res.len` and `res.payload` so of the server in `tcp-response`, `req.ssl_sni` the server that a TLS client names, `req.ssl_hello_type` 1 where it is one; `wait_end` is true once nothing more is waited for. `capture.req.hdr(SLOT)` is what was kept of the request in that slot. `var(VAR,DEFAULT)` is what rules have put there; a VAR is \
`sess.NAME` for a client's connection, `txn.NAME` for a request, its response and the log, `req.NAME`, `res.NAME`.
- converters, behind a comma: {converters}. `map_HOW(FILE,DEFAULT)` looks a sample up in a file's lines, each a key \
and a value; HOW is one of {maps}, and `_int` or `_ip` behind it the values' type. Arguments may be in quotes.
- `-m METHOD`: {methods}. `path_beg` is `path -m beg`; so of {families}, with {endings}.
- acls that are there already: {predefined}
- variables in the values of rules and in `log-format`: {variables}. What a rule writes is what is known \
when it is looked at: no server (`%s`) on a request, no bytes yet (`%B`, `%U`).
- samples stand there as `%[src]`; a log line knows no heads any more: of messages only `method`.
- flags, for one as `%{{+Q}}r`, or for all that follow as `%{{+Q}}o`: `Q` in quotes, `X` in hexadecimal, `E` with \
a backslash before what RFC 5424 wants it before, `M` with `-` for what is not there, as log lines begin. \
Of a rule's samples only `E` counts.
"
    ));
}

fn table(page: &mut String, directives: &[Directive], with_places: bool) {
    let places = if with_places { " | where" } else { "" };
    let rule = if with_places { " | ---" } else { "" };
    page.push_str(&format!(
        "| directive{places} | default | meaning |\n| ---{rule} | --- | --- |\n"
    ));
    for directive in directives {
        let mut words = directive.name.to_owned();
        if !directive.arguments.is_empty() {
            words.push(' ');
            words.push_str(&directive.arguments.replace('|', "\\|"));
        }
        let places = if with_places {
            let letters = [
                (Places::DEFAULTS, 'D'),
                (Places::FRONTEND, 'F'),
                (Places::LISTEN, 'L'),
                (Places::BACKEND, 'B'),
            ];
            let letters: String = letters
                .iter()
                .filter(|letter| directive.places.has(letter.0))
                .map(|letter| letter.1)
                .collect();
            format!(" | {letters}")
        } else {
            String::new()
        };
        let default = directive.default.replace('|', "\\|");
        let meaning = directive.meaning.replace('|', "\\|");
        page.push_str(&format!("| `{words}`{places} | {default} | {meaning} |\n"));
    }
}

const INTRODUCTION: &str = "\
# Configuration

teardown reads HAProxy's language: `teardown run -f haproxy.cfg`. Several `-f` are read one after \
the other; a folder stands for its visible `*.cfg` files in byte order. `teardown run -c -f FILE` \
only checks, says everything that is wrong with file, line and column, and ends with exit code 0 \
or 1.

- A line is a directive and its words. `#` begins a comment. Double quotes keep spaces together \
and expand `$NAME`, `${NAME}`, `${NAME-default}` and `${NAME[*]}` from the environment; single \
quotes keep everything as it is; a backslash keeps one character (`\\n`, `\\r`, `\\t` and `\\xNN` \
as in C). A word is UTF-8, also where `\\xNN` makes it.
- Sections: `global`, `defaults [NAME] [from NAME]`, `frontend NAME [from NAME]`, `listen`, \
`backend`, `http-errors NAME`. A proxy begins with what its defaults say: the last `defaults` before it, or the one \
that it names. Words of `global` that stand before any section are read as such, with a warning.
- `.if`, `.elif`, `.else`, `.endif` with `defined()`, `streq()`, `strneq()`, `feature()`, \
`version_atleast()`, `version_before()`; `.notice`, `.warning`, `.alert`, `.diag`. The version is \
that of HAProxy 2.6, whose language this is.
- Times are milliseconds unless they carry a unit: us, ms, s, m, h, d. Sizes: k, m, g.
- Addresses: `10.0.0.1:80`, `[::1]:80`, `name:80`, `:80` and `*:80` for all, with `ipv4@` or `ipv6@` before \
them; `/path` or `unix@path`, `abns@NAME`, `fd@N`. `$NAME` and `${NAME}` in them are the environment's without \
double quotes, too.
- `no option NAME` switches off what `defaults` switched on.
";
