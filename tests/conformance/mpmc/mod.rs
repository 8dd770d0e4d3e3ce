//! What only the MPMC flavor promises.

pub(crate) mod crowd;
pub(crate) mod guards;
pub(crate) mod hostile;
pub(crate) mod model;
pub(crate) mod packing;
pub(crate) mod peers;
pub(crate) mod shapes;
