//! Lines to sections: which section a line stands in, and what a section begins with.

use super::args::Args;
use super::condition::Blocks;
use super::diag::Findings;
use super::directives::{self, Places, SECTION_OTHERS};
use super::model::{Config, HttpErrors, Kind, OwnChecks, Proxy, Settings};
use super::source::Source;
use super::token::{self, Environment, Line, Position, Word};
use super::{error_lines, global, proxy};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads files one after the other.
pub(super) struct Reader {
    config: Config,
    findings: Findings,
    lenient: bool,
    /// Every `defaults` section so far; the last one holds for what follows.
    defaults: Vec<Proxy>,
    current: Section,
}

/// The section that lines go to.
enum Section {
    /// Before the first one.
    None,
    Global,
    Defaults(Box<Proxy>),
    Proxy(Box<Proxy>),
    HttpErrors(HttpErrors),
    /// One that teardown has not, or whose first line was wrong: its lines are passed over.
    Foreign,
}

impl Reader {
    pub(super) fn new(lenient: bool) -> Self {
        Self {
            config: Config::default(),
            findings: Findings::default(),
            lenient,
            defaults: Vec::new(),
            current: Section::None,
        }
    }

    /// Ends the last section and hands everything over.
    pub(super) fn finish(mut self) -> (Config, Findings) {
        self.end_section();
        (self.config, self.findings)
    }

    pub(super) fn file(&mut self, source: &Source, environment: Environment<'_>) {
        self.end_section();
        let mut blocks = Blocks::default();
        let mut number = 0;
        for text in source.text.split_inclusive(|&byte| byte == b'\n') {
            number += 1;
            let body = text.strip_suffix(b"\n");
            if body.is_none() && !text.iter().all(u8::is_ascii_whitespace) {
                let at = Position { file: Arc::clone(&source.name), line: number, column: 0 };
                let message = "the last line has no line feed: was the file cut short? \
                               End it with one";
                self.findings.alert(at, message);
            }
            let body = body.unwrap_or(text);
            let Some(line) = self.cut(source, number, body, environment) else { continue };
            if blocks.directive(&line, &mut self.findings, environment) || blocks.is_skipping() {
                continue;
            }
            self.line(&line);
        }
        blocks.end(&mut self.findings);
        self.end_section();
    }

    fn cut(
        &mut self,
        source: &Source,
        number: u32,
        text: &[u8],
        environment: Environment<'_>,
    ) -> Option<Line> {
        let section = match &self.current {
            Section::None | Section::Foreign => String::new(),
            Section::Global => "global".to_owned(),
            Section::Defaults(proxy) if proxy.name.is_empty() => "defaults".to_owned(),
            Section::Defaults(proxy) | Section::Proxy(proxy) => proxy.name.clone(),
            Section::HttpErrors(errors) => errors.name.clone(),
        };
        let variables = |name: &str| match name {
            ".FILE" => Some(source.name.to_string()),
            ".LINE" => Some(number.to_string()),
            ".SECTION" => Some(section.clone()),
            _ => environment(name),
        };
        match token::words(text, &variables) {
            Ok((words, _)) if words.is_empty() => None,
            Ok((mut words, end)) => {
                if let Some(address) = address_of(&words).and_then(|at| words.get_mut(at)) {
                    address.text = token::expanded(&address.text, &variables);
                }
                Some(Line { file: Arc::clone(&source.name), number, words, end })
            }
            Err(error) => {
                let file = Arc::clone(&source.name);
                let at = Position { file, line: number, column: error.column };
                self.findings.alert(at, error.message);
                None
            }
        }
    }

    fn line(&mut self, line: &Line) {
        if self.begins_section(line) {
            return;
        }
        if matches!(self.current, Section::None) && directives::is_global(line.word(0)) {
            // A listing that lost its first line says what it means all the same.
            let message = format!(
                "'{}' stands before any section: a line 'global' is missing, and taken as written",
                line.word(0)
            );
            self.findings.warn(line.at(0), message);
            self.current = Section::Global;
        }
        let mut args = Args::new(line, &mut self.findings, self.lenient);
        match &mut self.current {
            Section::Global => global::directive(&mut args, &mut self.config.global),
            Section::Defaults(proxy) => proxy::directive(&mut args, proxy, Places::DEFAULTS),
            Section::Proxy(proxy) => {
                let place = match proxy.kind {
                    Kind::Frontend => Places::FRONTEND,
                    Kind::Listen => Places::LISTEN,
                    Kind::Backend => Places::BACKEND,
                };
                proxy::directive(&mut args, proxy, place);
            }
            Section::HttpErrors(errors) => error_lines::of_section(&mut args, errors),
            Section::Foreign => {}
            Section::None => {
                let known = ["global", "defaults", "frontend", "listen", "backend"];
                let hint = crate::near::hint(line.word(0), known);
                let message = format!("'{}' stands before any section{hint}", line.word(0));
                self.findings.alert_word(line, 0, message);
                self.current = Section::Foreign;
            }
        }
    }

