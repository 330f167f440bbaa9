//! Watching collections: what one sees on the stack, and what it frees.

use crate::activations_table::VMExternRefActivationsTable;
use crate::entry_set::EntrySet;
use crate::extern_ref::{VMExternData, VMExternRef};
use crate::fault::Faults;
use crate::frame_reader::walk_roots;
use crate::garbage::Garbage;
use crate::layout::WORD;
use crate::module_maps::{Found, Place};
use crate::registry::Reading;
use crate::report::GcReport;
use crate::site::Site;
use crate::stack_map::StackMap;
use crate::walker::{Frame, StackWalker, WalkEnd};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{ControlFlow, Range};
use core::ptr;

/// Sees collections: the frames, what each slot holds, and what dies.
///
/// A host passes one to [`collect_observed`](crate::collect_observed). No foreign code may run
/// while roots are marked, so a collection calls its observer before the first mark and after the
/// last:
///
/// ```text
/// walk, record the frames --> walked() --> walk again: mark, decide, sweep --> collected()
///                                                                          then destructors
/// ```
///
/// Both methods may allocate, log, clone and drop references, insert, collect, call Wasm, and
/// panic. Nothing live is freed by that. A collection of the same table that `walked` asks for does
/// nothing ([`GcOutcome::AlreadyCollecting`](crate::GcOutcome::AlreadyCollecting)), and neither
/// method is called for it. Insertions are not observed.
///
/// # Cost
///
/// A host without observer pays nothing. An observed collection walks once more, and needs memory
/// for a copy of each frame and slot and for a set of the table's entries. Where memory is out, the
/// observer sees fewer frames ([`ObservedStack::unrecorded`]), and the collection is the same.
///
/// # Example
///
/// Which object does which frame hold, and what died?
///
/// ```
/// use vmexternref_core::*;
///
/// #[derive(Default)]
/// struct Log(Vec<String>);
///
/// impl Observer for Log {
///     fn walked(&mut self, stack: &ObservedStack<'_>) {
///         for frame in stack.frames() {
///             for slot in frame.slots() {
///                 let SlotContent::Object(object) = slot.content() else { continue };
///                 let name = object.downcast_ref::<&str>().unwrap();
///                 self.0.push(format!("pc {:#x} holds {name}", frame.frame().pc));
///             }
///         }
///     }
///
///     fn collected(&mut self, report: &GcReport, garbage: &Garbage) {
///         for (_, value) in garbage.boxes() {
///             self.0.push(format!("{} dies", value.downcast_ref::<&str>().unwrap()));
///         }
///         self.0.push(report.outcome.to_string());
///     }
/// }
///
/// let registry = StackMapRegistry::new();
/// let mut module = ModuleStackMaps::new(0x100, Matching::Exact);
/// module.function(0..0x100)?;
/// module.safepoint(0x10, StackMap::new(None, [1])?)?;
/// registry.register(0x1000, module)?;
///
/// let table = VMExternRefActivationsTable::new();
/// let (held, dropped) = (VMExternRef::new("this"), VMExternRef::new("that"));
/// let stack = [0, held.as_raw().addr()];
/// table.insert_without_gc(held);
/// table.insert_without_gc(dropped);
///
/// let frame = Frame::of_compiled_code(0x1010, Some(stack.as_ptr().expose_provenance()), None);
/// let mut log = Log::default();
/// // SAFETY: `stack` is the only frame, its map is right, and the table has what it holds.
/// let (_, garbage) = unsafe {
///     let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
///     collect_observed(&registry, &table, &walker, &mut log)
/// };
/// drop(garbage); // runs the destructors
/// assert_eq!(log.0, ["pc 0x1010 holds this", "that dies", "swept"]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub trait Observer {
    /// The stack was walked; nothing is marked yet.
    ///
    /// The collection that follows visits these frames again, and reads these slots.
    fn walked(&mut self, stack: &ObservedStack<'_>) {
        let _ = stack;
    }

    /// The collection is over, and everything but the destructors has been done.
    ///
    /// `garbage` are the boxes that died. It is the last call for this collection.
    fn collected(&mut self, report: &GcReport, garbage: &Garbage) {
        let _ = (report, garbage);
    }
}

/// The frames that a collection is about to read, and what is in their slots.
pub struct ObservedStack<'c> {
    modules: &'c Reading<'c>,
    entries: EntrySet<'c>,
    immediate_bits: usize,
    recording: Recording,
    unrecorded: usize,
    end: WalkEnd,
}

