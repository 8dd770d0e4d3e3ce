//! What differs between the flavors of a channel; everything else is written once, over these.

use core::ops::Deref;
use std::sync::Arc;

use crate::layout;
use crate::ring::{Consume, Produce, mpmc, spsc};

/// The kind of a channel: [`Spsc`] or [`Mpmc`].
#[expect(private_bounds, reason = "sealed: the parts are the crate's own")]
pub trait Flavor: Parts {}

/// What a flavor is made of.
pub(crate) trait Parts: Send + Sync + 'static {
    /// Its name in the header.
    const FLAVOR: layout::Flavor;
    /// Whether several peers share a role.
    const SHARED: bool = matches!(Self::FLAVOR, layout::Flavor::Mpmc);
    /// The producing side of its ring.
    type Producer<T>: Produce<T> + Send;
    /// The consuming side of its ring.
    type Consumer<T>: Consume<T> + Send;
    /// How a handle holds its end: alone, or together with its clones.
    type Hold<E: Send + Sync>: Deref<Target = E> + From<E> + Send;
}

/// One producer and one consumer at a time: wait-free.
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// Any number of producers and consumers: lock-free, and nobody who is killed or stopped stops the others.
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

impl Flavor for Spsc {}
impl Flavor for Mpmc {}

impl Parts for Spsc {
    const FLAVOR: layout::Flavor = layout::Flavor::Spsc;
    type Producer<T> = spsc::Producer<T>;
    type Consumer<T> = spsc::Consumer<T>;
    type Hold<E: Send + Sync> = Alone<E>;
}

impl Parts for Mpmc {
    const FLAVOR: layout::Flavor = layout::Flavor::Mpmc;
    type Producer<T> = mpmc::Producer<T>;
    type Consumer<T> = mpmc::Consumer<T>;
    type Hold<E: Send + Sync> = Arc<E>;
}

/// A value in place, where a flavor without clones has no need for a shared one.
#[derive(Debug)]
pub(crate) struct Alone<E>(E);

impl<E> From<E> for Alone<E> {
    fn from(value: E) -> Self {
        Self(value)
    }
}

impl<E> Deref for Alone<E> {
    type Target = E;

    #[inline(always)]
    fn deref(&self) -> &E {
        &self.0
    }
}
