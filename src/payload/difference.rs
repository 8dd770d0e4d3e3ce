//! Two descriptions compared, one of which may have been written by anyone.

use core::fmt::{self, Display, Formatter};

/// See [`Schema::difference`](super::Schema::difference).
pub(super) fn describe(expected: &str, found: &str) -> Option<String> {
    let (Some(expected), Some(found)) = (Description::parse(expected), Description::parse(found)) else {
        return Some("the region's description of its payload is not readable".to_owned());
    };
    for (index, part) in expected.parts.iter().enumerate() {
        match found.parts.get(index) {
            Some(other) if part.same(other) => {}
            Some(other) => return Some(depart(&expected, &found, part, other)),
            None if found.complete() => return Some(missing(part)),
            None => break,
        }
    }
    if let Some(other) = found.parts.get(expected.parts.len()) {
        return Some(unexpected(other));
    }
    // Of a text that was cut off, the first line still tells of the payload as a whole.
    let (expected, found) = (expected.whole?, found.whole?);
    (expected != found).then(|| format!("the payload: expected {}, found {}", Shown(expected), Shown(found)))
}

/// Names the difference of the first two parts that are not the same in both texts.
fn depart(expected: &Description<'_>, found: &Description<'_>, part: &Part<'_>, other: &Part<'_>) -> String {
    if part.path == other.path {
        return retyped(part, other);
    }
    match (found.part(part.path), expected.part(other.path)) {
        (Some(moved), Some(_)) => format!("the fields are in another order: {}", retyped(part, moved)),
        (Some(_), None) => unexpected(other),
        (None, Some(_)) if found.complete() => missing(part),
        (None, None) if (part.kind, part.place) == (other.kind, other.place) => {
            format!("{part} is named `{}` in the region", Shown(other.path))
        }
        _ => format!("expected {part}: {}; found {other}: {}", part.details(), other.details()),
    }
}

fn missing(part: &Part<'_>) -> String {
    format!("{part} is missing in the region")
}

fn unexpected(part: &Part<'_>) -> String {
    format!("{part} is not expected")
}

/// Names the difference of two parts of one name.
fn retyped(expected: &Part<'_>, found: &Part<'_>) -> String {
    differing_variant(expected, found)
        .unwrap_or_else(|| format!("{expected}: expected {}, found {}", expected.details(), found.details()))
}

/// Names the first variant that only one of two enums has, if they are stored alike.
fn differing_variant(expected: &Part<'_>, found: &Part<'_>) -> Option<String> {
    let ((integer, variants), (other_integer, others)) = (expected.variants()?, found.variants()?);
    if integer != other_integer {
        return None;
    }
    let only_in = |these: &'_ str, those: &'_ str| {
        these.split(", ").find(|this| those.split(", ").all(|that| that != *this)).map(str::to_owned)
    };
    match (only_in(variants, others), only_in(others, variants)) {
        (Some(absent), Some(added)) => {
            Some(format!("{expected}: expected variant `{}`, found `{}`", Shown(&absent), Shown(&added)))
        }
        (Some(absent), None) => Some(format!("{expected}: variant `{}` is missing in the region", Shown(&absent))),
        (None, Some(added)) => Some(format!("{expected}: variant `{}` is not expected", Shown(&added))),
        (None, None) => None,
    }
}

/// What can be read of a text.
struct Description<'a> {
    /// Size, alignment and number of parts, unless the text ends before.
    whole: Option<&'a str>,
    /// How many parts the type has.
    fields: usize,
    /// Those whose lines are all there.
    parts: Vec<Part<'a>>,
}

impl<'a> Description<'a> {
    /// Splits a text into its lines and these into their words; nothing if it is no description.
    fn parse(text: &'a str) -> Option<Self> {
        let Some((first, rest)) = text.split_once('\n') else {
            return Some(Self { whole: None, fields: usize::MAX, parts: Vec::new() });
        };
        let (_, whole) = first.split_once(": ")?;
        let (_, fields) = whole.rsplit_once(", fields ")?;
        // What follows the last line break is a line that was cut off, or nothing.
        let lines = rest.rsplit_once('\n').map_or("", |(lines, _)| lines);
        Some(Self {
            whole: Some(whole),
            fields: fields.parse().ok()?,
            parts: lines.lines().map(Part::parse).collect::<Option<_>>()?,
        })
    }

    /// Whether no part was cut off.
    fn complete(&self) -> bool {
        self.parts.len() >= self.fields
    }

    fn part(&self, path: &str) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.path == path)
    }
}

/// One line of a description, displayed as its name.
struct Part<'a> {
    path: &'a str,
    kind: &'a str,
    /// Offset, size, and the arrays around it.
    place: &'a str,
}

impl<'a> Part<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (path, rest) = line.split_once(": ")?;
        let (kind, place) = rest.split_once(" at ")?;
        Some(Self { path, kind, place })
    }

    /// Whether the parts are the same, but for the distances in arrays: a part that grows inside of one moves its
    /// elements apart, which shows at the parts before it, and is no difference of theirs.
    fn same(&self, other: &Self) -> bool {
        let counts = |part: &Self| {
            part.place.split(", ").map(|word| word.split_once(" every ").map_or(word, |(count, _)| count))
        };
        (self.path, self.kind) == (other.path, other.kind) && counts(self).eq(counts(other))
    }

    /// The integer that an enum is stored as, and its variants.
    fn variants(&self) -> Option<(&'a str, &'a str)> {
        self.kind.strip_suffix('}')?.split_once(" {")
    }

    /// Type and place in words.
    fn details(&self) -> String {
        let (kind, form) = self.variants().map_or((self.kind, ""), |(integer, _)| (integer, " enum"));
        let (offset, rest) = self.place.split_once(", size ").unwrap_or((self.place, ""));
        let repeats = rest.split_once(", ").map_or_else(String::new, |(_, every)| format!(" ({})", Shown(every)));
        format!("{}{form} at offset {}{repeats}", Shown(kind), Shown(offset))
    }
}

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.path {
            "self" => f.write_str("the payload"),
            path => write!(f, "field `{}`", Shown(path)),
        }
    }
}

/// A piece of a text as it may be shown: of bounded length, and without characters that a terminal obeys.
struct Shown<'a>(&'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const LIMIT: usize = 80;
        let end = self.0.char_indices().nth(LIMIT).map_or(self.0.len(), |(end, _)| end);
        write!(f, "{}", self.0[..end].escape_debug())?;
        f.write_str(if end < self.0.len() { "..." } else { "" })
    }
}