impl<'c> ObservedStack<'c> {
    /// Walks, and records the frames that a collection visits, with their slots.
    ///
    /// # Safety
    ///
    /// The contract of [`gc`](crate::gc).
    pub(crate) unsafe fn record(
        modules: &'c Reading<'c>,
        table: &'c VMExternRefActivationsTable,
        walker: &dyn StackWalker,
    ) -> Self {
        let recorder = Recorder {
            walker,
            modules,
            recording: RefCell::default(),
        };
        // SAFETY: the caller keeps the contract of `gc`.
        let walked = unsafe {
            walk_roots::<_, false>(modules, table, &recorder, &mut Faults::new(0), |_| {
                Ok(false)
            })
        };
        let mut recording = recorder.recording.into_inner();
        // A frame at which the walk broke off is not part of it.
        recording.frames.truncate(walked.frames);
        Self {
            modules,
            entries: EntrySet::new(table),
            immediate_bits: table.immediate_bits(),
            unrecorded: walked.frames - recording.frames.len(),
            recording,
            end: walked.end,
        }
    }

    /// The frames in the order of the walk: of each stack the youngest first.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = ObservedFrame<'_>> {
        self.recording.frames.iter().map(|recorded| ObservedFrame {
            stack: self,
            recorded,
        })
    }

    /// How many frames of the walk are not in [`frames`](Self::frames), because memory was out.
    #[must_use]
    pub fn unrecorded(&self) -> usize {
        self.unrecorded
    }

    /// How the walk ended.
    #[must_use]
    pub fn end(&self) -> WalkEnd {
        self.end
    }

    /// What `word` is, read from a slot of a frame.
    fn kind(&self, word: usize) -> Kind {
        if word == 0 {
            Kind::Null
        } else if VMExternData::can_be_at(word) {
            match self.entries.contains(word) {
                // SAFETY: an entry of the table is this reference. It stays there while the stack
                // lives, because the collection has claimed the table.
                true => Kind::Object(ManuallyDrop::new(unsafe {
                    VMExternRef::from_raw(ptr::with_exposed_provenance_mut(word))
                })),
                false => Kind::NotInTable,
            }
        } else if word & self.immediate_bits != 0 {
            Kind::Immediate
        } else {
            Kind::Misaligned
        }
    }
}

impl fmt::Debug for ObservedStack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedStack")
            .field("frames", &self.recording.frames)
            .field("unrecorded", &self.unrecorded)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Frames with their slots.
#[derive(Default)]
struct Recording {
    frames: Vec<RecordedFrame>,
    /// Address and word of the slots of all frames.
    slots: Vec<(usize, usize)>,
    /// Whether there was no memory for a frame.
    is_full: bool,
}

/// A frame, and which of the slots are its own.
#[derive(Debug)]
struct RecordedFrame {
    frame: Frame,
    live_words: usize,
    slots: Range<usize>,
}

impl Recording {
    /// Adds a frame with its slots; `None` without memory.
    ///
    /// # Safety
    ///
    /// `frame` is a true frame, and what was `found` at its `pc` describes it.
    unsafe fn push(&mut self, frame: Frame, found: Found<'_>) -> Option<()> {
        let map = match found {
            Found::Wasm(map) => map,
            Found::Outside | Found::Code | Found::Undeclared => None,
        };
        let live = || map.into_iter().flat_map(StackMap::live_words);
        let (live_words, first) = (live().count(), self.slots.len());
        self.frames.try_reserve(1).ok()?;
        if let Some(start) = Site::new(found).first_word(frame.sp.unwrap_or(0), frame.fp) {
            self.slots.try_reserve(live_words).ok()?;
            self.slots.extend(live().map(|word| {
                let address = start + word as usize * WORD;
                // SAFETY: the caller guarantees that the words that the map calls live can be read.
                let word = unsafe { ptr::with_exposed_provenance::<usize>(address).read() };
                (address, word)
            }));
        }
        self.frames.push(RecordedFrame {
            frame,
            live_words,
            slots: first..self.slots.len(),
        });
        Some(())
    }
}

/// A walker that records what another one shows.
struct Recorder<'w> {
    walker: &'w dyn StackWalker,
    modules: &'w Reading<'w>,
    recording: RefCell<Recording>,
}

