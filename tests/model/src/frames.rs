//! Frames of compiled code, and what their words truly hold.

use crate::objects::Id;

/// What a live word of a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Null,
    /// An object, for which a table has an entry if the host has kept its contract.
    Object(Id),
    /// No box can be at such an address: an immediate, where the table was told so.
    Misaligned(usize),
    /// Any address, for tables that verify.
    Wild(usize),
}

/// A frame of a Wasm function.
#[derive(Debug)]
pub(crate) struct WasmFrame {
    /// The return address at which it goes on.
    pub(crate) pc: usize,
    /// The module of the code, by its place.
    pub(crate) module: usize,
    /// Addresses in bytes.
    pub(crate) sp: usize,
    pub(crate) fp: usize,
    /// Whether the stack map at `pc` knows the size of the frame.
    pub(crate) size_is_known: bool,
    /// The live words, each with its distance from `sp` in words.
    pub(crate) live: Vec<(u32, Word)>,
    /// Objects for which the host has made no entry, and which it holds in place of that.
    pub(crate) pins: Vec<Id>,
}

impl WasmFrame {
    /// The objects that the frame holds.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Id> {
        self.live.iter().filter_map(|(_, word)| match word {
            Word::Object(id) => Some(*id),
            _ => None,
        })
    }
}
