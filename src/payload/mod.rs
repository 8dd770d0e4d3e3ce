//! What may travel through a channel: [`Payload`], and its description, [`Schema`].
//!
//! A payload is copied as bytes out of one process and into another that may run a different build of
//! the program, or be hostile. The duties that follow are split: `zerocopy` proves that every byte of
//! a value is initialized and that a bit pattern is valid before it becomes a value, and the derive
//! of this crate proves what `zerocopy` leaves open, that the type means the same in every process.

// `Payload` is an unsafe trait, and here is decided whether received bytes are a value.
#![allow(unsafe_code)]

mod difference;
mod schema;

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::num::{NonZero, Wrapping};
use core::slice;

use zerocopy::{Immutable, IntoBytes, TryFromBytes};

pub use schema::{Field, Schema, Shape};

/// A type whose values can be sent from one process to another.
///
/// Implemented for the integers of fixed width, also as [`NonZero`], `Option<NonZero>` and
/// [`Wrapping`], the floats, `bool`, `char`, and arrays of payloads; and by `#[derive(Payload)]` for
/// your own structs and field-less enums. Beside it, derive `IntoBytes`, `Immutable` and `FromBytes` of the `zerocopy`
/// crate, or `TryFromBytes` in place of `FromBytes` if some bit patterns are not values of the type
/// (one of its parts is an enum, a `bool`, a `char` or a `NonZero`).
///
/// `usize`, references, pointers and everything that owns memory (`String`, `Vec`, `Box`) mean
/// nothing outside the process that made them, and are no payloads.
///
/// # Examples
///
/// ```
/// use ringway::{Payload, Schema};
/// use zerocopy::{FromBytes, Immutable, IntoBytes};
///
/// #[derive(FromBytes, IntoBytes, Immutable, Payload)]
/// #[repr(C)]
/// struct Tick {
///     price: u64,
///     size: u32,
///     venue: u32,
/// }
///
/// assert_eq!(
///     Schema::of::<Tick>().text(),
///     "Tick, repr(C): size 16, align 8, fields 3\n\
///      price: u64 at 0, size 8\n\
///      size: u32 at 8, size 4\n\
///      venue: u32 at 12, size 4\n",
/// );
/// ```
///
/// # Safety
///
/// Whoever implements this by hand answers for what the derive checks:
///
/// * the type has the same size, layout and meaning in every process: nothing in it depends on the
///   width of a pointer, on an address or on a lifetime;
/// * it needs no drop: a value that was sent is forgotten on one side, and a value can arrive on the
///   other without ever having been sent;
/// * [`SHAPE`](Self::SHAPE) describes it truthfully, as another process trusts two types of one
///   fingerprint to be one type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "not a `Payload`",
    note = "your own type: add `#[derive(Payload)]`, the derives of `zerocopy` beside it, and `#[repr(C)]`",
    note = "`usize` and `isize` differ in width between processes: use `u64` and `i64`",
    note = "pointers, references and types that own memory mean nothing in another process: send the \
            data itself, as integers and arrays of fixed length"
)]
pub unsafe trait Payload: TryFromBytes + IntoBytes + Immutable + Send + Sized + 'static {
    /// The structure of the type, from which its [`Schema`] is printed.
    #[doc(hidden)]
    const SHAPE: &'static Shape;
}

/// Implements [`Payload`] for types without parts: each with the name that fingerprints know it by,
/// and whether every bit pattern is one of its values.
macro_rules! leaves {
    ($($type:ty: $name:expr, any_bits: $any_bits:literal;)*) => {$(
        // SAFETY:
        // * the language fixes size and meaning of the type, without regard to the target;
        // * it is `Copy`, so it needs no drop;
        // * its shape is its name, which no other leaf bears.
        unsafe impl Payload for $type {
            const SHAPE: &'static Shape = &Shape::Leaf { name: $name, any_bits: $any_bits };
        }
    )*};
}

/// Implements [`Payload`] for integers and their forms without a zero.
macro_rules! integers {
    ($($type:ident),*) => {$(
        leaves! {
            $type: stringify!($type), any_bits: true;
            NonZero<$type>: concat!("NonZero<", stringify!($type), ">"), any_bits: false;
            Option<NonZero<$type>>: concat!("Option<NonZero<", stringify!($type), ">>"), any_bits: true;
        }
    )*};
}

integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
leaves! {
    f32: "f32", any_bits: true;
    f64: "f64", any_bits: true;
    bool: "bool", any_bits: false;
    char: "char", any_bits: false;
}

// SAFETY:
// * an array is its elements one after the other, and those are payloads;
// * it needs a drop only if its elements do;
// * its shape states their number and distance.
unsafe impl<T: Payload, const N: usize> Payload for [T; N] {
    const SHAPE: &'static Shape = &Shape::Array { element: T::SHAPE, count: N, stride: size_of::<T>() };
}

// SAFETY: `Wrapping` is `repr(transparent)`, so all three duties are those of `T`.
unsafe impl<T: Payload> Payload for Wrapping<T> {
    const SHAPE: &'static Shape = T::SHAPE;
}

// SAFETY: a type without bytes, without drop, and without anything to describe.
unsafe impl Payload for () {
    const SHAPE: &'static Shape = &Shape::Struct { name: "()", repr: "", fields: &[] };
}

// SAFETY: as for `()`; what `T` is stays a matter of the program, not of the bytes.
unsafe impl<T: ?Sized + Send + 'static> Payload for PhantomData<T> {
    const SHAPE: &'static Shape = &Shape::Struct { name: "PhantomData", repr: "", fields: &[] };
}

/// The bytes received are no value of the payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidPayload;

/// Makes a value of bytes that were received, if they are one.
///
/// # Safety
///
/// Every byte of `raw` is initialized. (That no other process can reach them follows: `raw` is a
/// private copy, as it is passed by value.)
#[inline]
pub(crate) unsafe fn validate<T: Payload>(raw: MaybeUninit<T>) -> Result<T, InvalidPayload> {
    // SAFETY: every byte of `raw` is initialized, by the caller's promise; it is a private copy.
    if !unsafe { is_valid(&raw) } {
        return Err(InvalidPayload);
    }
    // SAFETY: the bytes of `raw` were just found to be a valid `T`.
    Ok(unsafe { raw.assume_init() })
}

/// Whether bytes that were received are a value of their type.
///
/// Compiles to nothing for a type of which every bit pattern is one.
///
/// # Safety
///
/// Every byte of `raw` is initialized, and no other process can reach them.
#[inline(always)]
pub(crate) unsafe fn is_valid<T: Payload>(raw: &MaybeUninit<T>) -> bool {
    // Larger than a cache line, a check that looks at bytes is worth a call. Inlined, it makes the
    // optimizer take these bytes apart from the rest, and so copy the value twice (rustc 1.95: 1 KiB with
    // one `bool` in it took 1.8 times as long as without any check, and with the call 1.0 times). The
    // shape is no more than a hint here: the check is made either way.
    if const { T::SHAPE.any_bits() || size_of::<T>() <= 64 } {
        // SAFETY: every byte of `raw` is initialized, by the caller's promise.
        unsafe { reads(raw) }
    } else {
        // SAFETY: as above.
        unsafe { reads_outlined(raw) }
    }
}

/// Whether the bytes of `raw` can be read as a `T`.
///
/// # Safety
///
/// Every byte of `raw` is initialized.
#[inline]
unsafe fn reads<T: Payload>(raw: &MaybeUninit<T>) -> bool {
    // SAFETY:
    // * the pointer comes from a reference, so it is good for reads of `size_of::<T>()` bytes;
    // * all of them are initialized, by the caller's promise;
    // * nothing writes to them while `bytes` lives, as `T: Immutable` has no interior mutability.
    let bytes = unsafe { slice::from_raw_parts(raw.as_ptr().cast::<u8>(), size_of::<T>()) };
    // The copy that this makes is only looked at, so the optimizer does not make it.
    T::try_read_from_bytes(bytes).is_ok()
}

/// [`reads`] as a call.
///
/// # Safety
///
/// As [`reads`].
#[inline(never)]
unsafe fn reads_outlined<T: Payload>(raw: &MaybeUninit<T>) -> bool {
    // SAFETY: the same promise.
    unsafe { reads(raw) }
}

#[cfg(test)]
mod tests;
