//! Which test programs run in the machines.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{command, workspace};

/// A test program.
pub(super) struct Program {
    /// Cargo's name of it.
    pub(super) name: &'static str,
    /// What it is always told.
    pub(super) flags: &'static str,
    /// Parts of the names of the tests that run, where the user names none; all where this is empty.
    pub(super) words: &'static str,
}

const fn all(name: &'static str) -> Program {
    Program { name, flags: "", words: "" }
}

/// The library's own tests, among them those that load programs.
const LIBRARY: &str = "teardown";

/// What asks the kernel.
pub(super) const KERNEL: &[Program] = &[
    Program { name: LIBRARY, flags: "", words: "kernel:: doctor:: http::spares http::watch" },
    all("kernel_observer"),
    all("kernel_hooks"),
    all("kernel_bytes"),
    all("kernel_table"),
    all("kernel_load"),
    all("kernel_resets"),
    all("kernel_enforce"),
    all("kernel_deadlines"),
    all("kernel_close"),
    all("sockets"),
    all("states"),
    all("policies"),
    all("enforce"),
    all("stand_in"),
    all("observe"),
];

/// What asks systemd.
pub(super) const SERVICE: &[Program] =
    &[Program { name: "service", flags: "--ignored", words: "" }];

/// What cargo built.
pub(super) struct Built {
    tests: HashMap<String, PathBuf>,
    /// The program that the tests call.
    pub(super) teardown: PathBuf,
}

impl Built {
    pub(super) fn test(&self, name: &str) -> Result<&Path> {
        self.tests.get(name).map(PathBuf::as_path).with_context(|| format!("no test {name}"))
    }
}

/// Builds the programs as `cargo test` does.
pub(super) fn build(programs: &[Program]) -> Result<Built> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-run", "--package", "proxy-userspace"]);
    cargo.arg("--message-format=json-render-diagnostics");
    for program in programs {
        if program.name == LIBRARY {
            cargo.arg("--lib");
        } else {
            cargo.args(["--test", program.name]);
        }
    }
    let output = cargo.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} failed ({})", command::line(&cargo), output.status);
    }
    read(&String::from_utf8(output.stdout)?)
}

/// Reads cargo's messages: a JSON object a line.
fn read(messages: &str) -> Result<Built> {
    let mut tests = HashMap::new();
    let mut teardown = None;
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo's messages")?;
        let Some(file) = message["executable"].as_str() else { continue };
        if message["profile"]["test"] == true {
            let name = message["target"]["name"].as_str().unwrap_or_default();
            tests.insert(name.to_owned(), file.into());
        } else {
            teardown = Some(file.into());
        }
    }
    Ok(Built { tests, teardown: teardown.context("cargo built no teardown")? })
}
