//! `#[derive(Payload)]` for the crate `ringway`, which re-exports it and documents what it stands for.

mod payload;
mod repr;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `ringway::Payload` for a struct or a field-less enum, if it is one.
///
/// A struct needs `#[repr(C)]`, with or without `align` or `packed`, or `#[repr(transparent)]`, and
/// all its fields must be payloads. An enum needs one of `#[repr(u8)]`, `u16`, `u32`, `u64`, `i8`,
/// `i16`, `i32` and `i64`, and variants without fields. The type may not need a drop nor have
/// lifetime parameters. A type parameter is bound to be a payload, and the implementation holds for
/// the arguments for which those of `zerocopy` do, which must be derived beside this one: `IntoBytes`,
/// `Immutable`, and `FromBytes` or, where some bit patterns are no values of the type, `TryFromBytes`.
///
/// # Examples
///
/// ```
/// use ringway::{Payload, Schema};
/// use zerocopy::{Immutable, IntoBytes, TryFromBytes};
///
/// #[derive(Clone, Copy, TryFromBytes, IntoBytes, Immutable, Payload)]
/// #[repr(u8)]
/// enum Side {
///     Buy = 1,
///     Sell = 2,
/// }
///
/// #[derive(Clone, Copy, TryFromBytes, IntoBytes, Immutable, Payload)]
/// #[repr(C)]
/// struct Order {
///     price: f64,
///     size: u32,
///     side: Side,
///     // The compiler would put three bytes here that nobody initializes; say what they are.
///     reserved: [u8; 3],
/// }
///
/// assert_eq!(
///     Schema::of::<Order>().text(),
///     "Order, repr(C): size 16, align 8, fields 4\n\
///      price: f64 at 0, size 8\n\
///      size: u32 at 8, size 4\n\
///      side: u8 {Buy=1, Sell=2} at 12, size 1\n\
///      reserved[]: u8 at 13, size 1, 3 every 1\n",
/// );
/// ```
#[proc_macro_derive(Payload)]
pub fn derive_payload(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    payload::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
