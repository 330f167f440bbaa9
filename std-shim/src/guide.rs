//! The guide: one page for each thing that a host does.
//!
//! | you | read |
//! | --- | --- |
//! | have a compiler on Cranelift, or an engine | [`embedding`], then [`choosing_a_walker`] |
//! | have frames that no walker here knows | [`writing_a_walker`] |
//! | have a kernel or a board | [`bare_metal`] |
//! | suspend guests in the middle | [`several_stacks`] |
//! | run guests on several threads | [`threads`] |
//! | have host objects that refer to each other | [`cycles`] |
//! | come from Wasmtime's first `externref.rs` | [`porting`] |
//! | see a collection keep everything, or an object die too early | [`debugging`] |
//!
//! Every piece of code on these pages is compiled and run by the tests.

#[doc = include_str!("guide/bare_metal.md")]
pub mod bare_metal {}
#[doc = include_str!("guide/choosing_a_walker.md")]
pub mod choosing_a_walker {}
#[doc = include_str!("guide/cycles.md")]
pub mod cycles {}
#[doc = include_str!("guide/debugging.md")]
pub mod debugging {}
#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}
#[doc = include_str!("guide/porting.md")]
pub mod porting {}
#[doc = include_str!("guide/several_stacks.md")]
pub mod several_stacks {}
#[doc = include_str!("guide/threads.md")]
pub mod threads {}
#[doc = include_str!("guide/writing_a_walker.md")]
pub mod writing_a_walker {}
