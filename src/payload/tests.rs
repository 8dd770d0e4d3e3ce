//! What needs the inside of the module: shapes made at run time, and `validate`.

use core::mem::MaybeUninit;
use core::num::NonZero;

use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use super::{Field, InvalidPayload, Payload, Schema, Shape, validate};

/// A type in the making, to be changed and then laid out. The names of all fields in it differ.
#[derive(Clone)]
enum Type {
    Leaf(&'static str, usize),
    Enum(Vec<(&'static str, i128)>),
    Struct(Vec<Member>),
    Array(Box<Type>, usize),
}

#[derive(Clone)]
struct Member {
    name: &'static str,
    /// Bytes between the end of the member before and the start of this one.
    gap: usize,
    of: Type,
}

const LEAVES: [(&str, usize); 6] = [("u8", 1), ("bool", 1), ("u32", 4), ("f32", 4), ("u64", 8), ("NonZero<u64>", 8)];

impl Type {
    /// The shape and the size of the type, its members laid out one after the other.
    fn lay_out(&self) -> (&'static Shape, usize) {
        let (shape, size) = match self {
            Self::Leaf(name, size) => (Shape::Leaf { name, any_bits: true }, *size),
            Self::Enum(variants) => (Shape::Enum { name: "E", repr: "u8", variants: variants.clone().leak() }, 1),
            Self::Struct(members) => {
                let (mut fields, mut end) = (Vec::new(), 0);
                for member in members {
                    let (shape, size) = member.of.lay_out();
                    let offset = end + member.gap;
                    fields.push(Field { name: member.name, offset, size, shape });
                    end = offset + size;
                }
                (Shape::Struct { name: "S", repr: "C", fields: fields.leak() }, end)
            }
            Self::Array(element, count) => {
                let (element, stride) = element.lay_out();
                (Shape::Array { element, count: *count, stride }, stride * count)
            }
        };
        (Box::leak(Box::new(shape)), size)
    }

    fn schema(&self) -> Schema {
        let (shape, size) = self.lay_out();
        Schema::new(shape, size, 1)
    }

    /// The members of every struct in the type, this one's first.
    fn structs<'a>(&'a mut self, visit: &mut dyn FnMut(&mut Vec<Member>)) {
        match self {
            Self::Leaf(..) | Self::Enum(_) => {}
            Self::Struct(members) => {
                visit(members);
                members.iter_mut().for_each(|member| member.of.structs(visit));
            }
            Self::Array(element, _) => element.structs(visit),
        }
    }
}

/// SplitMix64: repeatable, and good enough to pick shapes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    /// A name that no other call returns, and that no other name contains.
    fn name(&mut self, names: &mut usize) -> &'static str {
        *names += 1;
        format!("f{names:04}").leak()
    }

    fn member(&mut self, names: &mut usize, depth: usize) -> Member {
        Member { name: self.name(names), gap: 0, of: self.of(names, depth) }
    }

    fn members(&mut self, names: &mut usize, depth: usize) -> Vec<Member> {
        (0..2 + self.below(3)).map(|_| self.member(names, depth)).collect()
    }

    fn of(&mut self, names: &mut usize, depth: usize) -> Type {
        match self.below(if depth == 0 { 4 } else { 8 }) {
            0 => Type::Enum(vec![("A", 1), ("B", 2), ("C", 4)]),
            1..=3 => {
                let (name, size) = LEAVES[self.below(LEAVES.len())];
                Type::Leaf(name, size)
            }
            4 | 5 => Type::Struct(self.members(names, depth - 1)),
            _ => Type::Array(Box::new(self.of(names, depth - 1)), 1 + self.below(3)),
        }
    }

    /// Changes one member, and returns what the difference must say (its name, and words).
    fn change(&mut self, members: &mut Vec<Member>, names: &mut usize) -> Vec<&'static str> {
        let at = self.below(members.len());
        let name = members[at].name;
        match self.below(7) {
            0 => {
                let member = self.member(names, 1);
                let words = vec![member.name, "is not expected"];
                members.insert(self.below(members.len() + 1), member);
                words
            }
            1 => {
                members.remove(at);
                vec![name, "is missing in the region"]
            }
            2 => {
                members[at].name = self.name(names);
                vec![name, "is named", members[at].name, "in the region"]
            }
            3 => {
                let at = self.below(members.len() - 1);
                members.swap(at, at + 1);
                vec![members[at + 1].name, "in another order"]
            }
            4 => {
                members[at].gap += 1;
                vec![name, "expected", "at offset", "found"]
            }
            5 => {
                let words = retype(self, &mut members[at].of);
                [vec![name], words].concat()
            }
            _ => {
                let old = members[at].of.clone();
                members[at].of = Type::Array(Box::new(old), 2);
                vec![name, "["]
            }
        }
    }
}

