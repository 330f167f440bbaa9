//! A compiled function with an unwind table.

use core::ffi::c_void;
use core::ops::ControlFlow;
use memmap2::{Mmap, MmapMut};
use vmexternref_backtrace::BacktraceWalker;
use vmexternref_core::{
    Frame, GcOutcome, RecordedWalker, StackMapRegistry, StackWalker, VMExternRefActivationsTable,
    WalkEnd, gc,
};

/// Keeps its frame pointer, and calls its first argument with that and its second argument.
const CODE: [u8; 14] = [
    0x55, // push rbp
    0x48, 0x89, 0xe5, // mov rbp, rsp
    0x48, 0x89, 0xf8, // mov rax, rdi
    0x48, 0x89, 0xef, // mov rdi, rbp
    0xff, 0xd0, // call rax
    0x5d, // pop rbp
    0xc3, // ret
];
const RETURN_OFFSET: usize = 12;
/// Where the table in place lies behind the start of the code, in bytes.
const TABLE: usize = 64;

/// The function in executable memory, with a table behind it.
pub(crate) struct CompiledCode {
    memory: Mmap,
    table_bytes: usize,
}

impl CompiledCode {
    /// Places a table with this augmentation; the function's address is relative to the table.
    pub(crate) fn new(letters: &str) -> Self {
        let table = table(letters, 0x1b, |field| {
            let distance = i32::try_from(TABLE + field).expect("short");
            (-distance).to_ne_bytes().to_vec()
        });
        let mut memory = MmapMut::map_anon(4096).expect("memory");
        memory[..CODE.len()].copy_from_slice(&CODE);
        memory[TABLE..TABLE + table.len()].copy_from_slice(&table);
        Self {
            memory: memory.make_exec().expect("executable memory"),
            table_bytes: table.len(),
        }
    }

    /// The table in place, which is registered by nobody yet.
    pub(crate) fn table_in_place(&self) -> *const [u8] {
        &raw const self.memory[TABLE..TABLE + self.table_bytes]
    }

    /// A table with this augmentation and the function's absolute address.
    pub(crate) fn absolute_table(&self, letters: &str) -> Box<[u8]> {
        let start = self.memory.as_ptr().addr();
        table(letters, 0x00, |_| start.to_ne_bytes().to_vec()).into()
    }

    /// The address of the call.
    pub(crate) fn pc(&self) -> usize {
        self.memory.as_ptr().addr() + RETURN_OFFSET - 1
    }

    /// Asserts that a walk from below the function passes it.
    pub(crate) fn assert_passed(&self) {
        let (seen, index) = self.run();
        let frame = &seen.frames[index];
        assert_eq!(frame.fp, Some(seen.fp), "its frame pointer is known");
        assert_eq!(frame.sp, Some(seen.fp), "it has no locals");
        assert!(seen.frames.len() > index + 3, "the host's frames are seen");
        let compiled: Vec<_> = seen.frames.iter().filter(|frame| frame.compiled).collect();
        assert_eq!(compiled, [frame], "it alone is compiled");
        // SAFETY: no module is registered, so that no word of any frame is read.
        let report = unsafe {
            let walker = RecordedWalker::new(seen.frames.clone(), WalkEnd::Unproven);
            gc(
                &StackMapRegistry::new(),
                &VMExternRefActivationsTable::new(),
                &walker,
            )
        };
        let pc = frame.pc;
        assert_eq!(report.outcome, GcOutcome::KeptUnregistered { pc });
    }

    /// Asserts that a walk from below the function ends at it.
    pub(crate) fn assert_not_passed(&self) {
        let (seen, index) = self.run();
        assert_eq!(index, seen.frames.len() - 1, "it is the last frame");
        assert!(!seen.frames[index].compiled, "nobody knows what it is");
    }

    /// Walks from below the function, and finds its frame.
    fn run(&self) -> (Seen, usize) {
        // SAFETY: `CODE` is a function of this type.
        let function = unsafe {
            core::mem::transmute::<*const u8, extern "sysv64" fn(Callback, &mut Seen)>(
                self.memory.as_ptr(),
            )
        };
        let mut seen = Seen::default();
        function(walk, &mut seen);
        let pc = self.memory.as_ptr().addr() + RETURN_OFFSET;
        let index = seen.frames.iter().position(|frame| frame.pc == pc);
        (seen, index.expect("the compiled frame"))
    }
}

/// The address of the unwind entry that the unwinder knows for this code, if there is one.
pub(crate) fn known_entry(pc: usize) -> Option<usize> {
    unsafe extern "C" {
        /// Finds the entry of a function in the tables of programs and in registered tables.
        fn _Unwind_Find_FDE(pc: *const c_void, bases: *mut [usize; 3]) -> *const c_void;
    }
    let pc = core::ptr::without_provenance(pc);
    let mut bases = [0; 3];
    // SAFETY: the unwinder compares the address only, and `bases` has room for three addresses.
    let entry = unsafe { _Unwind_Find_FDE(pc, &raw mut bases) };
    (!entry.is_null()).then(|| entry.addr())
}

type Callback = extern "sysv64" fn(fp: usize, seen: &mut Seen);

/// The compiled frame's frame pointer, and all frames of a walk.
#[derive(Default)]
struct Seen {
    fp: usize,
    frames: Vec<Frame>,
}

extern "sysv64" fn walk(fp: usize, seen: &mut Seen) {
    seen.fp = fp;
    BacktraceWalker.walk(&mut |frame| {
        seen.frames.push(frame);
        ControlFlow::Continue(())
    });
}

/// A table of `CODE`. `start` encodes the function's address for its place in the table, in bytes.
fn table(letters: &str, encoding: u8, start: impl FnOnce(usize) -> Vec<u8>) -> Vec<u8> {
    // The CFA is 8 bytes above `rsp`, and the return address 8 bytes below it.
    let cie = [
        &[1][..],
        letters.as_bytes(),
        b"\0\x01\x78\x10\x01",
        &[encoding],
        b"\x0c\x07\x08\x90\x01",
    ];
    let cie = entry(0, &cie.concat());
    let start = start(cie.len() + 8);
    let mut size = vec![0; start.len()];
    size[0] = u8::try_from(CODE.len()).expect("short");
    // After the push, the CFA is 16 bytes above `rsp`, and `rbp` 16 bytes below it. After the move,
    // the CFA is computed from `rbp`.
    let fde = [
        &start[..],
        &size,
        b"\0\x41\x0e\x10\x86\x02\x43\x0d\x06\x49\x0c\x07\x08",
    ];
    let back = u32::try_from(cie.len() + 4).expect("short");
    [&cie[..], &entry(back, &fde.concat()), &[0; 4]].concat()
}

/// An entry with `body` behind its length and its identifier or CIE pointer, padded to four bytes.
fn entry(id: u32, body: &[u8]) -> Vec<u8> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = u32::try_from(4 + body.len() + padding.len()).expect("short");
    [&length.to_ne_bytes(), &id.to_ne_bytes(), body, &padding].concat()
}
