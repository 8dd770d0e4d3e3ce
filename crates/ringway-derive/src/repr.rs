//! What `#[repr(..)]` says of a type.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Result, Token};

/// The integers that a payload enum may be stored as: those of one width on every target.
const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

/// The arguments of all `repr` attributes of a type.
pub(crate) struct Repr(Vec<Meta>);

impl Repr {
    pub(crate) fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut arguments = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
            arguments.extend(attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?);
        }
        Ok(Self(arguments))
    }

    /// Whether the language fixes the order and the offsets of a struct's fields.
    pub(crate) fn fixes_struct(&self) -> bool {
        self.0.iter().any(|meta| meta.path().is_ident("C") || meta.path().is_ident("transparent"))
    }

    /// The integer that an enum is stored as, if it is one that a payload may have.
    pub(crate) fn integer(&self) -> Option<&'static str> {
        INTEGERS.into_iter().find(|integer| self.0.iter().any(|meta| meta.path().is_ident(integer)))
    }

    /// The arguments, in one order however they were written.
    pub(crate) fn text(&self) -> String {
        let mut arguments: Vec<String> =
            (self.0.iter()).map(|meta| meta.to_token_stream().to_string().replace(' ', "")).collect();
        arguments.sort();
        arguments.join(", ")
    }
}