/// Changes what a member is made of.
fn retype(random: &mut Random, of: &mut Type) -> Vec<&'static str> {
    match of {
        Type::Leaf(name, _) => {
            let old = *name;
            let others: Vec<_> = LEAVES.into_iter().filter(|&(name, _)| name != old).collect();
            let (name, size) = others[random.below(others.len())];
            *of = Type::Leaf(name, size);
            vec![": expected", old, ", found", name]
        }
        Type::Enum(variants) => match random.below(4) {
            0 => {
                variants.push(("D", 3));
                vec!["variant `D=3` is not expected"]
            }
            1 => {
                variants.remove(1);
                vec!["variant `B=2` is missing in the region"]
            }
            2 => {
                variants[1].0 = "D";
                vec!["expected variant `B=2`, found `D=2`"]
            }
            _ => {
                variants[1].1 = 3;
                vec!["expected variant `B=2`, found `B=3`"]
            }
        },
        Type::Struct(members) => {
            let member = members.remove(0);
            vec![member.name, "is missing"]
        }
        Type::Array(_, count) => {
            *count += 1;
            vec!["expected", "found", "every"]
        }
    }
}

#[test]
fn every_change_changes_the_fingerprint_and_is_named() {
    for seed in 0..4000 {
        let (mut random, mut names) = (Random(seed), 0);
        let old = Type::Struct(random.members(&mut names, 3));
        let expected = old.schema();
        assert_eq!(Schema::difference(expected.text(), expected.text()), None);

        let mut new = old.clone();
        let mut structs = 0;
        new.structs(&mut |_| structs += 1);
        let (mut here, mut words) = (random.below(structs) as isize, Vec::new());
        new.structs(&mut |members| {
            if here == 0 {
                words = random.change(members, &mut names);
            }
            here -= 1;
        });

        let found = new.schema();
        assert_ne!(expected.fingerprint(), found.fingerprint(), "{}{}", expected.text(), found.text());
        let context = || format!("{words:?}\n--- {}+++ {}", expected.text(), found.text());
        let difference = Schema::difference(expected.text(), found.text()).unwrap_or_else(|| panic!("{}", context()));
        assert!(words.iter().all(|word| difference.contains(word)), "{difference}\n{}", context());

        // Of a text that was cut off, nothing is said that is not so.
        for _ in 0..8 {
            let cut = &found.text()[..random.below(found.text().len())];
            if let Some(of_cut) = Schema::difference(expected.text(), cut) {
                let (name, missing) = (words[0], "is missing in the region");
                assert!(
                    of_cut.contains(name) || of_cut.starts_with("the payload: expected size"),
                    "{of_cut}\n{}\ncut: {cut}",
                    context()
                );
                assert!(
                    difference.contains(missing) || !of_cut.contains(missing),
                    "{of_cut}\n{}\ncut: {cut}",
                    context()
                );
            }
        }
    }
}

#[test]
fn alignment_counts() {
    let shape = u64::SHAPE;
    let (expected, found) = (Schema::new(shape, 8, 8), Schema::new(shape, 8, 16));
    assert_ne!(expected.fingerprint(), found.fingerprint());
    assert_eq!(
        Schema::difference(expected.text(), found.text()).unwrap(),
        "the payload: expected size 8, align 8, fields 1, found size 8, align 16, fields 1"
    );
}

#[test]
fn names_of_types_and_order_of_variants_do_not_count() {
    let of = |name, variants| Schema::new(&Shape::Enum { name, repr: "u8", variants }, 1, 1);
    let (one, other) = (of("Side", &[("Buy", 1), ("Sell", 2)]), of("Way", &[("Sell", 2), ("Buy", 1)]));
    assert_ne!(one.text(), other.text());
    assert_eq!(one.fingerprint(), other.fingerprint());
    assert_eq!(Schema::difference(one.text(), other.text()), None);
}

