#![doc = include_str!("../README.md")]

#[cfg(feature = "cranelift")]
pub mod cranelift;

pub mod guide;

#[cfg(feature = "backtrace")]
mod collection;

#[cfg(feature = "backtrace")]
pub use collection::{gc_with_backtrace, insert_with_backtrace};
#[cfg(feature = "backtrace")]
pub use vmexternref_backtrace::{BacktraceWalker, UnwindTables, UnwindTablesError};
pub use vmexternref_core::{
    CanaryGuard, ComparingWalker, CycleCollector, CycleOutcome, CycleReport, Difference, Frame,
    Garbage, GcOutcome, GcReport, ImmediateBitsError, Matching, ModuleStackMaps, ObservedFrame,
    ObservedSlot, ObservedStack, Observer, Offsets, OutOfMemory, RecordedWalker, RegisterError,
    Registration, SlotContent, StackCanary, StackMap, StackMapError, StackMapRegistry, StackWalker,
    Trace, UnregisterError, VMExternData, VMExternRef, VMExternRefActivationsTable, WalkEnd,
    WeakExternRef, collect, collect_observed, drop_extern_ref, gc, set_quarantine,
};
#[cfg(all(
    feature = "frame-pointer",
    target_pointer_width = "64",
    any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "x86_64"
    )
))]
pub use vmexternref_frame_pointer::CurrentFrameWalker;
#[cfg(feature = "frame-pointer")]
pub use vmexternref_frame_pointer::{
    Activation, ActivationRecord, ActivationsWalker, Broken, Chain, ChainEnd, Link, RecordOffsets,
    StacksWalker, host_has_frame_pointers,
};
#[cfg(feature = "pulley")]
pub use vmexternref_pulley as pulley;
