//! The cookies of a field: where each begins and ends, and the field without some of them.

use std::ops::Range;

/// A cookie in a field, by places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The delimiter before it, or the field's beginning.
    pub(super) from: usize,
    /// Its name, blanks around it left out.
    pub(super) name: Range<usize>,
    /// Its value without blanks around it; none where there is no `=`.
    pub(super) value: Option<Range<usize>>,
    /// The delimiter behind it, or the field's end.
    pub(super) end: usize,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first place from `at` on that holds no blank.
fn past_blanks(field: &[u8], at: usize) -> usize {
    at + field[at..].iter().take_while(|byte| is_blank(**byte)).count()
}

/// The place behind the last byte before `at` that is no blank.
fn before_blanks(field: &[u8], from: usize, at: usize) -> usize {
    at - field[from..at].iter().rev().take_while(|byte| is_blank(**byte)).count()
}

/// The place of the first of `stops` from `at` on that is not in quotes, or the end.
pub(super) fn stop(field: &[u8], at: usize, stops: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let is_stop = |&byte: &u8| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return !quoted && stops.contains(&byte),
        }
        false
    };
    field[at..].iter().position(is_stop).map_or(field.len(), |length| at + length)
}

/// The cookie behind the delimiter at `from`, or the `first` one. A name ends at one of `stops`.
fn pair(field: &[u8], from: usize, first: bool, stops: &[u8]) -> Pair {
    let start = past_blanks(field, from + usize::from(!first));
    let is_stop = |byte: &u8| *byte == b'=' || stops.contains(byte);
    let equal =
        field[start..].iter().position(is_stop).map_or(field.len(), |length| start + length);
    let name = start..before_blanks(field, start, equal);
    if field.get(equal) != Some(&b'=') {
        return Pair { from, name, value: None, end: equal };
    }
    let begin = past_blanks(field, equal + 1);
    let end = stop(field, begin, b",;");
    let value = begin..before_blanks(field, begin, end);
    Pair { from, name, value: Some(value), end }
}

/// All cookies of a field, `next` being where each one's successor begins.
pub(super) fn pairs<'a>(
    field: &'a [u8],
    stops: &'static [u8],
    next: impl Fn(&Pair) -> usize + 'a,
) -> impl Iterator<Item = Pair> + 'a {
    let (mut from, mut first) = (0, true);
    std::iter::from_fn(move || {
        if from >= field.len() {
            return None;
        }
        let pair = pair(field, from, std::mem::take(&mut first), stops);
        from = next(&pair);
        Some(pair)
    })
}

/// A field of which parts are replaced, from its beginning to its end. Nothing is copied before the
/// first part.
#[derive(Debug)]
pub(super) struct Cuts<'a> {
    field: &'a [u8],
    out: Vec<u8>,
    /// What stands before this place is done with.
    done: usize,
}

impl<'a> Cuts<'a> {
    pub(super) fn new(field: &'a [u8]) -> Self {
        Self { field, out: Vec::new(), done: 0 }
    }

    /// Puts `text` in the place of a part.
    pub(super) fn replace(&mut self, part: Range<usize>, text: &[u8]) {
        if part.is_empty() && text.is_empty() {
            return;
        }
        self.out.extend_from_slice(&self.field[self.done..part.start]);
        self.out.extend_from_slice(text);
        self.done = part.end;
    }

    /// Takes the blanks around a cookie's `=` out.
    pub(super) fn tighten(&mut self, pair: &Pair) {
        let Some(value) = &pair.value else { return };
        if value.start > pair.name.end + 1 {
            self.replace(pair.name.end..value.start, b"=");
        }
    }

    /// This cookie stays; those before it that are not to be seen, from `hidden` on, go.
    pub(super) fn keep(&mut self, hidden: &mut Option<usize>, pair: &Pair) {
        let Some(from) = hidden.take() else { return };
        if from == 0 {
            return self.replace(0..pair.name.start, b"");
        }
        let from = before_blanks(self.field, self.done, from);
        let delimiter = [self.field[pair.from], b' '];
        self.replace(from..pair.name.start, &delimiter);
    }

    /// What it has become up to `end`; none if it is what it was.
    pub(super) fn finish(mut self, end: usize) -> Option<Vec<u8>> {
        if self.done == 0 && end == self.field.len() {
            return None;
        }
        self.out.extend_from_slice(&self.field[self.done..end]);
        Some(self.out)
    }
}
