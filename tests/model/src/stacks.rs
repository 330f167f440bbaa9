//! Made-up stacks, laid out as real ones are.
//!
//! ```text
//!   lower addresses: younger                                             higher: older
//!
//!   exit      | words of the | record | words of the | record | entry  | host frame | the oldest
//!   trampo-   | youngest     | of its | oldest Wasm  |        | tram-  | with the   | host frame
//!   line's    | Wasm frame   | frame  | frame        |        | poline | canary     |
//!   record    |              |        |              |        | record |            |
//!             ^ sp           ^ fp     ^ sp           ^ fp     ^ entry fp
//! ```
//!
//! A record is the address of the next older record and the return address into the next older
//! frame, so that the walkers over activation records can walk these stacks too.

use crate::frames::{WasmFrame, Word};
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr;
use vmexternref_core::{CanaryGuard, StackCanary, VMExternRefActivationsTable};
use vmexternref_frame_pointer::{ActivationRecord, RecordOffsets};

pub(crate) const WORD: usize = size_of::<usize>();

/// Words of one stack.
const WORDS: usize = 512;

/// Words in the record of a frame.
const RECORD: usize = 2;

/// Words in a frame of the host.
const HOST_FRAME: usize = 8;

/// Words that a frame holds beside what its stack map says.
const SLACK: usize = 6;

/// The return address into the host that made the call into Wasm.
pub(crate) const HOST_PC: usize = 0x100;

/// What is in words that are not live: no box, and misaligned.
const STALE: usize = 0xdead_beef;

/// One call into Wasm, and the frames below it.
pub(crate) struct Activation {
    /// The table of the context that was entered.
    pub(crate) table: usize,
    /// Where the host's frame is that made the call.
    pub(crate) host_sp: usize,
    entry_fp: usize,
    canary: Option<(usize, ManuallyDrop<CanaryGuard<'static>>)>,
    /// The oldest first.
    pub(crate) frames: Vec<WasmFrame>,
}

impl Activation {
    /// The address of the canary that the call has.
    pub(crate) fn canary(&self) -> Option<usize> {
        self.canary.as_ref().map(|(address, _)| *address)
    }
}

/// A stack, which is running or suspended.
pub(crate) struct Stack {
    memory: *mut usize,
    /// The lowest word in use.
    top: usize,
    /// Whether a walk can go on to a frame above the oldest call into Wasm.
    pub(crate) has_oldest_frame: bool,
    /// The oldest first.
    pub(crate) activations: Vec<Activation>,
    /// For each table, what its trampolines have recorded.
    records: [ActivationRecord; 2],
}

impl Stack {
    pub(crate) fn new(has_oldest_frame: bool) -> Self {
        let memory = Box::into_raw(vec![STALE; WORDS].into_boxed_slice()).cast::<usize>();
        // Collections read it by address.
        memory.expose_provenance();
        Self {
            memory,
            top: WORDS - HOST_FRAME,
            has_oldest_frame,
            activations: Vec::new(),
            records: [ActivationRecord::new(), ActivationRecord::new()],
        }
    }

    fn address(&self, word: usize) -> usize {
        self.memory.addr() + word * WORD
    }

    /// The addresses of the stack.
    pub(crate) fn range(&self) -> Range<usize> {
        self.address(0)..self.address(WORDS)
    }

    /// The stack pointer of the oldest frame, which is one of the host.
    pub(crate) fn oldest_sp(&self) -> usize {
        self.address(WORDS - HOST_FRAME)
    }

    /// Whether there is room for a call into Wasm and a large frame.
    pub(crate) fn has_room(&self) -> bool {
        self.top > 256
    }

    fn write(&self, word: usize, value: usize) {
        assert!(word < WORDS, "a write inside the stack");
        // SAFETY: the word lies in the memory of this stack.
        unsafe { self.memory.add(word).write(value) }
    }

    /// Begins a call into Wasm.
    pub(crate) fn enter(
        &mut self,
        table: usize,
        canary_of: Option<&'static VMExternRefActivationsTable>,
    ) {
        let host = self.top - HOST_FRAME;
        let canary = canary_of.map(|table| {
            // SAFETY: the host's frame has room for a canary and lies in the memory of this stack,
            // which outlives the guard; nothing else is written there before the guard goes.
            let canary: &'static StackCanary = unsafe {
                let place: *mut StackCanary = self.memory.add(host + 1).cast();
                place.write(StackCanary::new());
                &*place
            };
            // SAFETY: the guard goes with the activation, or is forgotten after the canaries of
            // this stack were discarded.
            let guard = unsafe { table.set_stack_canary(canary) };
            (ptr::from_ref(canary).addr(), ManuallyDrop::new(guard))
        });
        let entry = host - RECORD;
        self.write(entry, 0);
        self.write(entry + 1, HOST_PC);
        self.top = entry;
        self.activations.push(Activation {
            table,
            host_sp: self.address(host),
            entry_fp: self.address(entry),
            canary,
            frames: Vec::new(),
        });
    }

