//! A walker for frames of one's own, checked against a second account of them.
//!
//! The machine below keeps its frames on a stack of its own, without frame pointers:
//!
//! ```text
//!   youngest                                           oldest
//!   | pc | size | slot | pc | size | slot | slot | … |  end of the stack
//!   ^ top              ^ top + size
//! ```
//!
//! Run it with `cargo run -p vmexternref --example own_walker`.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::ops::ControlFlow;
use vmexternref::{
    ComparingWalker, Frame, GcOutcome, Matching, ModuleStackMaps, RecordedWalker, StackMap,
    StackMapRegistry, StackWalker, VMExternRef, VMExternRefActivationsTable, WalkEnd, gc,
};

/// Words at the start of a frame: where it goes on, and its size in words.
const HEADER: usize = 2;
/// Where the machine's only function lies; nothing is read there.
const CODE: usize = 0x1000;
/// Where its only call returns to.
const CALL: usize = CODE + 4;

struct Machine {
    stack: Vec<Cell<usize>>,
    /// The index of the youngest frame's first word.
    top: Cell<usize>,
    /// A second account, to compare with: the frames, oldest first.
    calls: RefCell<Vec<Frame>>,
    table: VMExternRefActivationsTable,
    registry: StackMapRegistry,
}

// SAFETY: `call` keeps the frames as drawn above, so the walk visits all of them, youngest first,
// each with its true address. It ends where the stack ends, or says that it stopped. It runs no
// other code.
unsafe impl StackWalker for Machine {
    fn walk(&self, visit: &mut dyn FnMut(Frame) -> ControlFlow<()>) -> WalkEnd {
        let mut rest = &self.stack[self.top.get()..];
        while let [pc, size, ..] = rest {
            let (pc, size) = (pc.get(), size.get());
            // Do not believe the stack: a wrong size leads anywhere.
            if size < HEADER || size > rest.len() {
                return WalkEnd::stopped("a frame has an impossible size", Some(pc));
            }
            let frame = Frame::of_compiled_code(pc, Some(address(rest)), None);
            if visit(frame).is_break() {
                return WalkEnd::INTERRUPTED;
            }
            rest = &rest[size..];
        }
        WalkEnd::Complete
    }

    fn proves_end(&self) -> bool {
        true
    }
}

/// The address of a frame. Collections read its slots by their addresses.
fn address(frame: &[Cell<usize>]) -> usize {
    frame.as_ptr().expose_provenance()
}

impl Machine {
    fn new() -> Result<Self, Box<dyn Error>> {
        let registry = StackMapRegistry::new();
        let mut module = ModuleStackMaps::new(0x10, Matching::Exact);
        module.function(0..0x10)?;
        // The frame's size is not known, so that words count from its start.
        module.safepoint(4, StackMap::new(None, [2])?)?;
        registry.register(CODE, module)?;
        Ok(Self {
            stack: vec![Cell::new(0); 64],
            top: Cell::new(64),
            calls: RefCell::default(),
            table: VMExternRefActivationsTable::new(),
            registry,
        })
    }

    /// The guest: makes an object, holds it in its slot, and calls itself `depth` times.
    fn call(&self, depth: usize, then: &dyn Fn()) {
        let older = self.top.get();
        let size = HEADER + 1;
        let top = older - size;
        let frame = &self.stack[top..older];
        let object = VMExternRef::new(depth);
        frame[0].set(CALL);
        frame[1].set(size);
        frame[2].set(object.as_raw().expose_provenance());
        self.table.insert_without_gc(object);
        self.top.set(top);
        self.calls
            .borrow_mut()
            .push(Frame::of_compiled_code(CALL, Some(address(frame)), None));
        match depth {
            0 => then(),
            _ => self.call(depth - 1, then),
        }
        self.calls.borrow_mut().pop();
        self.top.set(older);
    }

    fn collect(&self, walker: &impl StackWalker) -> GcOutcome {
        // SAFETY: the walker shows the machine's frames, whose slots are as the stack map says, and
        // `call` inserts what it puts into them.
        let report = unsafe { gc(&self.registry, &self.table, walker) };
        println!("{report}");
        report.outcome
    }
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let machine = Machine::new()?;
    machine.call(2, &|| {
        // Each frame's object, and this one, which no frame holds.
        machine.table.insert_without_gc(VMExternRef::new("garbage"));
        assert_eq!(machine.collect(&machine), GcOutcome::Swept);
        assert_eq!(machine.table.len(), 3);

        // Do both accounts agree? A collection keeps everything where they don't.
        let mut frames = machine.calls.borrow().clone();
        frames.reverse();
        // SAFETY: they are the frames of the calls in progress, all of them.
        let recorded = unsafe { RecordedWalker::new(frames, WalkEnd::Complete) };
        let both = ComparingWalker::new(&machine.registry, &machine, recorded);
        assert_eq!(machine.collect(&both), GcOutcome::Swept);
        assert!(both.take_differences().is_empty());

        // A stack that something has written over: the walk says so, and nothing is freed.
        let size = machine.stack[machine.top.get() + 1].replace(1000);
        assert_eq!(machine.collect(&machine), GcOutcome::KeptStopped);
        machine.stack[machine.top.get() + 1].set(size);
    });
    assert_eq!(machine.collect(&machine), GcOutcome::Swept);
    assert!(machine.table.is_empty());
    Ok(())
}
