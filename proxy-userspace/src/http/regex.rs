//! Regular expressions of a configuration.

/// A regular expression, equal to another by its text.
#[derive(Debug, Clone)]
pub struct Regex(regex::bytes::Regex);

impl Regex {
    /// Compiles it for bytes of any kind.
    ///
    /// # Errors
    ///
    /// Why it is none that teardown takes.
    pub fn new(pattern: &str, ignore_case: bool) -> Result<Self, String> {
        let mut builder = regex::bytes::RegexBuilder::new(pattern);
        builder.case_insensitive(ignore_case).unicode(false).build().map(Self).map_err(|why| {
            let why = why.to_string();
            let last = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("'{pattern}' is not a regular expression that teardown takes: {last}")
        })
    }

    /// Whether it is found in these bytes.
    #[must_use]
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }

    /// All that is found in these bytes, from left to right.
    pub fn captures_iter<'a>(
        &self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = regex::bytes::Captures<'a>> {
        self.0.captures_iter(bytes)
    }

    /// What is found in these bytes, and in its groups, where it is found.
    #[must_use]
    pub fn captures<'a>(&self, bytes: &'a [u8]) -> Option<regex::bytes::Captures<'a>> {
        self.0.captures(bytes)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Regex {}
