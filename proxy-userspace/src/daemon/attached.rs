//! What is said of what the source is attached to.

use super::{Daemon, Source};
use crate::console::say;

/// So many are named in a line.
const NAMED: usize = 16;

/// All of it in a line; of many only the first are named.
pub(super) fn shown(source: &impl Source) -> String {
    let all = source.attachments();
    let (named, more) = all.split_at(all.len().min(NAMED));
    let mut text = named.join(", ");
    if !more.is_empty() {
        text.push_str(&format!(" and {} more", more.len()));
    }
    match source.waiting() {
        0 => {}
        waiting => text.push_str(&format!(", {waiting} follow")),
    }
    text
}

impl<S: Source> Daemon<S> {
    /// Where the end takes its time, says so.
    pub(super) fn about_to_detach(&self) {
        let all = self.source.attachments().len();
        if all > NAMED {
            say(format_args!("teardown: taking its programs off {all} interfaces"));
        }
    }

    /// What was said to follow has followed.
    pub(super) fn all_attached(&mut self) {
        if std::mem::take(&mut self.awaits_more) {
            let all = self.source.attachments().len();
            say(format_args!("teardown: watching all {all} interfaces"));
        }
    }
}
