//! The algorithms, one file a flavor. A ring borrows words; it knows neither files nor waiting.

pub(crate) mod spsc;
