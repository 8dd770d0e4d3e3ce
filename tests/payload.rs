//! Which types are payloads, and how they are described. How the others are refused is in `ui`.

#![forbid(unsafe_code)] // so may every user of the derive

use core::marker::PhantomData;
use core::num::{NonZero, Wrapping};
use std::collections::HashSet;

use ringway::{Payload, Schema};
use zerocopy::{FromBytes, Immutable, IntoBytes, TryFromBytes, Unaligned};

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Tick {
    price: u64,
    size: u32,
    venue: u32,
}

#[derive(Clone, Copy, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(u64)]
enum Side {
    Sell = 2,
    Buy = 1,
}

#[derive(Clone, Copy, TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Level {
    price: f64,
    side: Side,
}

#[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Book {
    instrument: u64,
    bids: [Level; 8],
    reserved: [u8; 16],
}

/// The text and the fingerprint of `T`, which no later version may describe in another way: a region that an older
/// program made has them in its header.
#[track_caller]
fn golden<T: Payload>(text: &str, fingerprint: u64) {
    let schema = Schema::of::<T>();
    assert_eq!(schema.text(), text);
    assert_eq!(schema.fingerprint(), fingerprint, "of\n{text}is {:#018x}", schema.fingerprint());
}

#[test]
fn golden_structs() {
    golden::<Tick>(
        "Tick, repr(C): size 16, align 8, fields 3\n\
         price: u64 at 0, size 8\n\
         size: u32 at 8, size 4\n\
         venue: u32 at 12, size 4\n",
        0x1933_b6c9_dc98_ba0d,
    );
    golden::<Book>(
        "Book, repr(C): size 152, align 8, fields 4\n\
         instrument: u64 at 0, size 8\n\
         bids[].price: f64 at 8, size 8, 8 every 16\n\
         bids[].side: u64 {Buy=1, Sell=2} at 16, size 8, 8 every 16\n\
         reserved[]: u8 at 136, size 1, 16 every 1\n",
        0xf4ba_9dfc_bf88_2416,
    );
}

#[test]
fn golden_leaves() {
    golden::<u64>("u64: size 8, align 8, fields 1\nself: u64 at 0, size 8\n", 0xbb4d_88b5_fa31_cbea);
    golden::<()>("(): size 0, align 1, fields 0\n", 0xf260_2993_fc10_39db);
    golden::<Wrapping<i16>>("i16: size 2, align 2, fields 1\nself: i16 at 0, size 2\n", 0x7845_ae08_be03_16bd);
    golden::<Option<NonZero<u32>>>(
        "Option<NonZero<u32>>: size 4, align 4, fields 1\nself: Option<NonZero<u32>> at 0, size 4\n",
        0x1be1_bc50_7926_e217,
    );
    golden::<[[u32; 3]; 2]>(
        "[[u32; 3]; 2]: size 24, align 4, fields 1\nself[][]: u32 at 0, size 4, 2 every 12, 3 every 4\n",
        0x53d9_ec64_129a_946f,
    );
    golden::<[Tick; 0]>("[Tick; 0]: size 0, align 8, fields 0\n", 0xfe4b_053e_bb11_25ee);
    golden::<Side>(
        "Side, repr(u64): size 8, align 8, fields 1\nself: u64 {Buy=1, Sell=2} at 0, size 8\n",
        0x8254_af6c_71b2_346b,
    );
}

#[test]
fn no_two_leaves_share_a_fingerprint() {
    macro_rules! fingerprints {
        ($($type:ty),* $(,)?) => { [$(Schema::of::<$type>().fingerprint()),*] };
    }
    macro_rules! forms {
        ($($type:ty),*) => { fingerprints![$($type, NonZero<$type>, Option<NonZero<$type>>),*] };
    }
    let integers = forms!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
    let others = fingerprints!(f32, f64, bool, char, ());
    let distinct: HashSet<u64> = integers.into_iter().chain(others).collect();
    assert_eq!(distinct.len(), integers.len() + others.len());
}

#[test]
fn reprs_of_structs() {
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(packed(2), C)]
    struct Packed {
        tag: u16,
        r#type: u64,
    }
    golden::<Packed>(
        "Packed, repr(C, packed(2)): size 10, align 2, fields 2\ntag: u16 at 0, size 2\ntype: u64 at 2, size 8\n",
        0xb602_6658_c7bf_d8c8,
    );

    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    #[repr(align(16))]
    struct Aligned(u64, u64);
    golden::<Aligned>(
        "Aligned, repr(C, align(16)): size 16, align 16, fields 2\n0: u64 at 0, size 8\n1: u64 at 8, size 8\n",
        0x4b7f_16ec_fbed_f25f,
    );

    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Unit;
    golden::<Unit>("Unit, repr(C): size 0, align 1, fields 0\n", 0xf260_2993_fc10_39db);
}

