//! The runtime socket's commands: what the daemon answers.

use super::help::{self, HELP};
use super::proxy::Running;
use super::readers::Reader;
use super::{Counter, Daemon, Source, half_open, joined_record, losses, record};
use crate::admin::metrics::{self, KernelCounter, Snapshot};
use crate::admin::outlet::Outlet;
use crate::admin::proxy::Control;
use crate::admin::session::{DENIED, Request};
use crate::config::model::AccessLevel;
use crate::policy::close::CloseWords;
use crate::report::clock::Stamp;
use crate::report::columns::{self, HEADER, Paint};
use crate::report::filter::Filter;
use crate::report::json;
use crate::report::record::{Change, Record};
use crate::report::tail::{Look, Tail};
use clap::{Parser, Subcommand};
use proxy_common::key::Endpoint;
use proxy_common::verdict;
use std::fmt::Write;

#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_help_flag = true,
    disable_help_subcommand = true
)]
struct Words {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(subcommand)]
    Del(Del),
    Close(CloseWords),
    #[command(subcommand)]
    Set(Set),
    #[command(subcommand)]
    Show(Box<Show>),
}

#[derive(Debug, Subcommand)]
enum Set {
    Policy {
        #[arg(required = true, allow_hyphen_values = true, value_name = "TARGET WORDS")]
        words: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Del {
    Policy { target: String },
}

#[derive(Debug, Subcommand)]
enum Show {
    Policy,
    Backends,
    Closes {
        #[arg(long, default_value_t = 20)]
        last: usize,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        filter: Filter,
    },
    HalfOpen {
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        filter: Filter,
    },
    Info,
    Metrics,
}

#[derive(Debug, Parser)]
#[command(name = "tail", no_binary_name = true, disable_help_flag = true)]
struct TailWords {
    #[command(flatten)]
    look: Look,
    /// For the terminal that `teardown tail` writes to.
    #[arg(long, hide = true)]
    colour: bool,
    /// For `teardown tail --write`: blocks of a pcapng file in the place of lines.
    #[arg(long, hide = true)]
    record: bool,
}

/// What a command came to.
enum Outcome {
    /// It is done, and answered so.
    Said(String),
    /// It goes on.
    Begun(CloseWords),
}

impl<S: Source> Daemon<S> {
    /// Carries out what a session asked for.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Command { words, level, answer } => {
                if let Some(proxy) = self.proxy.clone().filter(|_| proxy_asked(&words)) {
                    // The workers are asked, and may take their time: the loop goes on.
                    tokio::spawn(async move {
                        let _ = answer.send(ask_proxy(&proxy, &words, level).await);
                    });
                    return;
                }
                if *plain(&words) == ["reload"] && level >= AccessLevel::Admin {
                    self.ask_to_reload(answer);
                    return;
                }
                match self.command(&words, level) {
                    // A session that is gone wants no answer.
                    Outcome::Said(text) => drop(answer.send(text)),
                    Outcome::Begun(words) => self.begin_to_close(&words, answer),
                }
            }
            Request::Tail { words, level, outlet, answer } => {
                let _ = answer.send(self.tail(&words, level, outlet));
            }
            Request::EndTail(id) => {
                self.flush();
                let names = |end: &Endpoint| self.labels.of(end);
                self.readers.end(id, &names, &losses(&self.source, &self.joins));
                let now_ns = self.clock.now();
                self.tapes.end(id, self.clock.unix_ns(now_ns));
            }
        }
    }

    fn tail(
        &mut self,
        words: &[String],
        level: AccessLevel,
        outlet: Outlet,
    ) -> Result<u64, String> {
        let words = TailWords::try_parse_from(words).map_err(|error| error.to_string())?;
        if words.record {
            // It may hold what clients sent, as what `show errors` shows.
            if level < AccessLevel::Operator {
                return Err(DENIED.to_owned());
            }
            if !self.tells_segments {
                return Err(
                    "this daemon does not follow segments: a recording needs one that was \
                            started with 'teardown run --segments' (or --write)\n"
                        .to_owned(),
                );
            }
            return Ok(self.tapes.add(outlet));
        }
        let mut tail = Tail::new(words.look, Paint { colour: words.colour });
        for warning in self.labels.unknown(&tail.look().filter).collect::<Vec<_>>() {
            tail.warn(&warning);
        }
        Ok(self.readers.add(Reader::new(tail, outlet, false)))
    }

    fn command(&mut self, words: &[String], level: AccessLevel) -> Outcome {
        if let (Some(proxy), ["show", "info", rest @ ..]) = (&self.proxy, &*plain(words)) {
            let mut text = proxy.control().info(rest);
            if rest.is_empty() {
                // HAProxy's names first; what only the observer knows stands behind them.
                let theirs = text.lines().map(str::to_owned).collect::<Vec<_>>();
                let is_new = |line: &&str| {
                    let name = line.split(':').next().unwrap_or_default();
                    !theirs.iter().any(|line| line.split(':').next() == Some(name))
                };
                let own = self.show_info();
                for line in own.lines().filter(is_new) {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            return Outcome::Said(text);
        }
        if let ["help", rest @ ..] = &*plain(words) {
            let all = self.help(level);
            let some = rest.first().and_then(|word| help::beginning(&all, word));
            return Outcome::Said(some.unwrap_or(all));
        }
        let changes = matches!(&*plain(words), ["set" | "del" | "close" | "reload", ..]);
        if changes && level < AccessLevel::Admin {
            return Outcome::Said(DENIED.to_owned());
        }
        let command = match Words::try_parse_from(words) {
            Ok(words) => words.command,
            Err(error) if help::names_none(error.kind()) => {
                return Outcome::Said(help::unknown(words, &self.help(level)));
            }
            Err(error) => return Outcome::Said(format!("{error}\n")),
        };
        Outcome::Said(match command {
            Command::Close(words) => return Outcome::Begun(words),
            Command::Set(Set::Policy { words }) => match self.set_policy(&words.join(" ")) {
                Ok(target) => format!("The rule for {target} is in force.\n"),
                Err(error) => format!("{error}\n"),
            },
            Command::Del(Del::Policy { target }) => match self.del_policy(&target) {
                Ok(()) => format!("The rule for {target} is gone.\n"),
                Err(error) => format!("{error}\n"),
            },
            Command::Show(what) => match *what {
                Show::Backends => self.show_backends(),
                Show::Closes { last, json, filter } => self.show_closes(last, json, &filter),
                Show::HalfOpen { json, filter } => self.show_half_open(json, &filter),
                Show::Info => self.show_info(),
                Show::Metrics => self.metrics(),
                Show::Policy => self.show_policies(),
            },
        })
    }

    /// Every command that a session may say.
    fn help(&self, level: AccessLevel) -> String {
        if self.proxy.is_none() {
            return HELP.to_owned();
        }
        let reload = "  reload                                  : read the configuration anew\n";
        format!("{HELP}Of the proxy:\n{reload}{}", Control::help(level))
    }

    fn show_backends(&self) -> String {
        let mut out = Vec::new();
        self.totals.print_backends(&mut out, &|end| self.labels.of(end));
        String::from_utf8_lossy(&out).into_owned()
    }

    fn show_closes(&self, last: usize, json: bool, filter: &Filter) -> String {
        let mut list = List::new(json);
        for closed in self.recent.newest_first() {
            if list.lines == last {
                break;
            }
            let (closed, note) = (&closed.record, closed.note.as_ref());
            let close = verdict::close(&closed.key, &closed.flow);
            let record = Record {
                change: Change::of(&closed.acts, self.policies.name(closed.acts.rule)),
                ..joined_record(&self.source, &self.labels, &self.clock, closed, note, &close)
            };
            list.add(&record, filter);
        }
        list.finish(self.unknown(filter))
    }

    fn show_half_open(&mut self, json: bool, filter: &Filter) -> String {
        let now_ns = self.clock.now();
        let open = match self.half_open.look(|| self.source.flows(), now_ns) {
            Ok(open) => open,
            Err(error) => return format!("The table of connections cannot be read: {error}\n"),
        };
        let mut list = List::new(json);
        for (close, since_ns) in &*open {
            let record = record(&self.source, &self.labels, &self.clock, close);
            let record = half_open::still(record, &self.clock, &self.joins, now_ns, *since_ns);
            list.add(&record, filter);
        }
        list.finish(self.unknown(filter))
    }

    /// What is to be said of a filter's names.
    fn unknown(&self, filter: &Filter) -> String {
        let warnings = self.labels.unknown(filter);
        warnings.map(|warning| format!("[WARNING] {warning}\n")).collect()
    }

    fn metrics(&self) -> String {
        let counters = self.source.counters().unwrap_or_else(|error| {
            tracing::warn!("the counters cannot be read: {error}");
            Vec::new()
        });
        metrics::encode(Snapshot {
            uptime_s: self.started.elapsed().as_secs_f64(),
            tails: self.readers.len(),
            lost_notes: self.joins.lost(),
            backends: self.totals.named_rows(&|end| self.labels.of(end)),
            kernel: counters
                .into_iter()
                .map(|Counter { name, value, is_loss }| KernelCounter { name, value, is_loss })
                .collect(),
        })
    }

    fn show_info(&self) -> String {
        let total = self.totals.total();
        let mut out = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a String does not fail.
            let _ = writeln!(out, "{name}: {value}");
        };
        line("Name", &"teardown");
        line("Version", &env!("CARGO_PKG_VERSION"));
        line("Pid", &std::process::id());
        line("Uptime_sec", &self.started.elapsed().as_secs());
        line("Tails", &self.readers.len());
        line("Closes", &total.closes());
        line("Orig_bytes", &total.orig_bytes);
        line("Resp_bytes", &total.resp_bytes);
        line("Unread_bytes", &total.unread_bytes);
        line("Unacked_bytes", &total.unacked_bytes);
        match self.source.counters() {
            Ok(counters) => {
                for counter in counters {
                    line(&format!("Kernel_{}", counter.name), &counter.value);
                }
            }
            Err(error) => line("Kernel_counters", &error),
        }
        if let Some(lost) = self.joins.lost() {
            line("Lost_notes", &lost);
        }
        line("Not_attached_yet", &self.source.waiting());
        for attached in self.source.attachments() {
            line("Attached", &attached);
        }
        out
    }
}

fn plain(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Whether a command is the proxy's.
fn proxy_asked(words: &[String]) -> bool {
    Control::knows(words)
}

async fn ask_proxy(proxy: &Running, words: &[String], level: AccessLevel) -> String {
    proxy.control().command(words, level).await.unwrap_or_default()
}

/// Closes as text for an answer.
struct List {
    out: Vec<u8>,
    stamp: Stamp,
    json: bool,
    lines: usize,
}

impl List {
    fn new(json: bool) -> Self {
        let out = if json { Vec::new() } else { HEADER.as_bytes().to_vec() };
        Self { out, stamp: Stamp::local(), json, lines: 0 }
    }

    fn add(&mut self, record: &Record<'_>, filter: &Filter) {
        if !filter.passes(record) {
            return;
        }
        self.lines += 1;
        if self.json {
            json::close(&mut self.out, record, &mut self.stamp);
            self.out.push(b'\n');
        } else {
            columns::close(&mut self.out, record, &mut self.stamp, Paint::default());
        }
    }

    /// The list, for people with `warnings` before it.
    fn finish(self, warnings: String) -> String {
        let warnings = if self.json { String::new() } else { warnings };
        warnings + &String::from_utf8_lossy(&self.out)
    }
}
