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
//! Every piece of code on these pages is compiled and run by the tests. A link to an item that a
//! feature adds leads to the list of [features](crate#features) where that feature is off.

/// Makes a module of each page, with the links to items that a feature adds.
macro_rules! pages {
    ($($page:ident)*) => {$(
        #[doc = include_str!(concat!("guide/", stringify!($page), ".md"))]
        ///
        #[cfg_attr(feature = "backtrace", doc = "[`gc_with_backtrace`]: crate::gc_with_backtrace")]
        #[cfg_attr(feature = "backtrace", doc = "[`insert_with_backtrace`]: crate::insert_with_backtrace")]
        #[cfg_attr(feature = "cranelift", doc = "[`cranelift::References`]: crate::cranelift::References")]
        #[cfg_attr(feature = "cranelift", doc = "[`cranelift::add_function`]: crate::cranelift::add_function")]
        #[cfg_attr(feature = "frame-pointer", doc = "[`ActivationRecord`]: crate::ActivationRecord")]
        #[cfg_attr(feature = "frame-pointer", doc = "[`StacksWalker`]: crate::StacksWalker")]
        #[cfg_attr(not(feature = "backtrace"), doc = "[`gc_with_backtrace`]: crate#features")]
        #[cfg_attr(not(feature = "backtrace"), doc = "[`insert_with_backtrace`]: crate#features")]
        #[cfg_attr(not(feature = "cranelift"), doc = "[`cranelift::References`]: crate#features")]
        #[cfg_attr(not(feature = "cranelift"), doc = "[`cranelift::add_function`]: crate#features")]
        #[cfg_attr(not(feature = "frame-pointer"), doc = "[`ActivationRecord`]: crate#features")]
        #[cfg_attr(not(feature = "frame-pointer"), doc = "[`StacksWalker`]: crate#features")]
        pub mod $page {}
    )*};
}

pages! {
    bare_metal
    choosing_a_walker
    cycles
    debugging
    embedding
    porting
    several_stacks
    threads
    writing_a_walker
}