#[test]
fn any_text_is_compared_without_panic_and_shown_without_control() {
    let mut random = Random(1);
    let pieces =
        [": ", " at ", ", size ", ", ", "\n", " {", "}", "=", " every ", "fields ", "8", "f0001", "\u{1b}[2J", "é"];
    for seed in 0..2000 {
        let expected = Type::Struct(Random(seed).members(&mut 0, 2)).schema();
        let mut found =
            Type::Struct(Random(seed + random.below(2) as u64).members(&mut 0, 2)).schema().text().to_owned();
        for _ in 0..random.below(6) {
            let at = random.below(found.len() + 1);
            if !found.is_char_boundary(at) {
                continue;
            }
            match random.below(3) {
                0 => found.truncate(at),
                1 => found.insert_str(at, pieces[random.below(pieces.len())]),
                _ => found.insert_str(at, &pieces[random.below(pieces.len())].repeat(500)),
            }
        }
        for text in [&found, &found[found.find('\n').map_or(0, |end| end + 1)..]] {
            let difference = Schema::difference(expected.text(), text).unwrap_or_default();
            assert!(!difference.contains(char::is_control), "{difference}");
            assert!(difference.len() < 4096, "{}", difference.len());
        }
    }
}

/// `validate` on the bytes of `T` that `bytes` are.
fn receive<T: Payload, const N: usize>(bytes: [u8; N]) -> Result<T, InvalidPayload> {
    assert_eq!(size_of::<T>(), N);
    let mut raw = MaybeUninit::<T>::uninit();
    // SAFETY: `raw` is `N` writable bytes, apart from `bytes`.
    unsafe { bytes.as_ptr().copy_to_nonoverlapping(raw.as_mut_ptr().cast(), N) };
    // SAFETY: the line above initialized every byte.
    unsafe { validate(raw) }
}

#[derive(Debug, Clone, Copy, PartialEq, TryFromBytes, IntoBytes, Immutable)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 2,
}

// SAFETY: a field-less enum of one byte, described as such.
unsafe impl Payload for Side {
    const SHAPE: &'static Shape = &Shape::Enum { name: "Side", repr: "u8", variants: &[("Buy", 1), ("Sell", 2)] };
}

#[test]
fn only_values_are_received() {
    assert_eq!(receive::<u64, 8>([0xff; 8]), Ok(u64::MAX));
    assert_eq!(receive::<bool, 1>([1]), Ok(true));
    assert_eq!(receive::<bool, 1>([2]), Err(InvalidPayload));
    assert_eq!(receive::<char, 4>(('\u{10ffff}' as u32).to_ne_bytes()), Ok('\u{10ffff}'));
    assert_eq!(receive::<char, 4>(0xd800_u32.to_ne_bytes()), Err(InvalidPayload));
    assert_eq!(receive::<char, 4>(0x11_0000_u32.to_ne_bytes()), Err(InvalidPayload));
    assert_eq!(receive::<NonZero<u32>, 4>([0; 4]), Err(InvalidPayload));
    assert_eq!(receive::<Option<NonZero<u32>>, 4>([0; 4]), Ok(None));
    assert_eq!(receive::<Side, 1>([1]), Ok(Side::Buy));
    assert_eq!(receive::<Side, 1>([2]), Ok(Side::Sell));
    assert_eq!(receive::<Side, 1>([0]), Err(InvalidPayload));
    assert_eq!(receive::<(), 0>([]), Ok(()));
}

#[test]
fn large_values_are_checked_to_the_last_byte() {
    let mut bytes = [1; 1024];
    assert_eq!(receive::<[bool; 1024], 1024>(bytes), Ok([true; 1024]));
    for at in [0, 512, 1023] {
        bytes[at] = 7;
        assert_eq!(receive::<[bool; 1024], 1024>(bytes), Err(InvalidPayload));
        bytes[at] = 0;
    }
    assert_eq!(receive::<[u8; 1024], 1024>([7; 1024]), Ok([7; 1024]));
}

#[test]
fn shapes_know_whether_any_bits_are_a_value() {
    assert!(<[u64; 4]>::SHAPE.any_bits());
    assert!(Option::<NonZero<u8>>::SHAPE.any_bits());
    assert!(<()>::SHAPE.any_bits());
    for shape in [bool::SHAPE, char::SHAPE, NonZero::<i8>::SHAPE, Side::SHAPE, <[[Side; 2]; 2]>::SHAPE] {
        assert!(!shape.any_bits(), "{shape:?}");
    }
    let pair = |last: &'static Shape| {
        let field = |name, shape| Field { name, offset: 0, size: 1, shape };
        Shape::Struct { name: "Pair", repr: "C", fields: vec![field("a", u8::SHAPE), field("b", last)].leak() }
    };
    assert!(pair(u8::SHAPE).any_bits());
    assert!(!pair(bool::SHAPE).any_bits());
}
