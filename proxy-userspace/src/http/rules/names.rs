//! `del-header` of all fields whose names match.

use crate::http::acl::TextMatch;
use crate::http::edit::Edit;
use crate::http::regex::Regex;
use crate::http::sample::View;
use std::sync::Arc;

/// Which names.
#[derive(Clone, Debug)]
pub enum Names {
    /// `beg`, `end` and `sub`, with the text in lower case.
    Text(TextMatch, String),
    /// `reg`, of the name in lower case, as HAProxy has it.
    Regex(Regex),
}

impl Names {
    /// What removes the fields that are there, those of the rules before included.
    pub(super) fn removals(&self, view: &View<'_>) -> Vec<Edit> {
        let fields = match (view.response, view.request) {
            (Some(response), _) => response.fields,
            (None, request) => request.map_or(&[][..], |request| request.fields),
        };
        let own = fields.iter().map(|field| field.name);
        let added = view.edits.iter().map(Edit::name).filter(|name| !name.is_empty());
        let mut names: Vec<String> = own.chain(added).map(str::to_ascii_lowercase).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| self.hold(name));
        names.into_iter().map(|name| Edit::Del(Arc::from(name))).collect()
    }

    fn hold(&self, name: &str) -> bool {
        match self {
            Self::Text(how, text) => how.matches(name.as_bytes(), text.as_bytes()),
            Self::Regex(regex) => regex.is_match(name.as_bytes()),
        }
    }
}
