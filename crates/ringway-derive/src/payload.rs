//! The implementation that the derive writes, and the types that it refuses.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Data, DataEnum, DataStruct, DeriveInput, Error, Fields, Generics, Member, Result, parse_quote};

use crate::repr::Repr;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Err(Error::new_spanned(
            lifetime,
            format!(
                "`{}` has the lifetime parameter `{}`: what it borrows is not there in another \
                 process; hold the data itself",
                input.ident, lifetime.lifetime,
            ),
        ));
    }
    let shape = match &input.data {
        Data::Struct(data) => structure(input, data)?,
        Data::Enum(data) => enumeration(input, data)?,
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                format!(
                    "`{}` is a union: no one can tell which of its fields the bytes received are; \
                     use a struct with a field for each, or a byte array and a tag",
                    input.ident,
                ),
            ));
        }
    };

    let name = &input.ident;
    let generics = bounded(input);
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let message = format!("`{name}` needs a drop, but a payload is just copied: it can own nothing and have no `Drop`");
    // Spanned at the name, as that is where the compiler then points if the assertion fails.
    let no_drop = |ty: TokenStream| {
        quote_spanned! {name.span()=> ::core::assert!(!::core::mem::needs_drop::<#ty>(), #message) }
    };
    // A constant of an implementation is evaluated where somebody uses it; without parameters, that need not wait.
    let early = generics.params.is_empty().then(|| no_drop(quote!(#name)));
    let late = no_drop(quote!(Self));
    Ok(quote! {
        // SAFETY:
        // * every field is itself a payload, as `Field::of` demands, and the `repr` fixes the layout;
        // * the assertion rejects types that need a drop;
        // * the shape is written from the declaration, with the compiler's own offsets and values.
        #[automatically_derived]
        unsafe impl #parameters ::ringway::Payload for #name #arguments #conditions {
            const SHAPE: &'static ::ringway::Shape = {
                #late;
                &#shape
            };
        }
        const _: () = { #early };
    })
}

/// The expression for the shape of a struct.
fn structure(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let repr = Repr::of(&input.attrs)?;
    if !repr.fixes_struct() {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "the layout of `{}` is left to the compiler, and two builds may differ: add \
                 `#[repr(C)]`",
                input.ident,
            ),
        ));
    }
    let name = input.ident.unraw().to_string();
    let repr = repr.text();
    let fields = data.fields.members().zip(&data.fields).map(|(member, field)| {
        let ty = &field.ty;
        let name = match &member {
            Member::Named(name) => name.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        };
        quote! {
            ::ringway::Field::of::<#ty>(#name, ::core::mem::offset_of!(Self, #member))
        }
    });
    Ok(quote! {
        ::ringway::Shape::Struct { name: #name, repr: #repr, fields: &[#(#fields),*] }
    })
}

/// The expression for the shape of an enum.
fn enumeration(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                &variant.fields,
                format!(
                    "variant `{}` of `{}` has fields: which of the bytes count would depend on the \
                     variant; use a struct with the fields and a field-less enum beside them",
                    variant.ident, input.ident,
                ),
            ));
        }
    }
    let Some(repr) = Repr::of(&input.attrs)?.integer() else {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "`{}` is not stored as an integer of fixed width: add `#[repr(u8)]`, or another of \
                 u16, u32, u64, i8, i16, i32, i64",
                input.ident,
            ),
        ));
    };
    let name = input.ident.unraw().to_string();
    let variants = data.variants.iter().map(|variant| {
        let ident = &variant.ident;
        let name = ident.unraw().to_string();
        quote! { (#name, Self::#ident as i128) }
    });
    Ok(quote! {
        ::ringway::Shape::Enum { name: #name, repr: #repr, variants: &[#(#variants),*] }
    })
}

/// The parameters of the type, with what must hold of the arguments: those of a type without any
/// parameters are left for the compiler to check, which then names the field at fault.
fn bounded(input: &DeriveInput) -> Generics {
    let mut generics = input.generics.clone();
    if generics.params.is_empty() {
        return generics;
    }
    let conditions = generics.make_where_clause();
    if let Data::Struct(data) = &input.data {
        for field in &data.fields {
            let ty = &field.ty;
            conditions.predicates.push(parse_quote!(#ty: ::ringway::Payload));
        }
    }
    conditions.predicates.push(parse_quote! {
        Self: ::zerocopy::TryFromBytes
            + ::zerocopy::IntoBytes
            + ::zerocopy::Immutable
            + ::core::marker::Send
            + 'static
    });
    generics
}