    fn begins_section(&mut self, line: &Line) -> bool {
        let kind = match line.word(0) {
            "global" => {
                self.end_section();
                Args::after_first(line, &mut self.findings).end("global");
                self.current = Section::Global;
                return true;
            }
            "defaults" => {
                self.end_section();
                self.begin_defaults(line);
                return true;
            }
            "http-errors" => {
                self.end_section();
                self.begin_http_errors(line);
                return true;
            }
            "frontend" => Kind::Frontend,
            "listen" => Kind::Listen,
            "backend" => Kind::Backend,
            word if SECTION_OTHERS.contains(&word) && self.is_header(line) => {
                self.end_section();
                let message = format!("section '{word}' is HAProxy's; teardown has not got it");
                self.findings.alert_word(line, 0, message);
                self.current = Section::Foreign;
                return true;
            }
            _ => return false,
        };
        self.end_section();
        self.begin_proxy(line, kind);
        true
    }

    /// `cache NAME` begins a section; nothing else of that name is a directive of ours.
    fn is_header(&self, line: &Line) -> bool {
        line.words.len() <= 3
    }

    fn begin_defaults(&mut self, line: &Line) {
        let (name, from) = self.header(line, "defaults");
        let settings = match from {
            Some(from) => self.from(&from, line),
            None => Some(Proxy::new(String::new(), Kind::Listen, line.at(0), Settings::default())),
        };
        let Some(base) = settings else { return self.current = Section::Foreign };
        if base.has_rules() {
            let message = format!("'defaults {}' has rules: no other can be made of it", base.name);
            self.findings.alert_word(line, line.words.len() - 1, message);
        }
        let (name, at, acls) = (name.unwrap_or_default(), line.at(0), Vec::new());
        let own_checks = OwnChecks::default();
        self.current = Section::Defaults(Box::new(Proxy { name, at, acls, own_checks, ..base }));
    }

    fn begin_http_errors(&mut self, line: &Line) {
        let mut args = Args::after_first(line, &mut self.findings);
        self.current = match args.need("http-errors", "a name") {
            Some(name) => {
                let errors =
                    HttpErrors { name: name.to_owned(), at: line.at(0), pages: BTreeMap::new() };
                args.end("http-errors");
                Section::HttpErrors(errors)
            }
            None => Section::Foreign,
        };
    }

    fn begin_proxy(&mut self, line: &Line, kind: Kind) {
        let (name, from) = self.header(line, kind.as_str());
        let Some(name) = name else {
            let message = format!("'{}' expects a name", kind.as_str());
            self.findings.alert_word(line, 1, message);
            return self.current = Section::Foreign;
        };
        let bad = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c));
        if let Some(bad) = bad {
            let message =
                format!("a proxy's name has letters, digits, '-', '_', '.' and ':', not '{bad}'");
            self.findings.alert_word(line, 1, message);
        }
        let base = match from {
            Some(from) => self.from(&from, line),
            None => self.defaults.last().cloned().or_else(|| {
                let place = line.at(0);
                Some(Proxy::new(String::new(), kind, place, Settings::default()))
            }),
        };
        let Some(base) = base else { return self.current = Section::Foreign };
        let rules_from = base.has_rules().then(|| base.at.clone());
        self.current = Section::Proxy(Box::new(Proxy {
            name,
            kind,
            id: 0,
            id_at: None,
            at: line.at(0),
            own_checks: OwnChecks::default(),
            rules_from,
            // Those are for the rules of `defaults` alone.
            acls: Vec::new(),
            ..base
        }));
    }

    /// The name and the name behind `from` of a section's first line.
    fn header(&mut self, line: &Line, section: &str) -> (Option<String>, Option<String>) {
        let mut args = Args::after_first(line, &mut self.findings);
        let mut name = None;
        if args.peek() != "from" || line.words.len() < 3 {
            name = args.next().map(str::to_owned);
        }
        let mut from = None;
        if args.eat("from") {
            from = args.need("from", "the name of a defaults section").map(str::to_owned);
        }
        if section != "defaults" && args.peek().contains(':') {
            args.wrong_here(format!("'{0}' stands on a line of its own: bind {0}", args.peek()));
        } else {
            args.end(section);
        }
        (name, from)
    }

    fn from(&mut self, name: &str, line: &Line) -> Option<Proxy> {
        let mut named = self.defaults.iter().filter(|defaults| defaults.name == name);
        let found = named.next_back().cloned();
        if named.next().is_some() {
            let message = format!("there are several 'defaults' sections named '{name}'");
            self.findings.alert_word(line, line.words.len() - 1, message);
        } else if found.is_none() {
            let names = self.defaults.iter().map(|defaults| defaults.name.as_str());
            let hint = crate::near::hint(name, names);
            let message = format!("no 'defaults' section named '{name}' stands before this{hint}");
            self.findings.alert_word(line, line.words.len() - 1, message);
        }
        found
    }

    fn end_section(&mut self) {
        match std::mem::replace(&mut self.current, Section::None) {
            Section::Defaults(proxy) => self.defaults.push(*proxy),
            Section::Proxy(proxy) => self.config.proxies.push(*proxy),
            Section::HttpErrors(errors) => self.config.http_errors.push(errors),
            Section::None | Section::Global | Section::Foreign => {}
        }
    }
}

/// Which word of a line is an address, where variables are the environment's without quotes, too.
fn address_of(words: &[Word]) -> Option<usize> {
    let word = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
    match word(0) {
        "bind" | "log" | "source" => Some(1),
        "server" => Some(2),
        "server-template" => Some(3),
        "stats" if word(1) == "socket" => Some(2),
        _ => None,
    }
}
