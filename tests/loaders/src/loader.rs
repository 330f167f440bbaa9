//! One loader and its check.

use crate::counting::Bound;
use crate::mutation::mutate;
use crate::{object_file, seeds, stack_maps, text, unwind_tables, wasm};
use arbitrary::{Result as Arbitrary, Unstructured};
use vmexternref_model::bytes_of;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Loader {
    /// Its name, which is also that of its fuzz target.
    pub name: &'static str,
    /// Reads any bytes.
    pub read: fn(&[u8]),
    /// Bytes that it accepts.
    pub seeds: fn() -> &'static [Vec<u8>],
    /// The most memory that it may need.
    pub memory: Bound,
}

/// All loaders.
pub const LOADERS: [Loader; 5] = [
    Loader {
        name: "wasm",
        read: wasm::read,
        seeds: seeds::modules,
        memory: wasm::MEMORY,
    },
    Loader {
        name: "text",
        read: text::read,
        seeds: seeds::texts,
        memory: text::MEMORY,
    },
    Loader {
        name: "object_file",
        read: object_file::read,
        seeds: seeds::object_files,
        memory: object_file::MEMORY,
    },
    Loader {
        name: "stack_maps",
        read: stack_maps::read,
        seeds: seeds::stack_maps,
        memory: stack_maps::MEMORY,
    },
    Loader {
        name: "unwind_tables",
        read: unwind_tables::read,
        seeds: seeds::unwind_tables,
        memory: unwind_tables::MEMORY,
    },
];

impl Loader {
    /// The loader of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        LOADERS.iter().find(|loader| loader.name == name)
    }

    /// Reads `bytes`.
    ///
    /// # Panics
    ///
    /// When the loader panics, contradicts itself or needs more memory than it may.
    pub fn check(&self, bytes: &[u8]) {
        self.memory
            .check(self.name, bytes.len(), || (self.read)(bytes));
    }

    /// Bytes made from a seed, or from nothing.
    ///
    /// # Errors
    ///
    /// When `u` has no bytes left.
    pub fn arbitrary(&self, u: &mut Unstructured<'_>) -> Arbitrary<Vec<u8>> {
        mutate((self.seeds)(), u)
    }

    /// The input of that number, the same on every machine.
    #[must_use]
    pub fn input(&self, number: u64) -> Vec<u8> {
        let entropy = bytes_of(number);
        let made = self.arbitrary(&mut Unstructured::new(&entropy));
        // Without bytes left, the input is what there was.
        made.unwrap_or(entropy)
    }
}
