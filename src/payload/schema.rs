//! The printable structure of a payload, and its fingerprint.

use core::fmt::Write as _;

use super::{Payload, difference};

/// The structure of a payload, as its implementation states it.
#[doc(hidden)]
#[derive(Debug)]
pub enum Shape {
    /// A type without parts, by the name that the language gives it.
    Leaf { name: &'static str, any_bits: bool },
    /// A field-less enum: the integer that it is stored as, and the values of its variants.
    Enum { name: &'static str, repr: &'static str, variants: &'static [(&'static str, i128)] },
    /// Named parts at fixed offsets.
    Struct { name: &'static str, repr: &'static str, fields: &'static [Field] },
    /// `count` elements, each `stride` bytes after the one before.
    Array { element: &'static Shape, count: usize, stride: usize },
}

/// One part of a struct.
#[doc(hidden)]
#[derive(Debug)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) offset: usize,
    pub(super) size: usize,
    pub(super) shape: &'static Shape,
}

impl Field {
    /// The part `name` of type `T`, `offset` bytes from the start of the struct.
    #[must_use]
    pub const fn of<T: Payload>(name: &'static str, offset: usize) -> Self {
        Self { name, offset, size: size_of::<T>(), shape: T::SHAPE }
    }
}

impl Shape {
    /// Whether every bit pattern is a value of the type.
    pub(super) const fn any_bits(&self) -> bool {
        match self {
            Self::Leaf { any_bits, .. } => *any_bits,
            Self::Enum { .. } => false,
            Self::Struct { fields, .. } => {
                let mut rest: &[Field] = fields;
                while let [field, tail @ ..] = rest {
                    if !field.shape.any_bits() {
                        return false;
                    }
                    rest = tail;
                }
                true
            }
            Self::Array { element, .. } => element.any_bits(),
        }
    }

    /// The name of the type.
    fn name(&self) -> String {
        match self {
            Self::Leaf { name, .. } | Self::Enum { name, .. } | Self::Struct { name, .. } => (*name).to_owned(),
            Self::Array { element, count, .. } => format!("[{}; {count}]", element.name()),
        }
    }

    /// The `repr` that the type was declared with, or nothing.
    fn repr(&self) -> &str {
        match self {
            Self::Leaf { .. } | Self::Array { .. } => "",
            Self::Enum { repr, .. } | Self::Struct { repr, .. } => repr,
        }
    }
}

/// The printable structure of a payload type, which a region stores for its peers to compare.
///
/// # The text
///
/// The first line names the type and its `repr` and, behind the first `": "`, gives its size, its
/// alignment and the number of lines that follow. Each of these describes one part that has no parts
/// of its own: path, type, offset in bytes from the start of the payload, size in bytes, and for each
/// array around it, from the outermost in, how many there are and how many bytes apart. The type of an
/// enum is the integer that it is stored as, with its variants in the order of their values.
///
/// A path joins the names of the fields that lead to the part; an array adds `[]`, and a
/// `repr(transparent)` type adds nothing. Where nothing is left, the path is `self`.
///
/// ```text
/// Book, repr(C): size 152, align 8, fields 4
/// instrument: u64 at 0, size 8
/// bids[].price: f64 at 8, size 8, 8 every 16
/// bids[].side: u64 {Buy=1, Sell=2} at 16, size 8, 8 every 16
/// reserved[]: u8 at 136, size 1, 16 every 1
/// ```
///
/// # The fingerprint
///
/// The 64-bit FNV-1a hash (offset basis `0xcbf29ce484222325`, prime `0x100000001b3`) of the text's
/// bytes from behind the first `": "` to the end. So the names, types, offsets and sizes of the fields
/// count. The names of structs and enums do not, nor does the `repr`: what that does to the layout is
/// in the offsets.
///
/// # Examples
///
/// ```
/// use ringway::Schema;
///
/// let schema = Schema::of::<[u32; 2]>();
/// assert_eq!(schema.text(), "[u32; 2]: size 8, align 4, fields 1\nself[]: u32 at 0, size 4, 2 every 4\n");
/// assert_eq!(schema.fingerprint(), 0x6de8_6355_5842_8180);
/// assert_eq!(
///     Schema::difference(schema.text(), Schema::of::<[f32; 2]>().text()).unwrap(),
///     "field `self[]`: expected u32 at offset 0 (2 every 4), found f32 at offset 0 (2 every 4)",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    text: String,
    fingerprint: u64,
}