// SAFETY: it visits what the other walker visits, and passes on how that ends.
unsafe impl StackWalker for Recorder<'_> {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        self.walker.walk(&mut |frame| {
            let mut recording = self.recording.borrow_mut();
            // What is recorded has no gap.
            if !recording.is_full {
                // SAFETY: whoever walks guarantees true frames, and maps that describe them.
                let pushed = unsafe { recording.push(frame, self.modules.find(frame.pc)) };
                recording.is_full = pushed.is_none();
            }
            visit(frame)
        })
    }

    fn proves_end(&self) -> bool {
        self.walker.proves_end()
    }
}

/// A frame, what the registry knows of its code, and its slots.
pub struct ObservedFrame<'s> {
    stack: &'s ObservedStack<'s>,
    recorded: &'s RecordedFrame,
}

impl<'s> ObservedFrame<'s> {
    /// The frame as the walker showed it.
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.recorded.frame
    }

    /// Whether the frame is one of a Wasm function.
    #[must_use]
    pub fn is_wasm(&self) -> bool {
        self.function().is_some()
    }

    /// The addresses of the registered module that the frame's code is in.
    ///
    /// `None` for host code, and for compiled code that is not registered.
    #[must_use]
    pub fn module(&self) -> Option<Range<usize>> {
        self.place().map(|place| place.module)
    }

    /// The addresses of the frame's Wasm function.
    ///
    /// `None` outside of Wasm functions, in trampolines for instance.
    #[must_use]
    pub fn function(&self) -> Option<Range<usize>> {
        self.place().and_then(|place| place.function)
    }

    fn place(&self) -> Option<Place> {
        self.stack.modules.place(self.recorded.frame.pc)
    }

    /// Words that the stack map calls live, those that cannot be read included.
    #[must_use]
    pub fn live_words(&self) -> usize {
        self.recorded.live_words
    }

    /// The live words, youngest first.
    ///
    /// There are none if the frame does not tell where they are; see
    /// [`GcOutcome::KeptUnreadable`](crate::GcOutcome::KeptUnreadable).
    pub fn slots(&self) -> impl ExactSizeIterator<Item = ObservedSlot<'s>> + use<'s> {
        let stack = self.stack;
        let slots = &stack.recording.slots[self.recorded.slots.clone()];
        slots.iter().map(|&(address, word)| ObservedSlot {
            address,
            word,
            kind: stack.kind(word),
            stack: PhantomData,
        })
    }
}

impl fmt::Debug for ObservedFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObservedFrame")
            .field("frame", &self.recorded.frame)
            .field("module", &self.module())
            .field("function", &self.function())
            .finish_non_exhaustive()
    }
}

/// A live word of a frame.
#[derive(Debug)]
pub struct ObservedSlot<'s> {
    address: usize,
    word: usize,
    kind: Kind,
    /// The stack, which keeps the object alive.
    stack: PhantomData<&'s ()>,
}

/// What a word is; an object is not counted.
#[derive(Debug)]
enum Kind {
    Null,
    Immediate,
    Object(ManuallyDrop<VMExternRef>),
    NotInTable,
    Misaligned,
}

impl ObservedSlot<'_> {
    /// The address of the slot.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// The word in it.
    #[must_use]
    pub fn word(&self) -> usize {
        self.word
    }

    /// What the word is.
    #[must_use]
    pub fn content(&self) -> SlotContent<'_> {
        match &self.kind {
            Kind::Null => SlotContent::Null,
            Kind::Immediate => SlotContent::Immediate,
            Kind::Object(object) => SlotContent::Object(object),
            Kind::NotInTable => SlotContent::NotInTable,
            Kind::Misaligned => SlotContent::Misaligned,
        }
    }
}

/// What a live word of a frame turned out to be.
///
/// [`NotInTable`](Self::NotInTable) and [`Misaligned`](Self::Misaligned) break the contract of
/// [`gc`](crate::gc), so the collection keeps everything. A table that [allows foreign
/// roots](VMExternRefActivationsTable::allow_foreign_roots) takes the former for a reference of
/// another table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SlotContent<'s> {
    /// The null reference.
    Null,
    /// An [immediate](VMExternRefActivationsTable::set_immediate_bits), which is no reference.
    Immediate,
    /// A reference that is in the table.
    ///
    /// A clone of it keeps the object alive.
    Object(&'s VMExternRef),
    /// A word that is in no entry of the table: it may be anything.
    NotInTable,
    /// A word that is no address of a box, because it is misaligned.
    Misaligned,
}
