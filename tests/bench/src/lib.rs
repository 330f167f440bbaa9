//! What the benchmarks of `vmexternref` share.
//!
//! The comparison itself is the binary of this package; its `README.md` says
//! how to run it and what its rows mean.

mod made_stack;

pub use made_stack::MadeStack;
