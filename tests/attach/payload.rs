//! Regions that carry another type of message: the field that differs is named.

use std::fs::File;

use ringway::spsc::Channel;
use ringway::{Error, Options, Payload, Schema};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::expect::assert_refused;
use crate::left::Name;
use crate::{Case, cases};

pub(crate) const CASES: &[Case] =
    cases![another_payload_is_refused_by_its_field, a_schema_too_long_for_the_header_still_counts];

/// The type that the region carries.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
#[repr(C)]
struct Tick {
    price: u64,
    size: u32,
    venue: u32,
}

/// What other builds of the program may take it for.
mod other {
    use super::*;

    macro_rules! ticks {
        ($($name:ident { $($field:ident: $type:ty),* })*) => {$(
            #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
            #[repr(C)]
            pub(super) struct $name { $($field: $type),* }
        )*};
    }
    ticks! {
        Renamed { price: u64, size: u32, market: u32 }
        Retyped { price: f64, size: u32, venue: u32 }
        Moved { price: u64, venue: u32, size: u32 }
        Shorter { price: u64 }
        Longer { price: u64, size: u32, venue: u32, flags: u64 }
        Same { price: u64, size: u32, venue: u32 }
    }
}

fn refuses<T: Payload>(name: &Name, fd: &File, difference: &str) {
    let pass = || fd.try_clone().unwrap().into();
    for result in [Channel::<T>::attach(name, &Options::new()), Channel::<T>::from_fd(pass(), &Options::new())] {
        let schemas = [Schema::of::<T>(), Schema::of::<Tick>()];
        assert_refused!(
            result,
            Error::PayloadMismatch { expected, found, .. } if [expected, found] == schemas.each_ref().map(Schema::text),
            difference,
            "another payload",
            "build both programs with the same type",
        );
    }
    let result = Channel::<T>::open_or_create(name, &Options::new());
    assert!(matches!(result, Err(Error::PayloadMismatch { .. })), "it is neither attached nor replaced");
}

fn another_payload_is_refused_by_its_field() {
    let name = Name::new();
    let channel = Channel::<Tick>::create(&name, &Options::new()).unwrap();
    let fd = File::from(channel.as_fd().unwrap().try_clone_to_owned().unwrap());
    refuses::<other::Renamed>(&name, &fd, "field `market` is named `venue`");
    refuses::<other::Retyped>(&name, &fd, "field `price`: expected f64 at offset 0, found u64 at offset 0");
    refuses::<other::Moved>(&name, &fd, "the fields are in another order: field `venue`: expected u32 at offset 8");
    refuses::<other::Shorter>(&name, &fd, "field `size` is not expected");
    refuses::<other::Longer>(&name, &fd, "field `flags` is missing in the region");
    refuses::<u64>(&name, &fd, "`price`");
    refuses::<[u64; 2]>(&name, &fd, "expected field `self[]`");
    refuses::<()>(&name, &fd, "field `price` is not expected");

    // The name of a type does not count.
    Channel::<other::Same>::attach(&name, &Options::new()).unwrap();
}

macro_rules! nested {
    ($($name:ident of $part:ty),*) => {$(
        #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
        #[repr(C)]
        struct $name {
            first_part_of_several: $part,
            second_part_of_several: $part,
            third_part_of_several: $part,
            last_part_of_several: $part,
        }
    )*};
}
nested!(Small of u64, Medium of Small, Large of Medium);
nested!(OtherSmall of i64, OtherMedium of OtherSmall, OtherLarge of OtherMedium);

fn a_schema_too_long_for_the_header_still_counts() {
    assert!(Schema::of::<Large>().text().len() > 3968);
    let name = Name::new();
    let _channel = Channel::<Large>::create(&name, &Options::new()).unwrap();
    Channel::<Large>::attach(&name, &Options::new()).unwrap();
    let first = "first_part_of_several.first_part_of_several.first_part_of_several";
    let result = Channel::<OtherLarge>::attach(&name, &Options::new());
    assert_refused!(result, Error::PayloadMismatch { .. }, first, "expected i64", "found u64");

    // A difference behind the cut is left to the fingerprint.
    #[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, Payload)]
    #[repr(C)]
    struct LastDiffers {
        first_part_of_several: Medium,
        second_part_of_several: Medium,
        third_part_of_several: Medium,
        last_part_of_several: OtherMedium,
    }
    let fingerprints = [Schema::of::<LastDiffers>(), Schema::of::<Large>()].map(|schema| schema.fingerprint());
    let [expected, found] = fingerprints.map(|fingerprint| format!("fingerprint {fingerprint:016x}"));
    let result = Channel::<LastDiffers>::attach(&name, &Options::new());
    assert_refused!(result, Error::PayloadMismatch { .. }, &expected, &found);
}
