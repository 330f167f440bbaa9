//! An artificial stack of Wasm frames: words in memory, and an activation record.

use core::ptr;
use std::sync::Arc;
use vmexternref_core::{
    GcReport, Matching, ModuleStackMaps, StackMap, StackMapRegistry, VMExternRef,
    VMExternRefActivationsTable, gc,
};
use vmexternref_frame_pointer::{ActivationRecord, ActivationsWalker, RecordOffsets};

/// Words of a frame: its record, and four words for references.
///
/// ```text
/// callee's fp ---> fp of this frame
///                  return pc into this frame
///          sp ---> reference 0
///                  references 1, 2, 3
///          fp ---> the next record
/// ```
const FRAME_WORDS: usize = 6;

/// Words of a frame's record.
const RECORD_WORDS: usize = 2;

const WORD: usize = size_of::<usize>();

const BASE: usize = 0x1000;

/// Bytes from one safepoint to the next.
const STEP: usize = 0x20;

/// Frames with references, and the table and registry for a collection.
#[derive(Debug)]
pub struct MadeStack {
    /// Boxed, so that moving this value does not move the words.
    words: Vec<usize>,
    record: ActivationRecord,
    registry: Arc<StackMapRegistry>,
    table: VMExternRefActivationsTable,
}

/// What `ActivationRecord::enter` keeps where compiled code was not entered before.
static NOTHING: [usize; 4] = [0; 4];

impl MadeStack {
    /// Makes a stack of frames, each with up to four references of its own.
    ///
    /// The frames take turns at `safepoints` return addresses.
    ///
    /// # Errors
    ///
    /// When the code has no room for so many safepoints.
    pub fn new(
        frames: usize,
        references: usize,
        safepoints: usize,
    ) -> Result<Self, Box<dyn core::error::Error>> {
        Self::registered_in(Arc::default(), frames, references, safepoints)
    }

    /// Makes a stack as [`new`](Self::new) does, over a registry that others use too.
    ///
    /// Equal stacks share one module.
    ///
    /// # Errors
    ///
    /// When the code has no room for so many safepoints, or overlaps a module of the registry.
    pub fn registered_in(
        registry: Arc<StackMapRegistry>,
        frames: usize,
        references: usize,
        safepoints: usize,
    ) -> Result<Self, Box<dyn core::error::Error>> {
        let code = u32::try_from((safepoints + 1) * STEP)?;
        let mut module = ModuleStackMaps::new(code, Matching::Exact);
        module.function(0..code)?;
        for safepoint in 1..=safepoints {
            let live = (0..4).take(references);
            let offset = u32::try_from(safepoint * STEP)?;
            module.safepoint(offset, StackMap::new(Some(4), live)?)?;
        }
        registry.register(BASE, module)?;
        let table = VMExternRefActivationsTable::new();
        table.set_verification(false);
        let mut made = Self {
            words: vec![0; (frames + 2) * FRAME_WORDS],
            record: ActivationRecord::new(),
            registry,
            table,
        };
        made.fill(frames, references, safepoints);
        Ok(made)
    }

    /// Writes the records of an exit trampoline, the frames, and an entry trampoline.
    fn fill(&mut self, frames: usize, references: usize, safepoints: usize) {
        let base = self.words.as_ptr().expose_provenance();
        let fp = |frame: usize| base + frame * FRAME_WORDS * WORD;
        for frame in 0..=frames {
            let start = frame * FRAME_WORDS;
            let pc = BASE + (frame % safepoints + 1) * STEP;
            self.words[start] = fp(frame + 1);
            self.words[start + 1] = pc;
            let references = if frame < frames { references } else { 0 };
            for word in 0..references {
                let object = VMExternRef::new(7_u64);
                self.words[start + RECORD_WORDS + word] = object.as_raw().expose_provenance();
                self.table.insert_without_gc(object);
            }
        }
        let exit_pc = self.words[1];
        self.record_word(RecordOffsets::HOST.exit_fp(), fp(0));
        self.record_word(RecordOffsets::HOST.exit_pc(), exit_pc);
        self.record_word(RecordOffsets::HOST.entry_fp(), fp(frames + 1));
        // The record's last word leads to what lies outside of this call: to zeros, for nothing.
        let older = RecordOffsets::HOST.size() - RecordOffsets::HOST.exit_fp();
        self.record_word(older, (&raw const NOTHING).expose_provenance());
    }

    fn record_word(&self, offset: u8, word: usize) {
        let record = ptr::from_ref(&self.record).cast_mut();
        let field = record
            .wrapping_byte_add(usize::from(offset))
            .cast::<usize>();
        // SAFETY: `RecordOffsets` gives the offset of a `Cell<usize>` inside the record.
        unsafe { field.write(word) }
    }

    /// The walker that starts from the activation record.
    #[must_use]
    pub fn walker(&self) -> ActivationsWalker<'_> {
        ActivationsWalker::new(&self.record)
    }

    /// The table with the references of the frames.
    #[must_use]
    pub fn table(&self) -> &VMExternRefActivationsTable {
        &self.table
    }

    /// Collects. The references in frames stay.
    #[must_use]
    pub fn collect(&self) -> GcReport {
        // SAFETY: the frames are as the map says, every reference in them is in the table, and the
        // walk is complete.
        unsafe { gc(&self.registry, &self.table, &self.walker()) }
    }
}

#[cfg(test)]
mod tests {
    use super::MadeStack;
    use vmexternref_core::{GcOutcome, VMExternRef};

    #[test]
    fn a_collection_finds_what_was_made() {
        let stack = MadeStack::new(10, 4, 2).unwrap();
        stack.table().insert_without_gc(VMExternRef::new(1));
        let report = stack.collect();
        assert_eq!(report.outcome, GcOutcome::Swept);
        assert_eq!((report.wasm_frames, report.freed), (10, 1));
        assert_eq!(report.roots, report.entries_after);
        assert_eq!(report.roots, 40);
    }
}