    /// Pushes a frame onto the youngest activation: `words` long, or with room for so many.
    pub(crate) fn push(&mut self, pc: usize, module: usize, words: u32, size_is_known: bool) {
        let activation = self.activations.last().expect("Wasm was entered");
        let (older_fp, older_pc) = match activation.frames.last() {
            Some(frame) => (frame.fp, frame.pc),
            None => (activation.entry_fp, HOST_PC + 1),
        };
        let fp = self.top - RECORD;
        let slack = if size_is_known { 0 } else { SLACK };
        let sp = fp - words as usize - slack;
        self.write(fp, older_fp);
        self.write(fp + 1, older_pc);
        for word in sp..fp {
            self.write(word, STALE);
        }
        self.top = sp;
        let frame = WasmFrame {
            pc,
            module,
            sp: self.address(sp),
            fp: self.address(fp),
            size_is_known,
            live: Vec::new(),
            pins: Vec::new(),
        };
        let activation = self.activations.last_mut().expect("Wasm was entered");
        activation.frames.push(frame);
    }

    /// The youngest frame, if it is one of Wasm.
    pub(crate) fn youngest(&self) -> Option<&WasmFrame> {
        self.activations.last()?.frames.last()
    }

    pub(crate) fn youngest_mut(&mut self) -> Option<&mut WasmFrame> {
        self.activations.last_mut()?.frames.last_mut()
    }

    /// Sets the live word at `slot` of the youngest frame.
    pub(crate) fn set(&mut self, slot: u32, word: Word, value: usize) {
        let frame = self.youngest_mut().expect("there is a frame");
        frame.live.retain(|(at, _)| *at != slot);
        frame.live.push((slot, word));
        let index = (frame.sp - self.memory.addr()) / WORD + slot as usize;
        self.write(index, value);
    }

    /// Ends the youngest frame, and the call into Wasm if it was its last.
    pub(crate) fn pop(&mut self) -> Option<WasmFrame> {
        let activation = self.activations.last_mut()?;
        let frame = activation.frames.pop();
        match &frame {
            Some(frame) => self.top = (frame.fp - self.memory.addr()) / WORD + RECORD,
            None => self.leave(),
        }
        frame
    }

    fn leave(&mut self) {
        let activation = self.activations.pop().expect("Wasm was entered");
        if let Some((_, guard)) = activation.canary {
            drop(ManuallyDrop::into_inner(guard));
        }
        self.top = (activation.entry_fp - self.memory.addr()) / WORD + RECORD + HOST_FRAME;
    }

    fn activations_of(&self, table: usize) -> impl Iterator<Item = &Activation> {
        let of_table = move |activation: &&Activation| activation.table == table;
        self.activations.iter().filter(of_table)
    }

    /// Whether one record cannot say all that this stack has of `table`.
    pub(crate) fn has_several(&self, table: usize) -> bool {
        self.activations_of(table).nth(1).is_some()
    }

    /// What the trampolines of `table` record on this stack.
    pub(crate) fn record(&self, table: usize) -> &ActivationRecord {
        &self.records[table]
    }

    /// Runs `f` within a call of which the record says what this stack has of `table`.
    pub(crate) fn within(&self, table: usize, f: &mut dyn FnMut()) {
        // SAFETY: nothing walks the record after `f`, which returns.
        unsafe {
            self.record(table).enter(|| {
                self.store_activation(table);
                f();
            });
        }
    }

    fn store_activation(&self, table: usize) {
        let (mut exit_pc, mut exit_fp, mut entry_fp) = (0, 0, 0);
        if let Some(activation) = self.activations_of(table).next()
            && let Some(frame) = activation.frames.last()
        {
            (exit_pc, entry_fp) = (frame.pc, activation.entry_fp);
            let (fp, below) = (frame.fp, (frame.sp - self.memory.addr()) / WORD - RECORD);
            exit_fp = self.address(below);
            // Below the youngest frame of all, or in the host's frame that the call came from.
            self.write(below, fp);
        }
        let record = &self.records[table];
        let store = |offset: u8, value: usize| {
            let record = ptr::from_ref(record).cast_mut();
            // SAFETY: a trampoline stores so: the offset is that of a `Cell<usize>` in the record.
            unsafe {
                record
                    .byte_add(usize::from(offset))
                    .cast::<usize>()
                    .write(value);
            }
        };
        store(RecordOffsets::HOST.exit_pc(), exit_pc);
        store(RecordOffsets::HOST.exit_fp(), exit_fp);
        store(RecordOffsets::HOST.entry_fp(), entry_fp);
    }

    /// Takes the canaries of the stack away, which goes while Wasm is suspended on it.
    pub(crate) fn discard_canaries(&self, tables: [&VMExternRefActivationsTable; 2]) {
        for table in tables {
            // SAFETY: nothing on this stack goes on, and its guards are never dropped.
            unsafe { table.discard_stack_canaries(&self.range()) };
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let memory = ptr::slice_from_raw_parts_mut(self.memory, WORDS);
        // SAFETY: the memory came from a box of so many words, and the guards of its canaries have
        // gone or are never dropped.
        drop(unsafe { Box::from_raw(memory) });
    }
}