impl Schema {
    /// Describes `T`.
    ///
    /// # Examples
    /// ```
    /// println!("{}", ringway::Schema::of::<[u32; 2]>().text());
    /// ```
    #[must_use]
    pub fn of<T: Payload>() -> Self {
        Self::new(T::SHAPE, size_of::<T>(), align_of::<T>())
    }

    /// Describes a type of this shape, size and alignment.
    pub(super) fn new(shape: &Shape, size: usize, align: usize) -> Self {
        let mut parts = Parts::default();
        parts.add(shape, 0, size);
        let structure = format!("size {size}, align {align}, fields {}\n{}", parts.count, parts.lines);
        let fingerprint = fnv1a(structure.as_bytes());
        let text = match (shape.name(), shape.repr()) {
            (name, "") => format!("{name}: {structure}"),
            (name, repr) => format!("{name}, repr({repr}): {structure}"),
        };
        Self { text, fingerprint }
    }

    /// The description: a line for the type, and one for each of its parts.
    ///
    /// # Examples
    /// ```
    /// use ringway::Schema;
    ///
    /// assert_eq!(Schema::of::<u64>().text(), "u64: size 8, align 8, fields 1\nself: u64 at 0, size 8\n");
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash of the structure: different for types that must not be taken for each other.
    ///
    /// # Examples
    /// ```
    /// use ringway::Schema;
    ///
    /// assert_ne!(Schema::of::<u64>().fingerprint(), Schema::of::<i64>().fingerprint());
    /// ```
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Says in words where the text `found` first departs from `expected`, if it does.
    ///
    /// `found` may be any text, as it was read from memory that others write, and it may have been cut
    /// off anywhere, even inside a line. `None` means that all there is of it agrees with `expected`.
    ///
    /// # Examples
    /// ```
    /// use ringway::Schema;
    ///
    /// let (expected, found) = (Schema::of::<u64>(), Schema::of::<i64>());
    /// assert_eq!(
    ///     Schema::difference(expected.text(), found.text()).unwrap(),
    ///     "the payload: expected u64 at offset 0, found i64 at offset 0",
    /// );
    /// assert_eq!(Schema::difference(expected.text(), expected.text()), None);
    /// ```
    #[must_use]
    pub fn difference(expected: &str, found: &str) -> Option<String> {
        difference::describe(expected, found)
    }
}

/// The lines of the parts, and where in the structure the next one is.
#[derive(Default)]
struct Parts {
    lines: String,
    count: usize,
    path: String,
    /// Count and stride of each array around it, from the outermost in.
    repeats: Vec<(usize, usize)>,
}

impl Parts {
    /// Adds the parts of a `shape` that lies at `offset`.
    fn add(&mut self, shape: &Shape, offset: usize, size: usize) {
        let outer = self.path.len();
        match shape {
            Shape::Leaf { name, .. } => self.line(name, offset, size),
            Shape::Enum { repr, variants, .. } => {
                self.line(&enumeration(repr, variants), offset, size);
            }
            Shape::Struct { fields, repr, .. } => {
                for field in *fields {
                    if *repr != "transparent" {
                        if outer > 0 {
                            self.path.push('.');
                        }
                        self.path.push_str(field.name);
                    }
                    self.add(field.shape, offset + field.offset, field.size);
                    self.path.truncate(outer);
                }
            }
            Shape::Array { count: 0, .. } => {}
            Shape::Array { element, count, stride } => {
                self.path.push_str(if outer > 0 { "[]" } else { "self[]" });
                self.repeats.push((*count, *stride));
                self.add(element, offset, *stride);
                self.repeats.pop();
                self.path.truncate(outer);
            }
        }
    }

    /// Adds one part that has none itself.
    fn line(&mut self, kind: &str, offset: usize, size: usize) {
        let path = if self.path.is_empty() { "self" } else { &self.path };
        // Writing to a `String` cannot fail.
        let _ = write!(self.lines, "{path}: {kind} at {offset}, size {size}");
        for (count, stride) in &self.repeats {
            let _ = write!(self.lines, ", {count} every {stride}");
        }
        self.lines.push('\n');
        self.count += 1;
    }
}

/// The type of an enum as it is printed: `u8 {Buy=1, Sell=2}`.
fn enumeration(repr: &str, variants: &[(&str, i128)]) -> String {
    let mut variants = variants.to_vec();
    variants.sort_by_key(|&(_, value)| value);
    let variants: Vec<_> = variants.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{repr} {{{}}}", variants.join(", "))
}

/// 64-bit FNV-1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
