//! What entry and exit trampolines record.

use crate::RecordOffsets;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use cranelift_frontend::FunctionBuilder;

/// Records where an activation begins, in an entry trampoline: a function that the host calls, and
/// that calls compiled code.
///
/// `record` is the address of an object with the host context's
/// [`ActivationRecord`](crate::ActivationRecord) `offset` bytes into it. To be emitted where the
/// frame exists, before the call. The host calls the trampoline within
/// [`enter`](crate::ActivationRecord::enter).
///
/// # Panics
///
/// If `record` is no address of the target.
pub fn record_entry(builder: &mut FunctionBuilder<'_>, record: Value, offset: i32) {
    let pointer = builder.func.dfg.value_type(record);
    let fp = builder.ins().get_frame_pointer(pointer);
    store(
        builder,
        fp,
        record,
        offset,
        offsets(builder, record).entry_fp(),
    );
}

/// Records where an activation ends for the time of a call, in an exit trampoline: a function that
/// compiled code calls, and that calls the host.
///
/// `record` and `offset` are as for [`record_entry`]. To be emitted before the call. There is one
/// exit trampoline for each host signature. The trampoline must not hold references over the call:
/// with [`ActivationsWalker`](crate::ActivationsWalker), frames of trampolines are never shown, so
/// what they hold is never declared.
///
/// # Panics
///
/// If `record` is no address of the target.
pub fn record_exit(builder: &mut FunctionBuilder<'_>, record: Value, offset: i32) {
    let pointer = builder.func.dfg.value_type(record);
    let offsets = offsets(builder, record);
    let fp = builder.ins().get_frame_pointer(pointer);
    let pc = builder.ins().get_return_address(pointer);
    store(builder, fp, record, offset, offsets.exit_fp());
    store(builder, pc, record, offset, offsets.exit_pc());
}

fn offsets(builder: &FunctionBuilder<'_>, record: Value) -> RecordOffsets {
    let bytes = builder.func.dfg.value_type(record).bytes();
    RecordOffsets::new(u8::try_from(bytes).expect("no value has 256 bytes"))
}

fn store(builder: &mut FunctionBuilder<'_>, value: Value, record: Value, offset: i32, field: u8) {
    let flags = MemFlagsData::trusted();
    builder
        .ins()
        .store(flags, value, record, offset + i32::from(field));
}
