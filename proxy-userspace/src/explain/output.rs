//! The forms in which connections are shown.

use super::collect::{Ended, Output};
use super::columns::Columns;
use super::lines::{Form, Lines};
use super::names::Placeholders;
use super::{Args, Foreign, How, Reading};
use crate::report::clock::Stamp;
use std::ops::ControlFlow;
use std::rc::Rc;

/// One of the forms.
pub enum Shown {
    /// Columns, ladders, findings: for people.
    Columns(Box<Columns>),
    /// One line of text for each connection, as it ends.
    Lines(Lines),
}

impl Shown {
    /// The form that `args` ask for.
    #[must_use]
    pub fn new(args: &Args, how: &How, names: Rc<Placeholders>) -> Self {
        let form = match (args.json, args.format_out) {
            (true, _) => Form::Json(Stamp::local()),
            (_, Some(Foreign::Zeek)) => Form::Zeek,
            (_, Some(Foreign::Eve)) => Form::Eve,
            (_, Some(Foreign::IpfixJson)) => Form::Ipfix,
            (_, None) => return Self::Columns(Box::new(Columns::new(args, how, names))),
        };
        Self::Lines(Lines::new(form, names))
    }

    /// Connections shown.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Columns(columns) => columns.count(),
            Self::Lines(lines) => lines.count(),
        }
    }

    /// Says what is left to say.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&mut self, reading: &Reading) -> anyhow::Result<()> {
        match self {
            Self::Columns(columns) => columns.finish(reading)?,
            Self::Lines(lines) => lines.finish(reading)?,
        }
        Ok(())
    }
}

impl Output for Shown {
    fn ladders(&self) -> u64 {
        match self {
            Self::Columns(columns) => columns.ladders(),
            Self::Lines(_) => 0,
        }
    }

    fn waits(&self) -> bool {
        match self {
            Self::Columns(columns) => columns.waits(),
            Self::Lines(_) => false,
        }
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        match self {
            Self::Columns(columns) => columns.close(ended),
            Self::Lines(lines) => lines.close(ended),
        }
    }

    fn pause(&mut self, is_live: bool) -> ControlFlow<()> {
        match self {
            Self::Columns(columns) if is_live => columns.go_live(),
            Self::Columns(_) => ControlFlow::Continue(()),
            Self::Lines(lines) => lines.flush(),
        }
    }
}
