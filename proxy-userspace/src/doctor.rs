//! `teardown doctor`: what this host offers, and what teardown does without the rest.

mod checks;

use crate::console::has_colour;
use std::io::{self, Write};
use std::process::ExitCode;

/// Arguments of `teardown doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Finding {
    /// It is there.
    Good(String),
    /// It is missing, and teardown works with less.
    Less { found: String, without: &'static str },
    /// It is missing, and teardown cannot observe.
    Fatal { found: String, without: &'static str },
}

/// Runs every check and prints a line for each.
///
/// Exit code 0 where teardown can observe on this host, if with less; 1 where it cannot.
///
/// # Errors
/// Where stdout cannot be written to.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    let findings = checks::all();
    let colour = has_colour(&io::stdout());
    print(&findings, colour, &mut io::stdout().lock())?;
    let fatal = findings.iter().any(|(_, finding)| matches!(finding, Finding::Fatal { .. }));
    Ok(if fatal { ExitCode::from(crate::console::FAILED) } else { ExitCode::SUCCESS })
}

fn print(findings: &[(&str, Finding)], colour: bool, out: &mut impl Write) -> io::Result<()> {
    let paint = |code: &'static str| if colour { code } else { "" };
    let plain = paint("\x1b[0m");
    let mut counts = [0; 3];
    for (what, finding) in findings {
        let (kind, word, hue, found, without) = match finding {
            Finding::Good(found) => (0, "ok", "\x1b[32m", found, None),
            Finding::Less { found, without } => (1, "less", "\x1b[33m", found, Some(without)),
            Finding::Fatal { found, without } => (2, "FAIL", "\x1b[31m", found, Some(without)),
        };
        counts[kind] += 1;
        writeln!(out, "{}{word:<4}{plain}  {what:<18}  {found}", paint(hue))?;
        if let Some(without) = without {
            writeln!(out, "      {:<18}  {without}", "")?;
        }
    }
    let [good, less, fatal] = counts;
    let verdict = match (fatal, less) {
        (0, 0) => "teardown has all that it can use here",
        (0, _) => "teardown can observe here, with less than it could show",
        _ => "teardown cannot observe here",
    };
    writeln!(out, "{verdict}: {good} ok, {less} less, {fatal} fatal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_lost_without_a_piece() {
        let findings = [
            ("kernel", Finding::Good("6.18.1".to_owned())),
            ("tracefs", Finding::Less { found: "not mounted".to_owned(), without: "no reasons" }),
            ("BTF", Finding::Fatal { found: "none".to_owned(), without: "nothing works" }),
        ];
        let mut out = Vec::new();
        print(&findings, false, &mut out).expect("a Vec takes all");
        insta::assert_snapshot!(String::from_utf8_lossy(&out), @r"
        ok    kernel              6.18.1
        less  tracefs             not mounted
                                  no reasons
        FAIL  BTF                 none
                                  nothing works
        teardown cannot observe here: 1 ok, 1 less, 1 fatal
        ");
    }

    #[test]
    fn every_check_comes_to_a_finding() {
        let findings = checks::all();
        assert!(findings.len() >= 12, "{findings:?}");
        assert!(findings.iter().all(|(what, _)| what.len() <= 18), "the column is 18 wide");
    }
}