#[test]
fn enums_of_every_integer() {
    macro_rules! check {
        ($($repr:ident: $first:literal, $last:literal;)*) => {$({
            #[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
            #[repr($repr)]
            enum Ends {
                First = $first,
                Last = $last,
            }
            let (size, name) = (size_of::<$repr>(), stringify!($repr));
            assert_eq!(
                Schema::of::<Ends>().text(),
                format!(
                    "Ends, repr({name}): size {size}, align {size}, fields 1\n\
                     self: {name} {{First={}, Last={}}} at 0, size {size}\n",
                    $repr::MIN, $repr::MAX,
                ),
            );
        })*};
    }
    check! {
        u8: 0, 0xff;
        u16: 0, 0xffff;
        u32: 0, 0xffff_ffff;
        u64: 0, 0xffff_ffff_ffff_ffff;
        i8: -0x80, 0x7f;
        i16: -0x8000, 0x7fff;
        i32: -0x8000_0000, 0x7fff_ffff;
        i64: -0x8000_0000_0000_0000, 0x7fff_ffff_ffff_ffff;
    }
}

#[test]
fn a_transparent_type_is_described_as_what_it_wraps() {
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(transparent)]
    struct Id<T: ?Sized>(u64, PhantomData<T>);
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Bare {
        of: u64,
    }
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Wrapped {
        // What it is the id of is no part of it, and need not be a payload.
        of: Id<str>,
    }
    assert_eq!(Schema::of::<Id<str>>().fingerprint(), Schema::of::<u64>().fingerprint());
    assert_eq!(Schema::of::<Wrapped>().fingerprint(), Schema::of::<Bare>().fingerprint());
}

#[test]
fn generics_are_payloads_where_zerocopy_allows_them() {
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Pair<T> {
        first: T,
        second: [T; 2],
    }
    #[derive(FromBytes, IntoBytes, Unaligned, Immutable, Payload)]
    #[repr(C, packed)]
    struct Text<const N: usize> {
        length: u16,
        bytes: [u8; N],
    }
    #[derive(TryFromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Message<A, B>
    where
        A: Copy,
    {
        head: A,
        body: B,
    }
    golden::<Pair<u64>>(
        "Pair, repr(C): size 24, align 8, fields 2\nfirst: u64 at 0, size 8\nsecond[]: u64 at 8, size 8, 2 every 8\n",
        0x45f5_74cb_751f_cd31,
    );
    golden::<Message<bool, Text<5>>>(
        "Message, repr(C): size 8, align 1, fields 3\n\
         head: bool at 0, size 1\n\
         body.length: u16 at 1, size 2\n\
         body.bytes[]: u8 at 3, size 1, 5 every 1\n",
        0x95f9_5032_a7ff_0625,
    );
}

#[test]
fn a_difference_names_the_field() {
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Retyped {
        price: f64,
        size: u32,
        venue: u32,
    }
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Renamed {
        price: u64,
        size: u32,
        market: u32,
    }
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Removed {
        price: u64,
        size: u64,
    }
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Reordered {
        price: u64,
        venue: u32,
        size: u32,
    }
    #[derive(FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct Added {
        price: u64,
        size: u32,
        venue: u32,
        time: u64,
    }
    #[track_caller]
    fn assert<T: Payload>(difference: &str) {
        let (expected, found) = (Schema::of::<Tick>(), Schema::of::<T>());
        assert_ne!(expected.fingerprint(), found.fingerprint());
        assert_eq!(Schema::difference(expected.text(), found.text()).as_deref(), Some(difference));
    }
    assert::<Retyped>("field `price`: expected u64 at offset 0, found f64 at offset 0");
    assert::<Renamed>("field `venue` is named `market` in the region");
    assert::<Removed>("field `size`: expected u32 at offset 8, found u64 at offset 8");
    assert::<Reordered>(
        "the fields are in another order: field `size`: expected u32 at offset 8, found u32 at offset 12",
    );
    assert::<Added>("field `time` is not expected");
    assert::<[u64; 2]>("expected field `price`: u64 at offset 0; found field `self[]`: u64 at offset 0 (2 every 8)");
}
